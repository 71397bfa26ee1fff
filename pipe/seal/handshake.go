package seal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"github.com/flynn/noise"
)

// The first flight in clear: a name, a version, the key's id.
const (
	magic    = "sfp"
	version  = 1
	maxID    = 64
	maxName  = 255
	stamp    = 8               // milliseconds since 1970, sealed in the client's first message
	first    = 32 + stamp + 16 // Noise's first message: e, sealed stamp
	second   = 32 + 16         // Noise's second: e, a tag over nothing
	greeting = 288             // a hello record: the longest, so that its length tells nothing
)

// Config is how a connection is sealed. Only Keys is required; both sides must
// have a key of the same id and secret, and the same Service.
type Config struct {
	Keys *Keyring

	// Service names the service that is dialled. It is bound into the
	// handshake, so that what was meant for one service is refused by another,
	// and by the caller itself, though all have the same key.
	Service string

	// Identity is the name we claim to have, at most 255 bytes. It is sealed,
	// with forward secrecy. A key may allow some names only: see Key.
	Identity string

	MaxRecord int // longest record, whole, that we send and take, in bytes; 0 means 256 KiB, least 1 KiB, most 16 MiB - 1; the lower of both sides holds
	Pad       int // records are padded to a multiple of this many bytes; PadPowers: to powers of two; 0 or negative: not

	Timeout time.Duration // of the handshake; 0 means 5s
	Skew    time.Duration // how far the clocks of both sides may differ; 0 means 2m

	RekeyRecords int   // records under one key; 0 means 2^20, which is also the most
	RekeyBytes   int64 // bytes under one key; 0 means 2^30, which is also the most

	random io.Reader // for fixed vectors in tests
}

// Defaults of Config, see there.
const (
	DefaultMaxRecord = 256 << 10
	DefaultTimeout   = 5 * time.Second
	DefaultSkew      = 2 * time.Minute
)

func (c Config) orDefault() (Config, error) {
	if c.Keys == nil {
		return c, errors.New("seal: Config.Keys is nil")
	}
	if len(c.Identity) > maxName || len(c.Service) > maxName {
		return c, fmt.Errorf("seal: a name is at most %d bytes", maxName)
	}
	if c.MaxRecord <= 0 {
		c.MaxRecord = DefaultMaxRecord
	}
	c.MaxRecord = min(max(c.MaxRecord, minRecord), maxRecord)
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Skew <= 0 {
		c.Skew = DefaultSkew
	}
	if c.RekeyRecords <= 0 || c.RekeyRecords > RekeyRecords {
		c.RekeyRecords = RekeyRecords
	}
	if c.RekeyBytes <= 0 || c.RekeyBytes > RekeyBytes {
		c.RekeyBytes = RekeyBytes
	}
	return c, nil
}

// Client shakes hands on conn as the side that dialled. It returns when the
// server has proved that it holds the key, or after Config.Timeout, or when ctx
// ends. The connection is the Conn's from then on; on error it is closed.
func Client(ctx context.Context, conn net.Conn, cfg Config) (*Conn, error) {
	return shake(ctx, conn, cfg, (*Conn).client)
}

// Server shakes hands on conn as the side that accepted. It returns when the
// client has proved that it holds the key and is there now: a recorded
// handshake does not pass. Whatever is wrong, the client sees a closed
// connection and no reason; the returned *Error has it. It does no public-key
// arithmetic before the client's first message has proved to be made with the
// key, in time, and for the first time.
func Server(ctx context.Context, conn net.Conn, cfg Config) (*Conn, error) {
	return shake(ctx, conn, cfg, (*Conn).server)
}

// shake runs one side's handshake within its time.
func shake(ctx context.Context, conn net.Conn, cfg Config, side func(*Conn, Config, time.Time) error) (*Conn, error) {
	cfg, err := cfg.orDefault()
	if err != nil {
		conn.Close()
		return nil, err
	}
	now := time.Now()
	conn.SetDeadline(now.Add(cfg.Timeout))
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	c := &Conn{conn: conn, in: make([]byte, firstBuffer), keys: cfg.Keys, pad: cfg.Pad, max: cfg.MaxRecord,
		limits: limits{uint64(cfg.RekeyRecords), uint64(cfg.RekeyBytes)}}
	err = side(c, cfg, now)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("seal: handshake: %w", context.Cause(ctx))
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, &Error{Timeout, err}
		}
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	return c, nil
}

// opening returns the first flight's part in clear.
func opening(id string) []byte {
	b := append(make([]byte, 0, len(magic)+2+maxID+first), magic...)
	return append(append(b, version, byte(len(id))), id...)
}

// noiseConfig returns the configuration of Noise_NNpsk0_25519_AESGCM_SHA256.
// The prologue binds what travelled in clear and the name of the service.
func noiseConfig(cfg Config, opening []byte, psk []byte, initiator bool) noise.Config {
	prologue := append(slices.Clone(opening), byte(len(cfg.Service)))
	return noise.Config{
		CipherSuite:  noise.NewCipherSuite(noise.DH25519, noise.CipherAESGCM, noise.HashSHA256),
		Random:       cfg.random,
		Pattern:      noise.HandshakeNN,
		Initiator:    initiator,
		Prologue:     append(prologue, cfg.Service...),
		PresharedKey: psk,
	}
}

