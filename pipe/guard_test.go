package pipe

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/pipe/seal"
)

func TestPolicy(t *testing.T) {
	y := Policy{[]Rule{
		{Identity: "order", Topics: []string{"orders.*", "health"}},
		{Identity: "team-*", Topics: []string{"*"}},
		{Identity: "guest", Topics: []string{"news"}, Claimed: true},
	}}
	for _, c := range []struct {
		name  string
		proof Proof
		topic string
		want  bool
	}{
		{"order", ByKey, "orders.new", true},
		{"order", ByCertificate, "health", true},
		{"order", ByKey, "healthy", false},
		{"order", ByKey, "payments", false},
		{"order", ByClaim, "health", false},
		{"orders", ByKey, "health", false},
		{"", ByKey, "health", false},
		{"team-a", ByKey, "anything", true},
		{"team-a", ByKey, "", false},
		{"guest", ByClaim, "news", true},
		{"*", ByKey, "health", false},
	} {
		if got := y.Allows(Peer{Identity: c.name, Proof: c.proof}, c.topic); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if (Policy{}).Allows(Peer{Identity: "order", Proof: ByKey}, "x") || new(Allow).Policy().knows(Peer{Identity: "a", Proof: ByKey}) {
		t.Error("the zero value lets somebody in")
	}
	a, err := NewAllow(y)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "a*b", "**"} {
		if a.Set(Policy{[]Rule{{Identity: "x", Topics: []string{bad}}}}) == nil {
			t.Errorf("pattern %q taken", bad)
		}
	}
	if len(a.Policy().Rules) != 3 {
		t.Error("a bad policy replaced a good one")
	}
}

func TestGate(t *testing.T) {
	at := func(n int) net.Addr { return &net.TCPAddr{IP: net.IPv4(10, byte(n>>16), byte(n>>8), byte(n)), Port: n} }
	now := time.Unix(1000, 0)
	g := newGate(Gate{Handshakes: 10, Rate: 1, Burst: 7})
	for i := range 5 {
		if !g.enter(at(1), now) {
			t.Fatal(i)
		}
	}
	if g.enter(at(1), now) {
		t.Error("one address has more than half")
	}
	g.leave(at(1))
	if !g.enter(at(1), now) || g.enter(at(1), now) {
		t.Error("the burst is not 7")
	}
	for range 5 {
		if !g.enter(at(2), now) {
			t.Error("the other half is not there")
		}
	}
	if g.enter(at(3), now) {
		t.Error("more than all")
	}
	for range 5 {
		g.leave(at(1))
		g.leave(at(2))
	}
	if g.enter(at(1), now) || !g.enter(at(1), now.Add(time.Second)) {
		t.Error("the rate is not 1 a second")
	}
	g.leave(at(1))
	for i := range 3 * maxAddresses {
		if g.enter(at(100+i), now.Add(2*time.Second)) {
			g.leave(at(100 + i))
		}
	}
	if len(g.byAddr) > maxAddresses+1 || g.all != 0 {
		t.Errorf("%d addresses, %d inside", len(g.byAddr), g.all)
	}
	for _, v := range g.byAddr {
		if v.inside != 0 {
			t.Error("somebody is still inside")
		}
	}
}

func TestAlarms(t *testing.T) {
	var out bytes.Buffer
	a := newAlarms(observe.Sinks{Log: slog.New(slog.NewTextHandler(&out, nil))})
	for range 100 {
		a.refuse(seal.Forged, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 7}, "seal: forged")
	}
	a.refuse(seal.Replayed, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 8}, "seal: replayed")
	a.refuse(seal.Probe, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 8}, "nothing")
	if n := strings.Count(out.String(), "\n"); n != 2 || !strings.Contains(out.String(), "peer=10.0.0.1:7") {
		t.Errorf("%d records:\n%s", n, &out)
	}
	now := time.Now()
	for i := range 5 * maxAlarms {
		a.tell(alarm{seal.Forged, prefix(&net.TCPAddr{IP: net.IPv4(11, 0, byte(i>>8), byte(i))})}, now)
	}
	if len(a.told) > maxAlarms+20 {
		t.Errorf("%d entries", len(a.told))
	}
	if n, ok := a.tell(alarm{seal.Forged, prefix(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)})}, now.Add(time.Minute)); !ok || n != 100 {
		t.Errorf("%d, %v: want the 99 that were not told, and this one", n, ok)
	}
}

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t testing.TB) *authority {
	a := &authority{}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	raw, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(raw)
	return a
}

