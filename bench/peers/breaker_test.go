package peers

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/surefoot-go/surefoot/resilience/breaker"
)

var seeds = flag.Uint64("seeds", 5000, "how many random sequences TestBreakerIsGobreaker tries")

var (
	errDown    = errors.New("down")
	errIgnored = errors.New("ignored")
)

// TestBreakerIsGobreaker drives our breaker under the rules Consecutive and Ratio and
// gobreaker with the same settings, the same calls, outcomes and times, and
// finds the same admissions and the same states. Calls overlap, some for
// longer than an interval or a timeout.
//
// What differs by design, and how the sequences keep clear of it:
//
//   - An open breaker of ours lets a call through at the very instant that
//     Timeout ends, so that Wait tells the truth; gobreaker one tick later. No
//     step ends at that instant.
//   - Ours turns half-open, and begins a new interval, when a call asks;
//     gobreaker turns half-open also when a late outcome comes in, and does
//     both when its state is read. States are compared where calls begin and
//     end, and an open breaker whose Wait is over counts as half-open.
//   - A probe that is never handed back holds its place in gobreaker for ever
//     and in ours for 30s. Each probe here is handed back sooner.
//   - A panic is a failure to gobreaker and says nothing to ours, and so is a
//     cancel by the caller. Both are driven by their two-step interface, and
//     what ours ignores is excluded from gobreaker by its own setting.
//   - Our outcome Answered (a 4xx) has no counterpart and is not driven.
//   - OrDefault reads zero as the article's numbers, where gobreaker reads
//     MaxRequests 0 as 1 and Interval 0 as never. Ours says never by a negative
//     number. All settings here are spelled out.
func TestBreakerIsGobreaker(t *testing.T) {
	n := *seeds
	if testing.Short() {
		n = min(n, 1000)
	}
	var sum tally
	for seed := range n {
		synctest.Test(t, func(t *testing.T) { // at the same start time for each
			p := newPair(seed)
			if err := p.play(400); err != nil {
				t.Fatalf("seed %d, %+v: %v\n%s", seed, p.settings, err, strings.Join(p.story, "\n"))
			}
			sum.add(p.tally)
		})
	}
	t.Logf("%d sequences: %+v", n, sum)
	// A generator that never gets anywhere finds no difference either.
	if k := int(n); sum.Refused < 10*k || sum.Opened < 5*k || sum.Closed < k || sum.Late < 5*k {
		t.Errorf("too little happened: %+v", sum)
	}
}

// tally is what happened in sequences.
type tally struct{ Admitted, Refused, Opened, Closed, Late int }

func (t *tally) add(o tally) {
	t.Admitted += o.Admitted
	t.Refused += o.Refused
	t.Opened += o.Opened
	t.Closed += o.Closed
	t.Late += o.Late
}

// pair is the two breakers in lockstep.
type pair struct {
	rand     *rand.Rand
	settings breaker.Settings
	ours     *breaker.Breaker
	theirs   *gobreaker.TwoStepCircuitBreaker[any]
	flying   []flight
	failing  float64 // share of failures, now
	tally    tally
	story    []string
}

// flight is a call that both let through.
type flight struct {
	permit breaker.Permit
	done   func(error)
	began  time.Time
	in     breaker.State
}

