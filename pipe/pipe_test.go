package pipe_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/pipe"
	"github.com/surefoot-go/surefoot/pipe/seal"
)

// quiet reports nowhere.
var quiet = observe.Sinks{Log: slog.New(slog.DiscardHandler)}

func security(t testing.TB) pipe.Security {
	t.Helper()
	ring, err := seal.NewKeyring(seal.Keys{Keys: []seal.Key{{ID: "k1", Secret: seal.NewSecret()}}})
	if err != nil {
		t.Fatal(err)
	}
	return pipe.Security{Keys: ring}
}

// serve runs l until the test ends.
func serve(t testing.TB, l *pipe.Listener) string {
	t.Helper()
	if l.Addr == "" && l.Listener == nil {
		l.Addr = "127.0.0.1:0"
	}
	l.Observe = quiet
	pipe.Running(t, l)
	return l.Bound().String()
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), d)
	t.Cleanup(stop)
	return ctx
}

func TestBothWays(t *testing.T) {
	for _, o := range []pipe.Options{{}, {Capacity: -1}, {Ack: true}, {Ack: true, Manual: true}, {Capacity: 1}, {Capacity: 5000}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			ctx := within(t, 20*time.Second)
			l := &pipe.Listener{Security: security(t)}
			// It sends everything back.
			l.Handle("echo", o, func(ctx context.Context, c *pipe.Channel) error {
				for m := range c.C() {
					if err := c.Send(ctx, m.Data); err != nil {
						return err
					}
					m.Ack()
				}
				return nil
			})
			k := &pipe.Link{Addr: serve(t, l), Security: l.Security, Observe: quiet}
			defer k.Close()
			c, err := k.Open(ctx, "echo", o)
			if err != nil {
				t.Fatal(err)
			}
			const n = 2000
			sent := make(chan error, 1)
			go func() {
				for i := range n {
					if err := c.Send(ctx, fmt.Appendf(nil, "%d %0*d", i, i%300, 0)); err != nil {
						sent <- err
						return
					}
				}
				sent <- c.CloseSend()
			}()
			got := 0
			for m := range c.C() {
				if want := fmt.Sprintf("%d %0*d", got, got%300, 0); string(m.Data) != want {
					t.Fatalf("message %d is %q", got, m.Data)
				}
				m.Ack()
				got++
			}
			if err := <-sent; err != nil || got != n {
				t.Fatalf("sent: %v; came back: %d of %d", err, got, n)
			}
			if err := c.Send(ctx, nil); err == nil {
				t.Error("Send after the close worked")
			}
		})
	}
}
