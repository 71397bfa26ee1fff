package server

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/server/rollout"
	"github.com/surefoot-go/surefoot/server/topology"
)

// A rollback that cannot be written is ordered again, one that is written is
// told once, and a version that is not judged any more is forgotten.
func TestReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := []release{{"pay", "v2", rollout.Rule{For: 3 * time.Second, MinSamples: 10}}}
		tries := 0
		r := newReleases(func() []release { return under }, func(_ context.Context, service, version, reason string) (bool, error) {
			if tries++; tries < 3 {
				return false, errors.New("the config centre is away")
			}
			if service != "pay" || version != "v2" || reason == "" {
				t.Errorf("rollback of %s %s: %s", service, version, reason)
			}
			return tries == 3, nil
		}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		loop := safe.Go(ctx, "releases", r.run)
		stats := func(calls, failed uint64) []topology.Stat {
			return []topology.Stat{
				{Target: "pay", View: topology.Own, Calls: 9 * calls, Errors: 0},
				{Target: "pay@v1", Service: "pay", Version: "v1", View: topology.Own, Calls: calls},
				{Target: "pay@v2", Service: "pay", Version: "v2", View: topology.Own, Calls: calls, Errors: failed},
			}
		}
		var notes []note
		calls, failed := uint64(1000), uint64(900) // an earlier life of v2: not this release's
		for range 4 {
			notes = append(notes, r.step(time.Now(), stats(calls, failed))...)
			calls += 20
			time.Sleep(time.Second)
		}
		if tries != 0 {
			t.Error("rolled back without a failure")
		}
		for range 10 {
			calls, failed = calls+20, failed+5
			notes = append(notes, r.step(time.Now(), stats(calls, failed))...)
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if len(notes) != 1 || notes[0].service != "pay" || notes[0].version != "v2" {
			t.Errorf("%d tries, notes %+v", tries, notes)
		}
		under = nil
		r.step(time.Now(), stats(calls, failed))
		if len(r.judges) != 0 {
			t.Error("it still judges")
		}
		cancel()
		_ = loop.Wait()
	})
}

func TestTotalsThatShrinkAreNoFailures(t *testing.T) {
	j := judge{}
	rel := release{service: "pay", version: "v2"}
	of := func(calls, failed uint64) rollout.Sample {
		return j.sample(rel, []topology.Stat{{Service: "pay", Version: "v2", View: topology.Own, Calls: calls, Errors: failed}})
	}
	for i, c := range []struct {
		calls, failed uint64
		good, bad     int
	}{{100, 50, 0, 0}, {110, 52, 8, 2}, {5, 1, 0, 0}, {15, 1, 10, 0}} {
		if s := of(c.calls, c.failed); s.Good != c.good || s.Bad != c.bad {
			t.Errorf("step %d: %+v", i, s)
		}
	}
}