// write writes the files of a TLS for c into dir.
func (a *authority) write(t testing.TB, dir string, c x509.Certificate) TLS {
	t.Helper()
	a.n++
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c.SerialNumber = big.NewInt(a.n + 1)
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-time.Hour)
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	raw, err := x509.CreateCertificate(rand.Reader, &c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	der, _ := x509.MarshalPKCS8PrivateKey(key)
	s := TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), CA: filepath.Join(dir, "ca.pem"), Every: -1}
	for _, f := range []struct {
		path, kind string
		der        []byte
	}{{s.Cert, "CERTIFICATE", raw}, {s.Key, "PRIVATE KEY", der}, {s.CA, "CERTIFICATE", a.cert.Raw}} {
		if err := os.WriteFile(f.path, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// meet lets two doors shake hands over loopback.
func meet(t testing.TB, client, server *door) (p Peer, cerr, serr error, c, s *seal.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := l.Accept()
		if err != nil || !server.enter(raw) {
			serr = fmt.Errorf("not in: %v", err)
			return
		}
		s, p, serr = server.accept(context.Background(), raw)
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, _, cerr = client.dial(context.Background(), raw, "payment")
	<-done
	t.Cleanup(func() { raw.Close() })
	return
}

func TestDoorWithTLS(t *testing.T) {
	keys, err := seal.NewKeyring(seal.Keys{Keys: []seal.Key{{ID: "k", Secret: seal.NewSecret()}}})
	if err != nil {
		t.Fatal(err)
	}
	root := newAuthority(t)
	spiffe, _ := url.Parse("spiffe://example.org/order")
	open := func(c TLS, identity string) *door {
		t.Helper()
		d, err := newDoor(Security{Keys: keys, TLS: &c, Identity: identity}, observe.Sinks{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	server := open(root.write(t, t.TempDir(), x509.Certificate{DNSNames: []string{"payment"}}), "")
	for _, c := range []struct {
		name string
		cert x509.Certificate
		want string
	}{
		{"SPIFFE first", x509.Certificate{URIs: []*url.URL{spiffe}, DNSNames: []string{"order"}, Subject: pkix.Name{CommonName: "o"}}, spiffe.String()},
		{"then DNS", x509.Certificate{DNSNames: []string{"order"}, Subject: pkix.Name{CommonName: "o"}}, "order"},
		{"then the common name", x509.Certificate{Subject: pkix.Name{CommonName: "o"}}, "o"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, cerr, serr, cc, ss := meet(t, open(root.write(t, t.TempDir(), c.cert), "claimed"), server)
			if cerr != nil || serr != nil || p.Identity != c.want || p.Proof != ByCertificate || !p.TLS {
				t.Fatal(cerr, serr, p)
			}
			passes(t, cc, ss)
		})
	}
}

// passes sends a record from c to s.
func passes(t testing.TB, c, s *seal.Conn) {
	t.Helper()
	if err := c.WriteRecord(append(seal.NewBuffer(300), bytes.Repeat([]byte{'x'}, 300)...)); err != nil {
		t.Fatal(err)
	}
	if b, err := s.ReadRecord(); err != nil || len(b) != 300 {
		t.Fatal(err)
	}
}

// Who has no rule is out before anything is said, and a key that names its
// identities is worth more than a claim.
func TestDoorWithPolicy(t *testing.T) {
	bound := seal.Key{ID: "k", Secret: seal.NewSecret(), Identities: []string{"order", "guest", "payment"}}
	keys, err := seal.NewKeyring(seal.Keys{Keys: []seal.Key{bound}})
	if err != nil {
		t.Fatal(err)
	}
	allow, err := NewAllow(Policy{[]Rule{{Identity: "order", Topics: []string{"orders"}}}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	sinks := observe.Sinks{Log: slog.New(slog.NewTextHandler(&out, nil))}
	server, err := newDoor(Security{Keys: keys, Allow: allow, Identity: "payment"}, sinks)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"order", "guest"} {
		client, err := newDoor(Security{Keys: keys, Identity: name}, sinks)
		if err != nil {
			t.Fatal(err)
		}
		p, _, serr, _, _ := meet(t, client, server)
		if (serr == nil) != (name == "order") {
			t.Errorf("%s: %v", name, serr)
		}
		if serr == nil && (p.Proof != ByKey || !server.admit(p, "orders") || server.admit(p, "payments")) {
			t.Errorf("%+v", p)
		}
	}
	if !strings.Contains(out.String(), "cause=unauthorised") {
		t.Error(out.String())
	}
}
