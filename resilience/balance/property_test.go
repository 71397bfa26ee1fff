package balance_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/resilience/balance"
)

// Three instances with one worker each, one of them three times slower, and
// a third of the calls that keeps it nine tenths busy.
func TestBesideRoundRobin(t *testing.T) {
	const calls, rate = 20_000, 90.
	service := map[string]time.Duration{"a": 10 * time.Millisecond, "b": 10 * time.Millisecond, "c": 30 * time.Millisecond}
	run := func(choose func(n int) (id string, done func(time.Duration))) (p50, p99 time.Duration) {
		random := rand.New(rand.NewPCG(4, 4))
		free := map[string]time.Time{}
		var took []time.Duration
		type end struct {
			at   time.Time
			done func()
		}
		var ends []end
		for n := range calls {
			next := time.Now().Add(time.Duration(random.ExpFloat64() / rate * 1e9))
			slices.SortFunc(ends, func(a, b end) int { return a.at.Compare(b.at) })
			for len(ends) > 0 && !ends[0].at.After(next) {
				time.Sleep(time.Until(ends[0].at))
				ends[0].done()
				ends = ends[1:]
			}
			time.Sleep(time.Until(next))
			id, done := choose(n)
			begin := next
			if free[id].After(begin) {
				begin = free[id]
			}
			free[id] = begin.Add(time.Duration(random.ExpFloat64() * float64(service[id])))
			latency := free[id].Sub(next)
			took = append(took, latency)
			ends = append(ends, end{free[id], func() { done(latency) }})
			if len(ends) > 2000 { // a queue without end: nothing to learn from the rest
				break
			}
		}
		slices.Sort(took)
		return took[len(took)/2], took[len(took)*99/100]
	}
	synctest.Test(t, func(t *testing.T) {
		rr50, rr99 := run(func(n int) (string, func(time.Duration)) {
			return string(rune('a' + n%3)), func(time.Duration) {}
		})
		var b balance.Balancer
		b.Rand = seeded(4)
		b.Set(instances(3))
		p50, p99 := run(func(int) (string, func(time.Duration)) {
			p, _ := b.Pick()
			return p.Instance().ID, func(d time.Duration) { p.Done(balance.Success, d) }
		})
		t.Logf("latency p50 %v, p99 %v; round robin %v, %v", p50.Round(time.Millisecond), p99.Round(time.Millisecond),
			rr50.Round(time.Millisecond), rr99.Round(time.Millisecond))
		if p99 > rr99/3 {
			t.Errorf("p99 %v, round robin %v", p99, rr99)
		}
	})
}

// Ten equal instances get equal shares.
func TestFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b balance.Balancer
		b.Set(instances(10))
		var w *world
		w = newWorld(&b, 21, func(string) (time.Duration, balance.Outcome) {
			return time.Duration((0.5 + w.random.ExpFloat64()) * 1e7), balance.Success
		})
		shares := w.run(t, 2000, 20*time.Second)
		var sum, squares, least float64 = 0, 0, 1
		for _, s := range shares {
			sum, squares, least = sum+s, squares+s*s, min(least, s)
		}
		jain := sum * sum / (10 * squares)
		t.Logf("Jain's index %.4f, the smallest share %.4f of 0.1", jain, least)
		if len(shares) != 10 || jain < .99 || least < .08 {
			t.Errorf("%v", shares)
		}
	})
}

// Whatever happens in whatever order: there is always an instance, never are
// more out than may be, and nothing is left under way.
func TestInvariants(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2))
			b := balance.New(balance.Settings{Failures: 1 + random.IntN(5), Ejection: time.Duration(1 + random.IntN(1e9)), Ramp: time.Duration(random.IntN(1e9))})
			b.Rand = random.Uint64
			b.Set(instances(1 + random.IntN(8)))
			var out []balance.Pick
			for range 500 {
				switch random.IntN(10) {
				case 0:
					list := instances(random.IntN(9))
					for i := range list {
						list[i].Weight = random.IntN(5) - 1
						list[i].Version = string(rune('0' + random.IntN(3)))
					}
					b.Set(list)
				case 1:
					time.Sleep(time.Duration(random.IntN(2e8)))
				case 2, 3, 4, 5:
					p, err := b.PickVersion(string(rune('0'+random.IntN(4))), string(rune('a'+random.IntN(8))), string(rune('a'+random.IntN(8))))
					if err != nil || p.Instance().ID == "" {
						t.Fatal(err)
					}
					out = append(out, p)
				default:
					if len(out) > 0 {
						out[0].Done(balance.Outcome(random.IntN(3)), time.Duration(random.IntN(1e8)))
						out = out[1:]
					}
				}
				all, ejected := b.Snapshot(), 0
				for _, s := range all {
					if s.Ejected {
						ejected++
					}
					if s.InFlight < 0 || s.Share < 0 || s.Share > 1 || s.LatencyMs < 0 {
						t.Fatalf("seed %d: %+v", seed, s)
					}
				}
				if 2*ejected > len(all) {
					t.Fatalf("seed %d: %d of %d are out", seed, ejected, len(all))
				}
			}
			for _, p := range out {
				p.Done(balance.Ignored, 0)
			}
			for _, s := range b.Snapshot() {
				if s.InFlight != 0 {
					t.Fatalf("seed %d: %+v", seed, s)
				}
			}
		})
	}
}
