package breaker_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/resilience/breaker"
)

// Under force the breaker goes on judging what it would have let through, and
// Auto returns it to what it would be.
func TestForce(t *testing.T) {
	for name, tt := range map[string]struct {
		settings breaker.Settings
		before   func(t *testing.T, b *breaker.Breaker)
		force    breaker.Forced
		through  int // of 20 calls under force, all failing
		state    breaker.State
		after    breaker.State // back under Auto
	}{
		"closed, open by force":    {force: breaker.ForcedOpen, through: 0, state: breaker.Open, after: breaker.Closed},
		"closed, closed by force":  {force: breaker.ForcedClosed, through: 20, state: breaker.Closed, after: breaker.Open},
		"no person":                {force: breaker.Auto, through: 10, state: breaker.Open, after: breaker.Open},
		"nonsense":                 {force: 7, through: 10, state: breaker.Open, after: breaker.Open},
		"off, open by force":       {settings: breaker.Settings{Rule: breaker.Off}, force: breaker.ForcedOpen, state: breaker.Open, after: breaker.Closed},
		"classic, closed by force": {settings: breaker.Classic(), force: breaker.ForcedClosed, through: 20, state: breaker.Closed, after: breaker.Open},
		"classic, open by force":   {settings: breaker.Classic(), force: breaker.ForcedOpen, state: breaker.Open, after: breaker.Closed},
		"open, closed by force": {before: func(t *testing.T, b *breaker.Breaker) { calls(t, b, 10, breaker.Failure) },
			force: breaker.ForcedClosed, through: 20, state: breaker.Closed, after: breaker.Open},
		"half-open, open by force": {before: func(t *testing.T, b *breaker.Breaker) {
			calls(t, b, 10, breaker.Failure)
			time.Sleep(b.Wait())
			calls(t, b, 1, breaker.Success)
		}, force: breaker.ForcedOpen, state: breaker.Open, after: breaker.HalfOpen},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := breaker.New(tt.settings)
				if tt.before != nil {
					tt.before(t, b)
				}
				b.Force(tt.force)
				if n := calls(t, b, 20, breaker.Failure); n != tt.through {
					t.Errorf("%d of 20 calls went through, want %d", n, tt.through)
				}
				want(t, b, tt.state)
				s := b.Snapshot()
				if s.State != tt.state {
					t.Errorf("the snapshot says %v, want %v", s.State, tt.state)
				}
				if rejected := 20 - tt.through; s.Counts.Rejected != uint64(rejected) {
					t.Errorf("%d rejected, want %d", s.Counts.Rejected, rejected)
				}
				if changed := b.Force(breaker.Auto); changed != (tt.force == breaker.ForcedOpen || tt.force == breaker.ForcedClosed) {
					t.Errorf("Auto changed something: %v", changed)
				}
				want(t, b, tt.after)
			})
		})
	}
}

// A call that went through only by force says nothing about what the breaker
// would have done.
func TestForcedClosedIsNoEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Settings{Timeout: time.Minute, Ramp: -1})
		calls(t, b, 10, breaker.Failure)
		until := b.Wait()
		b.Force(breaker.ForcedClosed)
		if w := b.Wait(); w != 0 {
			t.Errorf("closed by force, yet waits %v", w)
		}
		calls(t, b, 50, breaker.Success) // it would have refused these
		b.Force(breaker.Auto)
		want(t, b, breaker.Open)
		if b.Wait() != until {
			t.Errorf("opens for %v, want the old %v", b.Wait(), until)
		}
		b.Force(breaker.ForcedClosed)
		time.Sleep(until)
		calls(t, b, 3, breaker.Success) // and let these through as probes
		b.Force(breaker.Auto)
		want(t, b, breaker.Closed)
	})
}

func TestForcedOpenDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker.Breaker
		told := 0
		b.OnChange = func(breaker.Change) { told++ }
		p, _ := b.Allow()
		b.Force(breaker.ForcedOpen)
		at := time.Now()
		time.Sleep(100 * 24 * time.Hour)
		if n := calls(t, &b, 5, breaker.Success); n != 0 {
			t.Errorf("%d calls went through", n)
		}
		if b.Wait() != b.Settings().Timeout {
			t.Errorf("says to come back after %v", b.Wait())
		}
		p.Done(breaker.Success, nil) // a call from before
		if s := b.Snapshot(); s.Forced != breaker.ForcedOpen || !s.ForcedAt.Equal(at) || s.Counts.Successes != 1 {
			t.Errorf("snapshot %+v", s)
		}
		b.Force(breaker.Auto)
		calls(t, &b, 5, breaker.Success)
		if told != 0 {
			t.Errorf("told of %d transitions, want none", told)
		}
	})
}

func TestForcedAsText(t *testing.T) {
	for _, f := range []breaker.Forced{breaker.Auto, breaker.ForcedOpen, breaker.ForcedClosed} {
		text, err := json.Marshal(f)
		var back breaker.Forced
		if err == nil {
			err = json.Unmarshal(text, &back)
		}
		if err != nil || back != f {
			t.Errorf("%v: %s came back as %v, %v", f, text, back, err)
		}
	}
	var f breaker.Forced
	if err := f.UnmarshalText([]byte("ajar")); err == nil {
		t.Error("ajar is no decision")
	}
	if breaker.Forced(9).String() != "unknown" {
		t.Error(breaker.Forced(9).String())
	}
}

// What ends without a Permit counts as a call that ended, or as a probe's.
func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Settings{Ramp: -1})
		for range 10 {
			b.Record(breaker.Failure, errDown)
		}
		want(t, b, breaker.Open)
		b.Record(breaker.Success, nil)
		want(t, b, breaker.Open)
		time.Sleep(b.Wait())
		calls(t, b, 1, breaker.Ignored)
		want(t, b, breaker.HalfOpen)
		for range 2 {
			if b.Record(breaker.Success, nil) {
				t.Error("closed too soon")
			}
		}
		if !b.Record(breaker.Success, nil) {
			t.Error("not closed by the third probe")
		}
		want(t, b, breaker.Closed)
		if c := b.Snapshot().Counts; c.Successes != 4 || c.Failures != 10 {
			t.Errorf("counts %+v", c)
		}
	})
}
