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
	stormRest    = 2500 * time.Millisecond // until it must be good again: without retries it takes 1.9s
	stormWatch   = 500 * time.Millisecond  // and for how long it is watched
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
		watch := stormWarm + stormStall + stormRest
		ctx, cancel := context.WithTimeout(l.ctx, watch+stormWatch)
		defer cancel()
		var good atomic.Int64
		g := safe.Group{Max: -1}
		for i := 0; ctx.Err() == nil; i++ {
			l.pause(time.Until(begin.Add(time.Duration(i) * stormGap)))
			g.Go(ctx, func(ctx context.Context) error {
				if do(ctx, http.MethodGet, "/x") == nil && time.Since(begin) >= watch {
					good.Add(1)
				}
				return nil
			})
		}
		g.Wait()
		offered := int64(stormWatch / stormGap)
		return unless(good.Load() >= offered*8/10, "2.5s after a stall of 1s at 60 % load calls succeeded again",
			"2.5s after a stall of 1s at 60 % load calls still failed: its own retries kept the target busy")
	}
}
