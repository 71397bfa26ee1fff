package main

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/surefoot-go/surefoot/safe"
)

// A target that takes 20ms, 4 at once, gets 60 % of what it can do, stands
// still for a second, and goes on. Each try may take 250ms. The target finishes
// what it has accepted, asked for or not, as most do.
const (
	stormWorkers = 4
	stormWork    = 20 * time.Millisecond
	stormGap     = 8333 * time.Microsecond // 120 a second, of 200
	stormTry     = 250 * time.Millisecond
	stormWarm    = 300 * time.Millisecond
	stormStall   = time.Second
	stormRest    = 4 * time.Second // within which half a second must be good: without retries it takes 1.9s
	stormStep    = 100 * time.Millisecond
)

// metastable says whether calls succeed again after the stall.
func metastable(client caller) experiment {
	return func(l *lab) answer {
		begin := time.Now()
		stalled := func() time.Duration {
			at := time.Since(begin)
			if at >= stormWarm && at < stormWarm+stormStall {
				return stormWarm + stormStall - at
			}
			return 0
		}
		places := make(chan struct{}, stormWorkers)
		do := client(l, l.web(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			places <- struct{}{}
			defer func() { <-places }()
			time.Sleep(stalled())
			time.Sleep(stormWork)
			status(http.StatusOK)(w, r)
		})))
		again := stormWarm + stormStall // when it goes on
		ctx, cancel := context.WithTimeout(l.ctx, again+stormRest)
		defer cancel()
		var good [(stormRest + stormStep) / stormStep]atomic.Int64 // by step since then
		recovered := func() bool {
			for i := range len(good) - 4 {
				var sum int64
				for j := range 5 {
					sum += good[i+j].Load()
				}
				if sum >= int64(5*stormStep/stormGap)*8/10 {
					return true
				}
			}
			return false
		}
		g := safe.Group{Max: -1}
		for i := 0; ctx.Err() == nil && !recovered(); i++ {
			l.pause(time.Until(begin.Add(time.Duration(i) * stormGap)))
			g.Go(ctx, func(ctx context.Context) error {
				err := do(ctx, http.MethodGet, "/x")
				if at := int((time.Since(begin) - again) / stormStep); err == nil && at >= 0 && at < len(good) {
					good[at].Add(1)
				}
				return nil
			})
		}
		cancel()
		g.Wait()
		return unless(recovered(), "within 4s of the end of a stall of 1s at 60 % load calls succeeded again",
			"4s after the end of a stall of 1s at 60 % load calls still failed: its own retries kept the target busy")
	}
}
