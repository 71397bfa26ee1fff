package pipe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/pipe/seal"
)

// says is an error that has a text in it.
func says(text string) func(error) bool {
	return func(err error) bool { return err != nil && strings.Contains(err.Error(), text) }
}

// is is an error that has a T in it which suits.
func is[T error](suits func(T) bool) func(error) bool {
	return func(err error) bool {
		var e T
		return errors.As(err, &e) && suits(e)
	}
}

var (
	unknownRoot = is(func(x509.UnknownAuthorityError) bool { return true })
	expired     = is(func(e x509.CertificateInvalidError) bool { return e.Reason == x509.Expired })
	wrongUse    = is(func(e x509.CertificateInvalidError) bool { return e.Reason == x509.IncompatibleUsage })
	wrongName   = is(func(x509.HostnameError) bool { return true })
	noTLS       = is(func(tls.RecordHeaderError) bool { return true })
)

// across makes two ends of a connection over loopback.
func across(t testing.TB) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func aRing(t testing.TB) *seal.Keyring {
	t.Helper()
	keys, err := seal.NewKeyring(seal.Keys{Keys: []seal.Key{{ID: "k", Secret: seal.NewSecret()}}})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// shown returns the certificate in the files of c.
func shown(t testing.TB, c TLS) tls.Certificate {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// The server knows why it refuses, and it is that why: all but one thing is
// right about each client.
func TestTLSRefusesClients(t *testing.T) {
	root, other := newAuthority(t), newAuthority(t)
	order := x509.Certificate{DNSNames: []string{"order"}}
	with := func(change func(*x509.Certificate)) x509.Certificate {
		c := order
		change(&c)
		return c
	}
	spiffe, _ := url.Parse("spiffe://example.org/order")
	y := newTally()
	files := root.write(t, t.TempDir(), x509.Certificate{DNSNames: []string{"payment"}})
	server, err := newDoor(Security{Keys: aRing(t), TLS: &files, Gate: Gate{Timeout: 2 * time.Second}}, y.sinks())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		by    *authority
		cert  x509.Certificate
		none  bool // no certificate is shown
		most  uint16
		plain bool // no TLS
		cause seal.Cause
		want  func(error) bool
	}{
		{name: "nothing wrong but that the seal is missing", by: root, cert: order, cause: seal.Malformed, want: says("malformed")},
		{name: "TLS 1.2", by: root, cert: order, most: tls.VersionTLS12, cause: causeTLS, want: says("unsupported versions: [303")},
		{name: "no certificate", by: root, cert: order, none: true, cause: causeTLS, want: says("didn't provide a certificate")},
		{name: "a certificate of another CA", by: other, cert: order, cause: causeTLS, want: unknownRoot},
		{name: "an expired certificate", by: root, cert: with(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), cause: causeTLS, want: expired},
		{name: "a certificate for servers", by: root, cert: with(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), cause: causeTLS, want: wrongUse},
		{name: "two SPIFFE ids", by: root, cert: with(func(c *x509.Certificate) { c.URIs = []*url.URL{spiffe, spiffe} }), cause: causeTLS, want: says("two SPIFFE ids")},
		{name: "no TLS", by: root, plain: true, cause: causeTLS, want: noTLS},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := across(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				if c.plain {
					near.Write([]byte("sfp\x01\x01k and so on"))
					near.Read(make([]byte, 100))
					return
				}
				cert := shown(t, c.by.write(t, t.TempDir(), c.cert))
				// Shown whatever the server says it takes.
				show := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
				if c.none {
					show = nil
				}
				roots := x509.NewCertPool()
				roots.AddCert(root.cert)
				client := tls.Client(near, &tls.Config{RootCAs: roots, ServerName: "payment", MaxVersion: c.most, GetClientCertificate: show})
				client.Write(make([]byte, 100))
				client.Read(make([]byte, 100))
			}()
			if !server.enter(far) {
				t.Fatal("not in")
			}
			if _, _, err := server.accept(context.Background(), far); !c.want(err) {
				t.Errorf("%T: %v", err, err)
			}
			<-done
			y.took(t, server, c.cause, near.LocalAddr().String())
		})
	}
}

