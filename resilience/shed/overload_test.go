package shed_test

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/resilience/shed"
)

// story is a server with 20 workers of 20ms, which the door does not know, and
// callers who wait 250ms and come as a Poisson process whatever happens.
type story struct {
	settings  shed.Settings
	load      float64                         // as a share of 1000/s
	length    time.Duration                   // of the story
	from      time.Duration                   // when judging begins
	random    bool                            // service times are exponential
	slower    func(at time.Duration) float64  // factor on service times; nil means 1
	workers   int                             // 0 means 20
	user      func(r *rand.Rand) shed.Request // nil means the zero Request
	deadline  time.Duration                   // 0 means 250ms
	capacity  float64                         // requests a second; 0 means 1000
	unbounded bool                            // without a door
}

// ending is what came of it in the time judged.
type ending struct {
	came, good, refused int
	goodput             float64 // share of the capacity
	p50, p99            time.Duration
	by                  map[shed.Request]*tally
	snapshot            shed.Snapshot
	halves              []float64 // goodput by half second from the beginning
}

type tally struct{ came, good int }

// patient is a ctx with a deadline and without a timer: there are a million.
type patient struct {
	context.Context
	until time.Time
}

func (p patient) Deadline() (time.Time, bool) { return p.until, true }

func (p patient) Err() error {
	if time.Now().Before(p.until) {
		return nil
	}
	return context.DeadlineExceeded
}

func (s story) tell(t *testing.T) (e ending) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 11))
		workers := make(chan struct{}, cmp.Or(s.workers, 20))
		capacity := cmp.Or(s.capacity, 1000)
		patience := cmp.Or(s.deadline, 250*time.Millisecond)
		door := shed.New(s.settings)
		e.by = map[shed.Request]*tally{}
		e.halves = make([]float64, s.length/(500*time.Millisecond)+1)
		var mu sync.Mutex
		var took []time.Duration
		var wg sync.WaitGroup
		begin := time.Now()
		next := time.Duration(0)
		for {
			next += time.Duration(r.ExpFloat64() / s.load / 1000 * 1e9)
			if next > s.length {
				break
			}
			time.Sleep(next - time.Since(begin))
			work := 20 * time.Millisecond
			if s.random {
				work = time.Duration(r.ExpFloat64() * float64(work))
			}
			if s.slower != nil {
				work = time.Duration(float64(work) * s.slower(next))
			}
			var q shed.Request
			if s.user != nil {
				q = s.user(r)
			}
			came := next
			wg.Go(func() {
				ctx := patient{context.Background(), begin.Add(came + patience)}
				pass, err := shed.Pass{}, error(nil)
				if !s.unbounded {
					pass, err = door.Enter(ctx, q)
				}
				if err == nil {
					workers <- struct{}{}
					time.Sleep(work)
					<-workers
					if ctx.Err() != nil {
						pass.Done(shed.Overload)
					} else {
						pass.Done(shed.Success)
					}
				}
				ended := time.Since(begin)
				mu.Lock()
				defer mu.Unlock()
				good := err == nil && ended-came <= patience
				if good && ended < s.length {
					e.halves[ended/(500*time.Millisecond)] += 2 / capacity
				}
				if good && ended >= s.from && ended < s.length {
					e.goodput++
				}
				if came < s.from {
					return
				}
				b := e.by[q]
				if b == nil {
					b = new(tally)
					e.by[q] = b
				}
				e.came++
				b.came++
				switch {
				case errors.Is(err, shed.ErrShed):
					e.refused++
				case err == nil:
					took = append(took, ended-came)
				}
				if good {
					e.good++
					b.good++
				}
			})
		}
		wg.Wait()
		e.goodput /= capacity * (s.length - s.from).Seconds()
		slices.Sort(took)
		if n := len(took); n > 0 {
			e.p50, e.p99 = took[n/2], took[n*99/100]
		}
		e.snapshot = door.Snapshot()
	})
	return e
}

func (e ending) log(t *testing.T) {
	t.Helper()
	t.Logf("goodput %.3f, p50 %v, p99 %v, came %d, good %d, refused %d, limit %d", e.goodput,
		e.p50.Round(time.Millisecond/10), e.p99.Round(time.Millisecond/10), e.came, e.good, e.refused, e.snapshot.Limit)
}