func (c *Conn) client(cfg Config, now time.Time) error {
	key, err := cfg.Keys.dial(now)
	if err != nil {
		return err
	}
	out := opening(key.ID)
	hs, err := noise.NewHandshakeState(noiseConfig(cfg, out, key.Secret.key[:], true))
	if err != nil {
		return err
	}
	if out, _, _, err = hs.WriteMessage(out, binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli()))); err != nil {
		return err
	}
	if _, err := c.conn.Write(out); err != nil {
		return err
	}
	msg, err := c.take(second)
	if err != nil {
		return refused(err)
	}
	_, up, down, err := hs.ReadMessage(nil, msg)
	if err != nil {
		return &Error{Cause: Forged}
	}
	c.begin(key, up.UnsafeKey(), down.UnsafeKey(), hs.ChannelBinding())
	if err := c.meet(cfg, key); err != nil {
		return refused(err)
	}
	return c.greet(cfg)
}

// refused makes the end of the stream what it is in a handshake.
func refused(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Cause == Truncated {
		return &Error{Refused, e.Err}
	}
	return err
}

func (c *Conn) server(cfg Config, now time.Time) error {
	head, err := c.take(len(magic) + 2)
	if err != nil {
		var e *Error
		if errors.As(err, &e) && c.w == 0 {
			e.Cause = Probe
		}
		return err
	}
	n := int(head[len(magic)+1])
	switch {
	case string(head[:len(magic)]) != magic, n == 0:
		return &Error{Cause: Malformed}
	case head[len(magic)] != version:
		return &Error{Cause: Version}
	case n > maxID:
		return &Error{Cause: Oversized}
	}
	rest, err := c.take(n + first)
	if err != nil {
		return err
	}
	id, msg := rest[:n], rest[n:]
	if !validID(id) {
		return &Error{Cause: Malformed}
	}
	// A key that is not known, or out of its time, costs the same work.
	key, psk, cause := cfg.Keys.find(string(id)), cfg.Keys.dummy[:], UnknownKey
	if key != nil {
		if psk, cause = key.Secret.key[:], ""; !key.within(now, cfg.Skew) {
			cause = ExpiredKey
		}
	}
	hs, err := noise.NewHandshakeState(noiseConfig(cfg, opening(string(id)), psk, false))
	if err != nil {
		return err
	}
	sent, _, _, err := hs.ReadMessage(nil, msg)
	switch {
	case cause != "":
		return &Error{Cause: cause}
	case err != nil || len(sent) != stamp:
		return &Error{Cause: Forged}
	}
	if d := now.Sub(time.UnixMilli(int64(binary.BigEndian.Uint64(sent)))); d > cfg.Skew || d < -cfg.Skew {
		return &Error{Cause: Stale}
	}
	if !cfg.Keys.seen.first([32]byte(msg[:32]), now, cfg.Skew) {
		return &Error{Cause: Replayed}
	}
	out, up, down, err := hs.WriteMessage(nil, nil) // the first X25519
	if err != nil {
		return &Error{Forged, err}
	}
	c.begin(key, down.UnsafeKey(), up.UnsafeKey(), hs.ChannelBinding())
	reply, err := c.greeting(cfg)
	if err != nil {
		return err
	}
	if _, err := c.conn.Write(append(out, reply...)); err != nil {
		return err
	}
	return c.meet(cfg, key)
}

// greeting returns our hello record: what we take and who we say we are.
func (c *Conn) greeting(cfg Config) ([]byte, error) {
	b := make([]byte, Head, greeting)
	b = binary.BigEndian.AppendUint32(b, uint32(cfg.MaxRecord))
	b = append(append(b, byte(len(cfg.Identity))), cfg.Identity...)
	return c.out.seal(b, hello, greeting, c.limits)
}

func (c *Conn) greet(cfg Config) error {
	b, err := c.greeting(cfg)
	if err == nil {
		_, err = c.conn.Write(b)
	}
	return err
}

// meet takes the peer's hello record.
func (c *Conn) meet(cfg Config, key *Key) error {
	rec, err := c.take(greeting)
	if err != nil {
		return err
	}
	if n, err := length(rec[:Head], greeting); err != nil {
		return err
	} else if n != greeting {
		return &Error{Cause: Malformed}
	}
	kind, b, err := c.from.open(rec, most)
	if err != nil {
		return err
	}
	theirs, name, ok := parseHello(b)
	if kind != hello || !ok {
		return &Error{Cause: Malformed}
	}
	c.peer = Peer{Identity: name, KeyID: key.ID}
	if len(key.Identities) > 0 {
		if name == "" && len(key.Identities) == 1 {
			c.peer.Identity = key.Identities[0]
		} else if !slices.Contains(key.Identities, name) {
			return &Error{Cause: Identity}
		}
		c.peer.Bound = true
	}
	c.max = min(c.max, theirs)
	return nil
}

// parseHello reads the payload of a hello record; what follows the name is
// left to later versions.
func parseHello(b []byte) (most int, name string, ok bool) {
	if len(b) < 5 || len(b) < 5+int(b[4]) {
		return 0, "", false
	}
	most = int(binary.BigEndian.Uint32(b))
	return most, string(b[5 : 5+int(b[4])]), most >= minRecord && most <= maxRecord
}