func newPair(seed uint64) *pair {
	r := rand.New(rand.NewPCG(seed, 3))
	s := breaker.Classic() // each fourth is the article's
	if r.IntN(4) > 0 {
		s.MaxRequests = 1 + r.IntN(5)
		s.Interval = pick(r, -1, time.Second, 10*time.Second, time.Minute)
		s.Timeout = pick(r, 500*time.Millisecond, 5*time.Second, time.Minute)
		s.Failures = pick(r, -1, 1, 2, 5, 8)
	}
	if r.IntN(3) == 0 {
		s.Rule = breaker.Ratio
		s.MinCalls = 1 + r.IntN(8)
		s.FailureShare = pick(r, 0.2, 0.5, 0.6, 1)
	}
	p := &pair{rand: r, settings: s, ours: breaker.New(s), failing: r.Float64()}
	p.theirs = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		MaxRequests: uint32(s.MaxRequests),
		Interval:    max(s.Interval, 0),
		Timeout:     s.Timeout,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			if s.Rule == breaker.Ratio { // Requests would count those that are out, too
				ended := float64(c.TotalSuccesses + c.TotalFailures)
				return ended >= float64(s.MinCalls) && float64(c.TotalFailures) >= s.FailureShare*ended
			}
			return int(c.ConsecutiveFailures) > max(s.Failures, 0)
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errIgnored) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			switch to {
			case gobreaker.StateOpen:
				p.tally.Opened++
			case gobreaker.StateClosed:
				p.tally.Closed++
			}
		},
	})
	return p
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// play makes n random moves, and looks at both after each call's begin or end.
func (p *pair) play(n int) error {
	for range n {
		var err error
		switch k := p.rand.IntN(10); {
		case k < 4 && len(p.flying) < 12:
			if err = p.begin(); err == nil {
				err = p.look()
			}
		case k < 8 && len(p.flying) > 0:
			p.end(p.rand.IntN(len(p.flying)))
			err = p.look()
		case k == 8:
			p.failing = pick(p.rand, 0, 0.1, 0.9, 1)
		default:
			p.wait()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *pair) begin() error {
	permit, ours := p.ours.Allow()
	done, theirs := p.theirs.Allow()
	p.say("call: %v, %v", ours, theirs)
	switch {
	case (ours == nil) != (theirs == nil):
		return fmt.Errorf("ours answers %v, gobreaker %v", ours, theirs)
	case ours != nil:
		p.tally.Refused++
	default:
		p.tally.Admitted++
		p.flying = append(p.flying, flight{permit, done, time.Now(), p.ours.State()})
	}
	return nil
}

func (p *pair) end(i int) {
	f := p.flying[i]
	p.flying = append(p.flying[:i], p.flying[i+1:]...)
	outcome, err := breaker.Success, error(nil)
	switch {
	case p.rand.IntN(10) == 0:
		outcome, err = breaker.Ignored, errIgnored
	case p.rand.Float64() < p.failing:
		outcome, err = breaker.Failure, errDown
	}
	p.say("the call of %v ends: %v", f.began, err)
	if f.in != p.ours.State() {
		p.tally.Late++
	}
	f.permit.Done(outcome, err)
	f.done(err)
}

// wait lets time pass: a little, or right up to where something ends.
func (p *pair) wait() {
	d := pick(p.rand,
		time.Duration(p.rand.Int64N(int64(100*time.Millisecond))),
		time.Duration(p.rand.Int64N(int64(3*time.Second))),
		max(p.settings.Interval, 1), max(p.settings.Interval, 1)+1, p.settings.Interval/2,
		p.settings.Timeout-1, p.settings.Timeout+1, p.settings.Timeout/3)
	d = max(d, 1)
	if d == p.ours.Wait() {
		d++
	}
	for i := len(p.flying) - 1; i >= 0; i-- {
		if f := p.flying[i]; f.in == breaker.HalfOpen && time.Since(f.began)+d >= 30*time.Second {
			p.end(i)
			if d == p.ours.Wait() { // it opened the breaker just now
				d++
			}
		}
	}
	p.say("%v pass", d)
	time.Sleep(d)
}

// look compares the states at the instant of a call. Reading gobreaker's moves
// it: at another instant a read would begin a new interval, which ours leaves
// to the next call.
func (p *pair) look() error {
	ours := p.ours.State()
	if ours == breaker.Open && p.ours.Wait() == 0 {
		ours = breaker.HalfOpen
	}
	if theirs := p.theirs.State(); ours.String() != theirs.String() {
		return fmt.Errorf("ours is %v, gobreaker %v", ours, theirs)
	}
	return nil
}

func (p *pair) say(format string, args ...any) {
	p.story = append(p.story, fmt.Sprintf("%v  ", time.Now())+fmt.Sprintf(format, args...))
}
