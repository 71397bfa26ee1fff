package balance_test

import (
	"testing"

	"github.com/surefoot-go/surefoot/resilience/balance"
)

// A stream's length says nothing about its instance, its end does.
func TestUnknownLatency(t *testing.T) {
	var b balance.Balancer
	b.Set(instances(1))
	for _, o := range []balance.Outcome{balance.Success, balance.Ignored} {
		p, err := b.Pick()
		if err != nil || p.Done(o, -1) {
			t.Fatal(err)
		}
	}
	if s := b.Snapshot()[0]; s.LatencyMs != 0 || s.Counts.Successes != 1 || s.Counts.Ignored != 1 || s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
}
