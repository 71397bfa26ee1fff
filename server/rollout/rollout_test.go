package rollout_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/rollout"
)

var start = time.Date(2026, 11, 23, 4, 5, 6, 0, time.UTC)

// run feeds one sample a second and returns the second of the first rollback,
// or -1, with the action taken then.
func run(m *rollout.Machine, samples []rollout.Sample) (int, rollout.Action) {
	for i, s := range samples {
		if a := m.Step(start.Add(time.Duration(i)*time.Second), s); a.Verdict == rollout.Rollback {
			return i, a
		}
	}
	return -1, rollout.Action{}
}

func steady(seconds, good, bad int) []rollout.Sample {
	out := make([]rollout.Sample, seconds)
	for i := range out {
		out[i] = rollout.Sample{Version: "v2", Good: good, Bad: bad}
	}
	return out
}

func join(parts ...[]rollout.Sample) (out []rollout.Sample) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func TestRule(t *testing.T) {
	for _, c := range []struct {
		name    string
		rule    rollout.Rule
		samples []rollout.Sample
		want    int // second of the rollback, -1 for none
	}{
		{"no calls", rollout.Rule{}, steady(600, 0, 0), -1},
		{"all good", rollout.Rule{}, steady(600, 20, 0), -1},
		{"exactly 3 % is not over", rollout.Rule{}, steady(600, 97, 3), -1},
		{"4 % for 30 s", rollout.Rule{}, steady(600, 96, 4), 30},
		{"4 % for 30 s after a good start", rollout.Rule{}, join(steady(100, 100, 0), steady(600, 0, 100)), 130},
		{"one failed call of one", rollout.Rule{}, join(steady(1, 0, 1), steady(600, 0, 0)), -1},
		{"one failed call of one, then good ones", rollout.Rule{}, join(steady(1, 0, 1), steady(600, 1, 0)), -1},
		{"29 s of trouble, then good", rollout.Rule{}, join(steady(30, 5, 5), steady(600, 10, 0)), -1},
		{"trouble in bursts of 10 s", rollout.Rule{}, join(steady(10, 0, 9), steady(20, 9, 0), steady(10, 0, 9), steady(60, 9, 0)), -1},
		{"everything fails at one call a second", rollout.Rule{}, steady(600, 0, 1), 30},
		{"one call in half a minute, all failing", rollout.Rule{}, sparse(1200, 30), 270}, // the tenth call
		{"failures with silence between", rollout.Rule{}, sparse(600, 10), 90},
		{"one call in eleven minutes", rollout.Rule{}, sparse(100000, 660), -1}, // too rare to judge
		{"own numbers", rollout.Rule{MaxErrorShare: 0.5, For: 5 * time.Second, MinSamples: 3}, steady(60, 1, 2), 5},
		{"off", rollout.Rule{MaxErrorShare: -1}, steady(600, 0, 20), -1},
		{"at once", rollout.Rule{For: -1, MinSamples: -1}, steady(60, 0, 1), 1}, // one failure alone never decides
		{"one failed call of 20, then silence", rollout.Rule{}, join(steady(1, 19, 1), steady(60, 0, 0)), -1},
		{"negative counts are nothing", rollout.Rule{}, steady(60, -5, -5), -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := rollout.Machine{Rule: c.rule}
			if got, a := run(&m, c.samples); got != c.want {
				t.Errorf("rollback at second %d (%s), want %d", got, a.Reason, c.want)
			}
		})
	}
}

// sparse is one failed call every n seconds.
func sparse(seconds, n int) []rollout.Sample {
	out := steady(seconds, 0, 0)
	for i := 0; i < seconds; i += n {
		out[i].Bad = 1
	}
	return out
}

