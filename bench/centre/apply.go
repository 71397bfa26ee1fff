package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/config"
	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/server/coord"
)

// mark is the setting that changes.
type mark struct {
	Seq  int
	Sent int64 // when it was written, by the machine's clock, in ns
}

const markKey = "surefoot/config/bench/mark"

// applied is how long changes took to every process, in ms, sorted.
type applied struct{ ms []float64 }

// beApply is a process with a setting; it says each change, and when it came.
func beApply(ctx context.Context, at string, stdout io.Writer) error {
	kv := &etcd.KV{Endpoints: []string{at}, Log: slog.New(slog.DiscardHandler)}
	defer func() { _ = kv.Close() }()
	c := &config.Config{Service: "bench", EnvPrefix: "-", Centre: &etcd.Settings{KV: kv}, Observe: observe.Sinks{Log: slog.New(slog.DiscardHandler)}}
	v := config.Bind(c, "mark", mark{Seq: -1})
	var mu sync.Mutex
	v.OnChange(func(_, now mark) {
		late := time.Now().UnixNano() - now.Sent
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(stdout, "applied", now.Seq, late)
	})
	return c.Run(ctx)
}

// apply writes a setting again and again and waits each time until every
// process has it.
func (p plan) apply(ctx context.Context, store *coord.Server) (applied, error) {
	var out applied
	var all []*child
	defer func() {
		for _, c := range all {
			c.end()
		}
	}()
	for range p.processes {
		c, err := start(ctx, "-be", "apply", "-at", store.Addr())
		if err != nil {
			return out, err
		}
		all = append(all, c)
	}
	for seq := range p.changes + 1 { // the first one is when the process has begun to watch
		value := fmt.Sprintf(`{"seq":%d,"sent":%d}`, seq, time.Now().UnixNano())
		if _, err := store.Client().PutIf(ctx, markKey, []byte(value), etcd.Any); err != nil {
			return out, err
		}
		got := make([]float64, len(all))
		g := safe.Group{Name: "applied", All: true}
		for i, c := range all {
			g.Go(ctx, func(context.Context) error {
				n, err := c.expect("applied")
				if err == nil && (len(n) != 2 || int(n[0]) != seq) {
					err = fmt.Errorf("a process applied %v where change %d was due", n, seq)
				}
				if err == nil {
					got[i] = n[1] / 1e6
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return out, err
		}
		if seq > 0 {
			out.ms = append(out.ms, got...)
		}
	}
	slices.Sort(out.ms)
	return out, nil
}

// quantile of sorted values.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