func TestTLSRefusesServers(t *testing.T) {
	root, other := newAuthority(t), newAuthority(t)
	payment := x509.Certificate{DNSNames: []string{"payment"}}
	old, user := payment, payment
	old.NotAfter = time.Now().Add(-time.Minute)
	user.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	y := newTally()
	files := root.write(t, t.TempDir(), x509.Certificate{DNSNames: []string{"order"}})
	for _, c := range []struct {
		name, server string
		by           *authority
		cert         x509.Certificate
		most         uint16
		want         func(error) bool
	}{
		{name: "TLS 1.2", by: root, cert: payment, most: tls.VersionTLS12, want: says("protocol version")},
		{name: "another CA", by: other, cert: payment, want: unknownRoot},
		{name: "expired", by: root, cert: old, want: expired},
		{name: "for clients", by: root, cert: user, want: wrongUse},
		{name: "another name", by: root, cert: x509.Certificate{DNSNames: []string{"bank"}}, want: wrongName},
		{name: "not the name that is set", by: root, cert: payment, server: "bank", want: wrongName},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := files
			files.ServerName = c.server
			client, err := newDoor(Security{Keys: aRing(t), TLS: &files}, y.sinks())
			if err != nil {
				t.Fatal(err)
			}
			near, far := across(t)
			cert := shown(t, c.by.write(t, t.TempDir(), c.cert))
			var server sync.WaitGroup
			server.Go(func() {
				tls.Server(far, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: c.most}).Handshake() // fails, or is refused
			})
			if _, _, err := client.dial(context.Background(), near, "payment"); !c.want(err) {
				t.Errorf("%T: %v", err, err)
			}
			near.Close()
			server.Wait()
			y.took(t, client, causeTLS, far.LocalAddr().String())
		})
	}
}

// Certificates and roots change while a connection runs: it goes on, the next
// one has the new files, and what is bad changes nothing and is told once.
func TestTLSReload(t *testing.T) {
	root, next := newAuthority(t), newAuthority(t)
	keys, dir, y := aRing(t), t.TempDir(), newTally()
	payment := x509.Certificate{DNSNames: []string{"payment"}}
	open := func(c TLS, o observe.Sinks) *door {
		t.Helper()
		d, err := newDoor(Security{Keys: keys, TLS: &c}, o)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	files := root.write(t, dir, payment)
	server := open(files, y.sinks())
	order := x509.Certificate{DNSNames: []string{"order"}}
	client := open(root.write(t, t.TempDir(), order), observe.Sinks{})
	_, cerr, serr, c, s := meet(t, client, server)
	if cerr != nil || serr != nil {
		t.Fatal(cerr, serr)
	}
	running := func() {
		t.Helper()
		passes(t, c, s)
		passes(t, s, c)
	}
	in := func(client *door) {
		t.Helper()
		if _, cerr, serr, _, _ := meet(t, client, server); cerr != nil || serr != nil {
			t.Error(cerr, serr)
		}
		running()
	}
	out := func(client *door, want func(error) bool, serverSays bool) {
		t.Helper()
		_, cerr, serr, _, _ := meet(t, client, server)
		err := cerr
		if serverSays {
			err = serr
		}
		if !want(err) {
			t.Errorf("client %v, server %v", cerr, serr)
		}
		running()
	}

	root.write(t, dir, x509.Certificate{DNSNames: []string{"bank"}})
	out(client, wrongName, false) // the new certificate is shown
	root.write(t, dir, payment)
	in(client)

	// Another authority: both sides must be of it.
	newClient := open(next.write(t, t.TempDir(), order), observe.Sinks{})
	out(newClient, unknownRoot, false)
	next.write(t, dir, payment)
	in(newClient)
	cross := *root // of the old authority, but trusts the new one
	crossed := cross.write(t, t.TempDir(), order)
	crossed.CA = files.CA
	out(open(crossed, observe.Sinks{}), unknownRoot, true)

	for _, bad := range []struct {
		name, says string
		spoil      func()
	}{
		{"junk for a certificate", "failed to find any PEM", func() { write(t, files.Cert, "junk") }},
		{"junk for a key", "failed to find any PEM", func() { write(t, files.Key, "junk") }},
		{"junk for roots", "no certificate in", func() { write(t, files.CA, "junk") }},
		{"another's key", "does not match", func() {
			raw, _ := os.ReadFile(root.write(t, t.TempDir(), payment).Key)
			write(t, files.Key, string(raw))
		}},
		{"an expired certificate", "ended at", func() {
			old := payment
			old.NotAfter = time.Now().Add(-time.Minute)
			next.write(t, dir, old)
		}},
		{"one whose time has not come", "begins at", func() {
			early := payment
			early.NotBefore, early.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
			next.write(t, dir, early)
		}},
		{"none", "no such file", func() { os.Remove(files.CA) }},
	} {
		t.Run(bad.name, func(t *testing.T) {
			next.write(t, dir, payment)
			in(newClient)
			y.forget(server)
			bad.spoil()
			in(newClient)
			in(newClient) // it is told once
			if lines := y.logged(causeFiles); len(lines) == 1 && !strings.Contains(lines[0], bad.says) {
				t.Errorf("logged %q", lines)
			}
			y.took(t, server, causeFiles, "none")
		})
	}
	next.write(t, dir, payment)
	in(newClient)
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
