package pipe

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/pipe/seal"
	"github.com/surefoot-go/surefoot/safe"
)

// Reparse reads the frames of a record and writes them again; ok is false if
// they make no sense.
func Reparse(rec []byte) (again []byte, ok bool) {
	var f frame
	var err error
	for len(rec) > 0 {
		if rec, err = parse(&f, rec); err != nil {
			return nil, false
		}
		again = appendHead(again, f.kind|f.flags, f.channel, f.n[:shapes[f.kind].numbers]...)
		if shapes[f.kind].payload {
			again = appendPayload(again, f.payload)
		}
	}
	return again, true
}

// tape is a connection that plays records and then ends.
type tape struct{ records [][]byte }

func (t *tape) ReadRecord() ([]byte, error) {
	if len(t.records) == 0 {
		return nil, io.EOF
	}
	r := t.records[0]
	t.records = t.records[1:]
	return append([]byte(nil), r...), nil
}
func (t *tape) WriteRecord(b []byte) error       { clear(b[seal.Head:]); return nil }
func (t *tape) MaxPayload() int                  { return 4 << 10 }
func (t *tape) SetReadDeadline(time.Time) error  { return nil }
func (t *tape) SetWriteDeadline(time.Time) error { return nil }
func (t *tape) Close() error                     { return nil }

// Play gives a session, of a Link or of a Listener, the records of several
// connections, one after the other, and takes and sends what it can. It
// returns a panic if there was one.
func Play(dialer, ack bool, connections [][][]byte, resumed uint64) error {
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	var pumps sync.WaitGroup
	s := newSession([16]byte{1}, &stats{}, time.Second, &pumps, ctx.Done())
	s.dialer, s.most = dialer, 8
	o := Options{Capacity: 4, Bytes: 2000, MaxMessage: 500, Ack: ack}.OrDefault()
	opened := make(chan *Channel, 1000)
	s.opened = func(c *Channel, p Options) refusal {
		if p.Ack != ack {
			return mismatch
		}
		c.begin(o.meet(p))
		opened <- c
		return accepted
	}
	users := safe.Group{Max: -1, All: true}
	use := func(c *Channel) {
		users.Go(ctx, func(ctx context.Context) error {
			for m := range c.C() {
				m.Ack()
				within, stop := context.WithTimeout(ctx, time.Millisecond)
				c.Send(within, m.Data)
				stop()
			}
			return nil
		})
	}
	if dialer {
		for range 3 {
			users.Go(ctx, func(ctx context.Context) error {
				c, err := s.open(ctx, "t", o)
				if err == nil {
					use(c)
					within, stop := context.WithTimeout(ctx, time.Millisecond)
					defer stop()
					c.Send(within, make([]byte, 400))
				}
				return nil
			})
		}
	}
	for i, records := range connections {
		err := s.run(ctx, &tape{records}, time.Second, resumed>>i&1 == 1)
		if p := new(safe.Panic); errors.As(err, &p) {
			return p
		}
		for len(opened) > 0 {
			use(<-opened)
		}
	}
	s.end(ErrLost, true)
	err := users.Wait()
	pumps.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Running has l listen, and serve until the test ends.
func Running(t testing.TB, l *Listener) {
	t.Helper()
	if err := l.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		if err := l.Serve(ctx); err != nil {
			t.Error("Serve:", err)
		}
	})
	t.Cleanup(func() {
		stop()
		served.Wait()
	})
}