func TestDefaultsAreTheOnesDocumented(t *testing.T) {
	want := rollout.Rule{MaxErrorShare: 0.03, For: 30 * time.Second, MinSamples: 10}
	if got := (rollout.Rule{}).OrDefault(); got != want {
		t.Errorf("zero Rule means %+v, want %+v", got, want)
	}
	if got := (rollout.Rule{MaxErrorShare: math.NaN()}).OrDefault().MaxErrorShare; got != 0.03 {
		t.Errorf("NaN means %v", got)
	}
}

func TestRollbackIsRepeatedUntilResetOrNewVersion(t *testing.T) {
	var m rollout.Machine
	at, a := run(&m, steady(60, 0, 20))
	if at != 30 {
		t.Fatalf("rollback at %d", at)
	}
	later := start.Add(10 * time.Minute)
	if again := m.Step(later, rollout.Sample{Version: "v2", Good: 1000}); again != a {
		t.Errorf("repeated action is %+v, want %+v", again, a)
	}
	if got := m.Step(later, rollout.Sample{Version: "v3", Bad: 20}); got.Verdict != rollout.Keep || got.Version != "v3" {
		t.Errorf("a new version is judged by the old one's calls: %+v", got)
	}
	_, _ = run(&m, steady(60, 0, 20))
	m.Reset()
	if got := m.Step(start, rollout.Sample{Version: "v2", Bad: 20}); got.Verdict != rollout.Keep {
		t.Errorf("after Reset: %+v", got)
	}
}

func TestPauseStartsAfresh(t *testing.T) {
	var m rollout.Machine
	run(&m, steady(29, 0, 20))
	now := start.Add(2 * time.Minute) // nobody stepped for 91 s
	if a := m.Step(now, rollout.Sample{Version: "v2", Bad: 20}); a.Verdict != rollout.Keep || !a.Since.Equal(now) {
		t.Errorf("after a pause: %+v", a)
	}
}

func TestClockBackwards(t *testing.T) {
	var m rollout.Machine
	run(&m, steady(29, 0, 20))
	if a := m.Step(start.Add(-time.Hour), rollout.Sample{Version: "v2", Bad: 20}); a.Verdict != rollout.Keep || !a.Since.Equal(start) {
		t.Errorf("clock backwards: %+v", a)
	}
}

func TestReasonSaysWhatAndWhy(t *testing.T) {
	var m rollout.Machine
	_, a := run(&m, steady(60, 15, 5))
	want := "version v2: error share 25.0 % for 30s (155 of 620 calls failed), rule: over 3 % for 30s"
	if a.Reason != want {
		t.Errorf("reason %q\nwant   %q", a.Reason, want)
	}
	if !strings.Contains(a.ReasonZh, "25.0 %") || !strings.Contains(a.ReasonZh, "v2") {
		t.Errorf("Chinese reason %q", a.ReasonZh)
	}
	if rollout.Keep.String() != "keep" || rollout.Rollback.String() != "rollback" {
		t.Error("verdict names")
	}
}

// TestProperties checks on random histories: Rollback only with the evidence
// the rule asks for, and turning good calls into failed ones never makes the
// rollback later.
func TestProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		n := 40 + rng.IntN(200)
		rate, p := 1+rng.IntN(30), rng.Float64()*rng.Float64()*0.4
		samples, worse := make([]rollout.Sample, n), make([]rollout.Sample, n)
		for i := range samples {
			if rng.IntN(20) == 0 {
				p = rng.Float64() * rng.Float64() * 0.4
			}
			s := rollout.Sample{Version: "v2"}
			for range rng.IntN(2*rate + 1) {
				if rng.Float64() < p {
					s.Bad++
				} else {
					s.Good++
				}
			}
			samples[i] = s
			if s.Good > 0 && rng.IntN(3) == 0 {
				s.Good, s.Bad = s.Good-1, s.Bad+1
			}
			worse[i] = s
		}
		var a, b rollout.Machine
		at, act := run(&a, samples)
		if at >= 0 {
			calls, bad := 0, 0
			from := int(act.Since.Sub(start) / time.Second)
			for _, s := range samples[from : at+1] {
				calls, bad = calls+s.Good+s.Bad, bad+s.Bad
			}
			if at-from < 30 || calls < 10 || float64(bad-1) <= 0.03*float64(calls) || calls != act.Calls || bad != act.Failed {
				t.Fatalf("rollback without evidence: %+v, seconds %d to %d, %d of %d failed", act, from, at, bad, calls)
			}
			if later, _ := run(&b, worse); later < 0 || later > at {
				t.Fatalf("more failures, later rollback: %d, then %d", at, later)
			}
		}
	}
}

