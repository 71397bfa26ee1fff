package pipe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/pipe/internal/follow"
)

// TLS is mutual TLS 1.3 around the sealed connection. All three files are
// required, in PEM. They are looked at when a connection is made, at most once
// a second, and read again when one changed; what cannot be used keeps what
// was there, with a warning. Connections that run are not touched.
type TLS struct {
	Cert string // file: our certificate and those between it and the root
	Key  string // file: its private key
	CA   string // file: the roots that the peer's certificate must come from

	// ServerName is what the server's certificate must be for; empty means the
	// host that is dialled. Used by the side that dials.
	ServerName string

	Every time.Duration // how often the files are looked at, at most; 0 means 1s
}

// tlsFiles follows the files of a TLS.
type tlsFiles struct {
	follow.Files[*tlsPair]
	set TLS
}

// tlsPair is what one reading of the files gives.
type tlsPair struct{ server, client *tls.Config }

func newTLS(t TLS, tell func(error)) *tlsFiles {
	return &tlsFiles{set: t, Files: follow.Files[*tlsPair]{Paths: []string{t.Cert, t.Key, t.CA}, Every: t.Every, Load: t.load, Tell: tell}}
}

func (t TLS) load() (*tlsPair, error) {
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, err
	}
	switch now := time.Now(); {
	case now.After(cert.Leaf.NotAfter):
		return nil, fmt.Errorf("certificate in %s ended at %s", t.Cert, cert.Leaf.NotAfter.Format(time.RFC3339))
	case now.Before(cert.Leaf.NotBefore):
		return nil, fmt.Errorf("certificate in %s begins at %s", t.Cert, cert.Leaf.NotBefore.Format(time.RFC3339))
	}
	raw, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("no certificate in %s", t.CA)
	}
	base := tls.Config{
		MinVersion:                  tls.VersionTLS13,
		Certificates:                []tls.Certificate{cert},
		DynamicRecordSizingDisabled: true, // what we write is large anyway
		SessionTicketsDisabled:      true, // a ticket would outlive the certificate that it was given for
	}
	p := &tlsPair{base.Clone(), base.Clone()}
	p.server.ClientCAs, p.server.ClientAuth = roots, tls.RequireAndVerifyClientCert
	p.client.RootCAs = roots
	return p, nil
}

func (t *tlsFiles) server(ctx context.Context, raw net.Conn) (net.Conn, string, error) {
	pair, err := t.Get()
	if err != nil {
		return nil, "", err
	}
	return layer(ctx, raw, func(under net.Conn) *tls.Conn { return tls.Server(under, pair.server) })
}

func (t *tlsFiles) client(ctx context.Context, raw net.Conn, serverName string) (net.Conn, string, error) {
	pair, err := t.Get()
	if err != nil {
		return nil, "", err
	}
	cfg := pair.client.Clone()
	if cfg.ServerName = t.set.ServerName; cfg.ServerName == "" {
		cfg.ServerName = serverName
	}
	if cfg.ServerName == "" {
		return nil, "", errors.New("pipe: TLS without the name of the server")
	}
	return layer(ctx, raw, func(under net.Conn) *tls.Conn { return tls.Client(under, cfg) })
}

// layer shakes TLS's hands and returns the connection and the peer's name.
func layer(ctx context.Context, raw net.Conn, over func(net.Conn) *tls.Conn) (net.Conn, string, error) {
	under := &gather{Conn: raw}
	c := over(under)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, "", err
	}
	name, err := certificateName(c.ConnectionState().PeerCertificates[0])
	if err != nil {
		return nil, "", err
	}
	return &tlsConn{Conn: c, under: under}, name, nil
}

// certificateName returns whom a verified certificate is for: its SPIFFE id,
// of which there must be one at most, else its first DNS name, else its common
// name.
func certificateName(c *x509.Certificate) (string, error) {
	id := ""
	for _, u := range c.URIs {
		if u.Scheme == "spiffe" {
			if id != "" {
				return "", errors.New("pipe: certificate with two SPIFFE ids")
			}
			id = u.String()
		}
	}
	switch {
	case id != "":
		return id, nil
	case len(c.DNSNames) > 0:
		return c.DNSNames[0], nil
	}
	return c.Subject.CommonName, nil
}

// tlsConn is TLS whose records go out together. crypto/tls writes each record
// of 16 KiB with a system call of its own; here one Write is one of them.
type tlsConn struct {
	*tls.Conn
	under *gather
}

// Write writes b as TLS records, with one Write below.
func (c *tlsConn) Write(b []byte) (int, error) {
	c.under.hold()
	n, err := c.Conn.Write(b)
	if e := c.under.flush(); err == nil {
		err = e
	}
	return n, err
}

// gather is a connection that collects what is written between hold and flush,
// and reads ahead. Reading is for one goroutine at a time.
type gather struct {
	net.Conn
	mu   sync.Mutex
	held bool
	buf  []byte

	in   []byte // in[r:w] came and was not read
	r, w int
}

// mostGathered is what a gather collects before it writes.
const mostGathered = 512 << 10

// How much a gather reads at a time, at first and once more has come than that:
// crypto/tls asks for little more than a record, at most 16 KiB, and each would
// be a system call. With it messages of 64 KiB cost a tenth less processor time
// (go run ./bench/pipes -sizes 65536 -loads=false -idle 0 -out -).
const (
	readFirst = 4 << 10
	readAhead = 64 << 10
)

// Read reads what came already, or else waits for more.
func (g *gather) Read(b []byte) (int, error) {
	if g.r == g.w {
		if len(b) >= readAhead {
			return g.Conn.Read(b)
		}
		switch {
		case g.in == nil:
			g.in = make([]byte, readFirst)
		case g.w == len(g.in) && g.w < readAhead:
			g.in = make([]byte, readAhead)
		}
		n, err := g.Conn.Read(g.in)
		if g.r, g.w = 0, n; n == 0 {
			return 0, err // with n > 0 the next Read meets it again
		}
	}
	n := copy(b, g.in[g.r:g.w])
	g.r += n
	return n, nil
}

func (g *gather) hold() {
	g.mu.Lock()
	g.held = true
	g.mu.Unlock()
}

func (g *gather) flush() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = false
	return g.send()
}

func (g *gather) send() error {
	if len(g.buf) == 0 {
		return nil
	}
	_, err := g.Conn.Write(g.buf)
	g.buf = g.buf[:0]
	return err
}

// Write keeps b until flush, or writes it.
func (g *gather) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.held {
		return g.Conn.Write(b)
	}
	g.buf = append(g.buf, b...)
	if len(g.buf) >= mostGathered {
		return len(b), g.send()
	}
	return len(b), nil
}