// The targets of the room, with the seconds a cold start needs left out.
func TestOverload(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	slower := func(at time.Duration) float64 { return map[bool]float64{true: 3, false: 1}[at > 10*s] }
	for _, c := range []struct {
		name    string
		s       story
		goodput float64
		p99     time.Duration // 0 means any
		refused int           // at most; -1 means any number
	}{
		{"half load", story{load: 0.5, length: 20 * s}, 0.48, 40 * ms, 0},
		{"1x", story{load: 1, length: 30 * s, from: 3 * s}, 0.98, 0, -1},
		{"2x", story{load: 2, length: 20 * s, from: 3 * s}, 0.98, 40 * ms, -1},
		{"4x", story{load: 4, length: 12 * s, from: 3 * s}, 0.98, 40 * ms, -1},
		{"10x", story{load: 10, length: 8 * s, from: 3 * s}, 0.98, 40 * ms, -1},
		{"exponential 2x", story{load: 2, length: 30 * s, from: 3 * s, random: true}, 0.92, 0, -1},
		{"exponential 0.8x", story{load: 0.8, length: 30 * s, from: 3 * s, random: true}, 0.78, 0, -1},
		{"limit 10x too low", story{settings: shed.Settings{Start: 2}, load: 2, length: 10 * s, from: 3 * s}, 0.95, 40 * ms, -1},
		{"limit 10x too high", story{settings: shed.Settings{Start: 200}, load: 2, length: 10 * s, from: 3 * s}, 0.95, 40 * ms, -1},
		{"limit 100x too high", story{settings: shed.Settings{Start: 2000}, load: 2, length: 10 * s, from: 3 * s}, 0.95, 40 * ms, -1},
		{"3x slower", story{load: 2, length: 20 * s, from: 13 * s, capacity: 1000.0 / 3, slower: slower}, 0.95, 0, -1},
	} {
		if race && c.s.load != 2 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			e := c.s.tell(t)
			e.log(t)
			if e.goodput < c.goodput {
				t.Errorf("goodput %.3f, want %.2f", e.goodput, c.goodput)
			}
			if c.p99 > 0 && e.p99 > c.p99 {
				t.Errorf("p99 %v, want at most %v", e.p99, c.p99)
			}
			if c.refused >= 0 && e.refused > c.refused {
				t.Errorf("%d refused, want %d", e.refused, c.refused)
			}
		})
	}
}

// What happens without a door, to see that the story is one.
func TestOverloadWithoutDoor(t *testing.T) {
	e := story{load: 2, length: 10 * time.Second, from: 3 * time.Second, unbounded: true}.tell(t)
	e.log(t)
	if e.goodput > 0.1 {
		t.Errorf("goodput %.3f: the load is no overload", e.goodput)
	}
}

func TestTenMinutesOfOverload(t *testing.T) {
	if testing.Short() || race {
		t.Skip("1.2 million requests")
	}
	e := story{load: 2, length: 10 * time.Minute, from: 3 * time.Second}.tell(t)
	e.log(t)
	var minutes []float64
	for i := 6; i+120 < len(e.halves); i += 120 {
		sum := 0.0
		for _, h := range e.halves[i : i+120] {
			sum += h / 120
		}
		minutes = append(minutes, sum)
	}
	t.Logf("goodput by minute: %.3f", minutes)
	if slices.Min(minutes) < 0.98 {
		t.Errorf("the worst minute has %.3f", slices.Min(minutes))
	}
	if e.p99 > 40*time.Millisecond {
		t.Errorf("p99 %v", e.p99)
	}
	if e.snapshot.Limit < 16 || e.snapshot.Limit > 28 {
		t.Errorf("limit %d after ten minutes", e.snapshot.Limit)
	}
}

// Under overload the important come through and the unimportant pay.
func TestPriorities(t *testing.T) {
	all := []shed.Priority{shed.Background, shed.Low, shed.Normal, shed.Critical}
	e := story{load: 2, length: 15 * time.Second, from: 3 * time.Second, user: func(r *rand.Rand) shed.Request {
		return shed.Request{Priority: all[r.IntN(4)]}
	}}.tell(t)
	e.log(t)
	var got [4]float64
	for i, p := range all {
		b := e.by[shed.Request{Priority: p}]
		got[i] = float64(b.good) / float64(b.came)
		t.Logf("%v: %.3f of %d", p, got[i], b.came)
	}
	if got[3] < 0.99 || got[2] < 0.7 || got[1] > 0.3 || got[0] > 0.03 {
		t.Errorf("shares served %.3f, want little, little, most, all", got)
	}
	if e.goodput < 0.98 {
		t.Errorf("goodput %.3f", e.goodput)
	}
}

// One user who sends as much as all others together gets what is left, and they
// hardly notice.
func TestFairness(t *testing.T) {
	users := func(r *rand.Rand) shed.Request {
		if r.IntN(2) == 0 {
			return shed.Request{User: "loud"}
		}
		return shed.Request{User: string(rune('a' + r.IntN(20)))}
	}
	for _, c := range []struct {
		name   string
		unfair bool
	}{{"fair", false}, {"unfair", true}} {
		t.Run(c.name, func(t *testing.T) {
			e := story{settings: shed.Settings{Unfair: c.unfair}, load: 1.8, length: 15 * time.Second, from: 3 * time.Second, user: users}.tell(t)
			e.log(t)
			loud := e.by[shed.Request{User: "loud"}]
			others := tally{e.came - loud.came, e.good - loud.good}
			share := float64(others.good) / float64(others.came)
			t.Logf("loud %.3f of %d, others %.3f of %d", float64(loud.good)/float64(loud.came), loud.came, share, others.came)
			if (share > 0.88) == c.unfair {
				t.Errorf("the others got %.3f of what they wanted", share)
			}
			if e.goodput < 0.97 {
				t.Errorf("goodput %.3f", e.goodput)
			}
		})
	}
}