// TestHowSoonAndHowOften measures the rule on random calls with a fixed seed:
// the seconds it takes at several error rates, and how often a version under
// the limit is taken off within an hour.
func TestHowSoonAndHowOften(t *testing.T) {
	const runs = 20
	for _, c := range []struct {
		rate         float64 // calls a second
		share        float64
		within, upTo int // at least upTo of the runs roll back within so many seconds
		atMost       int // or: at most so many of them roll back in 3600 s
	}{
		{rate: 4, share: 1, within: 31, upTo: 20},
		{rate: 4, share: 0.3, within: 60, upTo: 19},
		{rate: 20, share: 0.1, within: 60, upTo: 19},
		{rate: 20, share: 0.05, within: 600, upTo: 19},
		{rate: 20, share: 0.01, atMost: 0},
		{rate: 4, share: 0.005, atMost: 1},
	} {
		rng := rand.New(rand.NewPCG(7, 7))
		seconds := 3600
		if c.upTo > 0 {
			seconds = 1200
		}
		hits, inTime, sum := 0, 0, 0
		for range runs {
			var m rollout.Machine
			for i := range seconds {
				s := rollout.Sample{Version: "v2"}
				for range poisson(rng, c.rate) {
					if rng.Float64() < c.share {
						s.Bad++
					} else {
						s.Good++
					}
				}
				if m.Step(start.Add(time.Duration(i)*time.Second), s).Verdict == rollout.Rollback {
					hits, sum = hits+1, sum+i
					if i <= c.within {
						inTime++
					}
					break
				}
			}
		}
		t.Logf("%2.0f calls/s, %5.1f %% failing: %2d of %d rolled back in %d s, mean after %d s, %d within %d s",
			c.rate, 100*c.share, hits, runs, seconds, sum/max(hits, 1), inTime, c.within)
		if c.upTo > 0 && inTime < c.upTo {
			t.Errorf("%v calls/s, %v failing: %d of %d within %d s, want %d", c.rate, c.share, inTime, runs, c.within, c.upTo)
		}
		if c.upTo == 0 && hits > c.atMost {
			t.Errorf("%v calls/s, %v failing: %d of %d taken off, want at most %d", c.rate, c.share, hits, runs, c.atMost)
		}
	}
}

func poisson(rng *rand.Rand, mean float64) int {
	limit, p, n := math.Exp(-mean), 1.0, 0
	for {
		p *= rng.Float64()
		if p <= limit {
			return n
		}
		n++
	}
}

func TestStepDoesNotAllocateWhileKeeping(t *testing.T) {
	var m rollout.Machine
	now := start
	if got := testing.AllocsPerRun(2000, func() {
		now = now.Add(time.Second)
		m.Step(now, rollout.Sample{Version: "v2", Good: 20})
	}); got > 0.1 {
		t.Errorf("%v allocations a step", got)
	}
}

func ExampleMachine_Step() {
	var m rollout.Machine // error share over 3 % for 30 s
	now := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	for {
		now = now.Add(time.Second)
		a := m.Step(now, rollout.Sample{Version: "v2", Good: 3, Bad: 1})
		if a.Verdict == rollout.Rollback {
			fmt.Println(a.Reason)
			break
		}
	}
	// Output: version v2: error share 25.0 % for 30s (31 of 124 calls failed), rule: over 3 % for 30s
}
