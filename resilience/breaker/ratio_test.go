package breaker_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/resilience/breaker"
)

// Ratio judges the share since its interval began, starts over at its end, and
// closes after MaxRequests successes.
func TestRatio(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Settings{Rule: breaker.Ratio, FailureShare: 0.6, MinCalls: 5, MaxRequests: 2, Interval: time.Minute, Timeout: 10 * time.Second})
		calls := func(outcomes string) {
			t.Helper()
			for _, o := range outcomes {
				p, err := b.Allow()
				if err != nil {
					t.Fatalf("%q: refused", outcomes)
				}
				if o == '+' {
					p.Done(breaker.Success, nil)
				} else {
					p.Done(breaker.Failure, errors.New("down"))
				}
			}
		}
		want := func(s breaker.State) {
			t.Helper()
			if got := b.State(); got != s {
				t.Fatalf("it is %v, want %v", got, s)
			}
		}
		calls("----") // all failed, but too few to judge
		want(breaker.Closed)
		time.Sleep(time.Minute + 1)
		calls("++--") // the interval before is forgotten
		calls("++")   // 2 of 6
		calls("--")   // 4 of 8
		want(breaker.Closed)
		calls("--") // 6 of 10
		want(breaker.Open)
		time.Sleep(10 * time.Second)
		calls("+")
		want(breaker.HalfOpen)
		calls("+")
		want(breaker.Closed)
	})
}
