package resilience_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/breaker"
)

// plant is a target with 10 places of 50ms work (200 calls a second) and an
// endless queue, which also works off calls nobody waits for any more: the
// worst of servers, and a common one.
type plant struct {
	places chan struct{}
	begin  time.Time // no work begins in the 5s before begin+stallEnd
	off    chan struct{}
	work   sync.WaitGroup
}

func (p *plant) call(ctx context.Context) error {
	done := make(chan struct{})
	p.work.Go(func() {
		select {
		case p.places <- struct{}{}:
		case <-p.off:
			return
		}
		if back := time.Until(p.begin.Add(stallEnd * time.Second)); back > 0 && back <= 5*time.Second {
			time.Sleep(back)
		}
		time.Sleep(50 * time.Millisecond)
		<-p.places
		close(done)
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errs.From(ctx.Err())
	}
}

// The story runs for seconds and the target stalls until stallEnd.
const (
	seconds  = 120
	stallEnd = 15
)

// stall tells how long after the end of a 5s stall the calls succeed again: from
// then on at least 95 of 100 in every 5s; never is -1. The load is open-loop,
// 120 calls a second from 8 clients, 60 % of capacity, and each caller waits 10s
// at most. The arrivals' seed is fixed; the policies' jitter is not, so bounds
// on the result are wide.
func stall(t *testing.T, p resilience.Policy) (recovered int) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(11, 12))
		sinks := observe.Sinks{Log: slog.New(slog.DiscardHandler)}
		guards := make([]*resilience.Guard, 8)
		for i := range guards {
			guards[i] = resilience.New("plant", p, sinks)
		}
		target := &plant{places: make(chan struct{}, 10), off: make(chan struct{}), begin: time.Now()}
		begin := target.begin
		var mu sync.Mutex
		var calls, good [seconds]int // by second of arrival
		var wg sync.WaitGroup
		for time.Since(begin) < seconds*time.Second {
			time.Sleep(time.Duration(r.ExpFloat64() * float64(time.Second) / 120))
			g, sec := guards[r.IntN(len(guards))], int(time.Since(begin)/time.Second)
			if sec >= seconds {
				break
			}
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				_, err := resilience.Do(ctx, g, func(ctx context.Context) (int, error) { return 0, target.call(ctx) })
				mu.Lock()
				defer mu.Unlock()
				calls[sec]++
				if err == nil {
					good[sec]++
				}
			})
		}
		wg.Wait()
		close(target.off)
		target.work.Wait()
		share := func(from, to int) float64 {
			c, g := 0, 0
			for s := from; s < to; s++ {
				c, g = c+calls[s], g+good[s]
			}
			return float64(g) / float64(c)
		}
		if before := share(0, 9); before < 0.99 {
			t.Errorf("%.3f of calls succeed before the stall", before)
		}
		recovered = seconds - 5
		for recovered > stallEnd && share(recovered-1, recovered+4) >= 0.95 {
			recovered--
		}
		if recovered -= stallEnd; recovered == seconds-5-stallEnd {
			recovered = -1
		}
	})
	return recovered
}

func TestRecoveryFromAStall(t *testing.T) {
	plain := resilience.Classic()
	plain.Breaker.Rule = breaker.Off
	for name, tt := range map[string]struct {
		p    resilience.Policy
		ok   func(recovered int) bool
		want string
	}{
		"default":                 {resilience.Default(), func(r int) bool { return r >= 0 && r <= 10 }, "within 10s"},
		"classic":                 {resilience.Classic(), func(r int) bool { return r > 45 }, "only after its 60s"},
		"classic without breaker": {plain, func(r int) bool { return r == -1 }, "never"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.p.Idempotent = true
			r := stall(t, tt.p)
			t.Logf("good again %ds after a 5s stall (-1: not within %ds)", r, seconds-stallEnd)
			if !tt.ok(r) {
				t.Errorf("want %s", tt.want)
			}
		})
	}
}
