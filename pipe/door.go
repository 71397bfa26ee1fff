package pipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/pipe/internal/follow"
	"github.com/surefoot-go/surefoot/pipe/seal"
)

// Security says how connections are guarded. Keys or KeyFile is required; all
// else has a default. It is plain data but for the collaborators Keys and Allow.
type Security struct {
	Keys    *seal.Keyring // the pre-shared keys
	KeyFile string        // where Keys is nil: a file of seal.Keys, followed when it changes

	Service  string // the service that is dialled: the same at both ends, see seal.Config
	Identity string // the name we claim to have, see seal.Key.Identities

	TLS   *TLS   // nil means sealed only
	Allow *Allow // who may use what; nil means every holder of a key, all
	Gate  Gate   // bounds of the handshakes that we accept

	MaxRecord int           // bytes; 0 means 256 KiB, see seal.Config
	Pad       int           // see seal.Config
	Skew      time.Duration // see seal.Config; 0 means 2m
}

// door is what Security decides, at work.
type door struct {
	Security
	*alarms
	gate *gate
	file *follow.Files[struct{}] // of keys; nil if there is none
	tls  *tlsFiles               // nil if there is none
}

func newDoor(s Security, o observe.Sinks) (*door, error) {
	d := &door{Security: s, alarms: newAlarms(o), gate: newGate(s.Gate)}
	switch {
	case s.Keys == nil && s.KeyFile == "":
		return nil, errors.New("pipe: Security needs Keys or KeyFile")
	case s.Keys == nil:
		keys, err := seal.ReadKeys(s.KeyFile)
		if err != nil {
			return nil, err
		}
		if d.Keys, err = seal.NewKeyring(keys); err != nil {
			return nil, err
		}
		d.file = &follow.Files[struct{}]{Paths: []string{s.KeyFile}, Tell: d.bad, Load: func() (none struct{}, err error) {
			keys, err := seal.ReadKeys(s.KeyFile)
			if err == nil {
				err = d.Keys.Set(keys)
			}
			return none, err
		}}
		if _, err := d.file.Get(); err != nil {
			return nil, err
		}
	}
	if s.TLS != nil {
		d.tls = newTLS(*s.TLS, d.bad)
		if _, err := d.tls.Get(); err != nil {
			return nil, fmt.Errorf("pipe: TLS: %w", err)
		}
	}
	return d, nil
}

// bad tells of a file that changed and cannot be used: the one before stays.
func (d *door) bad(err error) { d.refuse(causeFiles, nil, err.Error()) }

// watch looks at the file of keys until ctx ends, so that a key that was taken
// out of it ends its connections though nobody shakes hands.
func (d *door) watch(ctx context.Context) error {
	if d.file == nil {
		return nil
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.file.Get() // it keeps what it has, loudly
		case <-ctx.Done():
			return nil
		}
	}
}

func (d *door) config(timeout time.Duration) seal.Config {
	if d.file != nil {
		d.file.Get() // it keeps what it has, loudly
	}
	return seal.Config{Keys: d.Keys, Service: d.Service, Identity: d.Identity, MaxRecord: d.MaxRecord, Pad: d.Pad,
		Skew: d.Skew, Timeout: timeout}
}

// enter says whether raw may begin its handshake, before anything is spent on
// it. If not, raw is closed and counted; if so, accept must follow.
func (d *door) enter(raw net.Conn) bool {
	if d.gate.enter(raw.RemoteAddr(), time.Now()) {
		return true
	}
	raw.Close()
	d.refuse(causeFlood, raw.RemoteAddr(), "too many handshakes")
	return false
}

// accept shakes hands with a client that entered. On error raw is closed, and
// what was wrong is counted and logged.
func (d *door) accept(ctx context.Context, raw net.Conn) (*seal.Conn, Peer, error) {
	defer d.gate.leave(raw.RemoteAddr())
	return d.shake(ctx, raw, func(ctx context.Context) (net.Conn, string, error) {
		return d.tls.server(ctx, raw)
	}, seal.Server)
}

// dial shakes hands with the server that raw leads to. serverName is what the
// server's certificate must be for where TLS names no other.
func (d *door) dial(ctx context.Context, raw net.Conn, serverName string) (*seal.Conn, Peer, error) {
	return d.shake(ctx, raw, func(ctx context.Context) (net.Conn, string, error) {
		return d.tls.client(ctx, raw, serverName)
	}, seal.Client)
}

func (d *door) shake(ctx context.Context, raw net.Conn, layer func(context.Context) (net.Conn, string, error),
	sealed func(context.Context, net.Conn, seal.Config) (*seal.Conn, error)) (*seal.Conn, Peer, error) {
	fail := func(cause seal.Cause, err error) (*seal.Conn, Peer, error) {
		raw.Close()
		if ctx.Err() == nil { // else it is we who gave up
			d.refuse(cause, raw.RemoteAddr(), err.Error())
		}
		return nil, Peer{}, err
	}
	end := time.Now().Add(d.gate.Timeout)
	conn, name, err := raw, "", error(nil)
	if d.tls != nil {
		within, cancel := context.WithDeadline(ctx, end)
		conn, name, err = layer(within)
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
			return fail(seal.Timeout, err)
		case err == io.EOF:
			return fail(seal.Probe, err)
		case err != nil:
			return fail(causeTLS, err)
		}
	}
	c, err := sealed(ctx, conn, d.config(max(time.Until(end), time.Millisecond)))
	if err != nil {
		cause := seal.Truncated
		var e *seal.Error
		if errors.As(err, &e) {
			cause = e.Cause
		}
		return fail(cause, err)
	}
	p := Peer{Identity: c.Peer().Identity, Proof: ByClaim, KeyID: c.Peer().KeyID, Addr: raw.RemoteAddr(), TLS: d.tls != nil}
	switch {
	case c.Peer().Bound:
		p.Proof = ByKey
	case name != "":
		p.Identity, p.Proof = name, ByCertificate
	}
	if d.Allow != nil && !d.Allow.Policy().knows(p) {
		conn.Close()
		return fail(causeUnauthorised, fmt.Errorf("pipe: no rule for %.100q, by %s", p.Identity, p.Proof))
	}
	return c, p, nil
}

// admit says whether p may use topic now. If not, it is counted and logged,
// and what p is told must be what it would be told of a topic that is not there.
func (d *door) admit(p Peer, topic string) bool {
	if d.Allow == nil || d.Allow.Policy().Allows(p, topic) {
		return true
	}
	d.refuse(causeUnauthorised, p.Addr, fmt.Sprintf("%.100q asked for topic %.100q", p.Identity, topic))
	return false
}
