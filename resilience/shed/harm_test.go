package shed_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/resilience/shed"
)

// stream is requests for one operation as a Poisson process. Nothing but time
// passes while they are worked on, so that none of them is too many.
type stream struct {
	op    string
	rate  float64                              // a second
	takes func(at time.Duration) time.Duration // nil means 1ms
	left  time.Duration                        // of the callers; 0 means they wait for ever
}

type fate struct{ came, refused int }

func pour(t *testing.T, s shed.Settings, length time.Duration, streams ...stream) (map[string]*fate, shed.Snapshot) {
	fates := map[string]*fate{}
	var end shed.Snapshot
	synctest.Test(t, func(t *testing.T) {
		door := shed.New(s)
		var mu sync.Mutex
		var wg sync.WaitGroup
		begin := time.Now()
		for _, st := range streams {
			fates[st.op] = &fate{}
		}
		for i, st := range streams {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 55))
				for next := time.Duration(0); next < length; {
					next += time.Duration(r.ExpFloat64() / st.rate * 1e9)
					time.Sleep(next - time.Since(begin))
					takes := time.Millisecond
					if st.takes != nil {
						takes = st.takes(next)
					}
					wg.Go(func() {
						var ctx context.Context = context.Background()
						if st.left > 0 {
							ctx = patient{ctx, time.Now().Add(st.left)}
						}
						pass, err := door.Enter(ctx, shed.Request{Op: st.op})
						if err == nil {
							time.Sleep(takes)
							if ctx.Err() != nil {
								pass.Done(shed.Overload)
							} else {
								pass.Done(shed.Success)
							}
						}
						mu.Lock()
						defer mu.Unlock()
						f := fates[st.op]
						f.came++
						if err != nil {
							f.refused++
						}
					})
				}
			})
		}
		wg.Wait()
		end = door.Snapshot()
	})
	return fates, end
}

func always(d time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration { return d }
}

// The door must not do harm where there is nothing to protect.
func TestNoHarm(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	stalls := func(at time.Duration) time.Duration {
		if at > 5*s && at < 15*s {
			return 2 * s
		}
		return 10 * ms
	}
	for _, c := range []struct {
		name    string
		s       shed.Settings
		hurt    string // this operation cannot be done in time anyway
		streams []stream
	}{
		{"low traffic", shed.Settings{}, "", []stream{{op: "a", rate: 0.5}, {op: "b", rate: 0.2, takes: always(2 * s)}}},
		{"mixed latencies", shed.Settings{}, "", []stream{{op: "fast", rate: 1000}, {op: "slow", rate: 100, takes: always(500 * ms)}}},
		{"tight deadlines beside slow work", shed.Settings{}, "", []stream{{op: "fast", rate: 500, left: 50 * ms}, {op: "slow", rate: 100, takes: always(500 * ms)}}},
		{"waits for others", shed.Settings{}, "", []stream{{op: "slow", rate: 1000, takes: always(500 * ms)}}},
		{"a slow downstream", shed.Settings{}, "", []stream{{op: "calls", rate: 200, takes: stalls}, {op: "fast", rate: 500}}},
		{"a slow downstream and a low limit", shed.Settings{Start: 64}, "calls", []stream{{op: "calls", rate: 200, takes: stalls}, {op: "fast", rate: 500}}},
		{"a slow downstream and deadlines", shed.Settings{}, "calls", []stream{{op: "calls", rate: 500, takes: stalls, left: 250 * ms}, {op: "fast", rate: 100}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fates, end := pour(t, c.s, 20*s, c.streams...)
			for op, f := range fates {
				t.Logf("%s: %d of %d refused, limit %d", op, f.refused, f.came, end.Limit)
				if f.refused > 0 && op != c.hurt {
					t.Errorf("%s: %d of %d refused", op, f.refused, f.came)
				}
			}
		})
	}
}
