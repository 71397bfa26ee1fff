package main

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	natsTopic = "pipe"
	natsTold  = "told"
	natsBytes = 8 << 20
	natsCount = 32768
)

func brokerNATS(s setup) (string, func(), error) {
	t, err := s.tls()
	if err != nil {
		return "", nil, err
	}
	broker, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, TLS: true, TLSConfig: t, TLSTimeout: 5})
	if err != nil {
		return "", nil, err
	}
	broker.Start()
	if !broker.ReadyForConnections(5 * time.Second) {
		return "", nil, errors.New("nats-server does not come up")
	}
	return broker.Addr().String(), broker.Shutdown, nil
}

func natsConn(s setup) (*nats.Conn, error) {
	t, err := s.tls()
	if err != nil {
		return nil, err
	}
	return nats.Connect("tls://"+s.Broker, nats.Secure(t), nats.NoReconnect())
}

// natsWindow is how many messages may be under way.
func natsWindow(size int) int64 { return int64(max(8, min(natsCount, natsBytes/size))) }

// serveNATS tells the publisher each eighth of the window how many are there.
func serveNATS(_ context.Context, s setup, take func([]byte)) (string, func(), error) {
	c, err := natsConn(s)
	if err != nil {
		return "", nil, err
	}
	got, every := int64(0), natsWindow(s.Size)/8
	sub, err := c.Subscribe(natsTopic, func(m *nats.Msg) {
		take(m.Data)
		if got++; got%every == 0 {
			_ = c.Publish(natsTold, binary.LittleEndian.AppendUint64(nil, uint64(got))) // a lost connection ends the round
		}
	})
	if err != nil {
		return "", nil, err
	}
	if err := errors.Join(sub.SetPendingLimits(-1, -1), c.Flush()); err != nil {
		return "", nil, err
	}
	return s.Broker, c.Close, nil
}

type natsSender struct {
	conn       *nats.Conn
	told       *nats.Subscription
	window     int64
	sent, seen int64
}

func dialNATS(_ context.Context, s setup) (sender, error) {
	c, err := natsConn(s)
	if err != nil {
		return nil, err
	}
	told, err := c.SubscribeSync(natsTold)
	if err != nil {
		return nil, err
	}
	return &natsSender{conn: c, told: told, window: natsWindow(s.Size)}, c.Flush()
}

func (n *natsSender) Send(ctx context.Context, b []byte) error {
	for n.sent-n.seen >= n.window {
		m, err := n.told.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		n.seen = int64(binary.LittleEndian.Uint64(m.Data))
	}
	n.sent++
	return n.conn.Publish(natsTopic, b)
}

// Flush does nothing: a goroutine of nats.go writes what there is.
func (n *natsSender) Flush() error { return nil }

func (n *natsSender) Close() error {
	n.conn.Close()
	return nil
}
