package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/zeromicro/go-zero/core/discov"

	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/server/coord"
)

// stormed is many registrations at once: seconds until all were in the store,
// and processor seconds of this process, which has the store in it.
type stormed struct{ seconds, cpu float64 }

// register has many instances register at once from this process, one
// connection each kind, waits until all are there and takes them off.
func (p plan) register(ctx context.Context, store *coord.Server, who string) (out stormed, err error) {
	prefix := etcd.InstancePrefix + "storm/"
	if who == "zero" {
		prefix = "zero.storm/"
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kv := &etcd.KV{Endpoints: []string{store.Addr()}, Log: slog.New(slog.DiscardHandler)}
	defer func() { _ = kv.Close() }()
	registry := &etcd.Registry{KV: kv}
	var tasks []*safe.Task
	var publishers []*discov.Publisher
	begun, before := time.Now(), used()
	for i := range p.storm {
		addr := fmt.Sprintf("10.1.%d.%d:8080", i/250, i%250)
		if who == "ours" {
			tasks = append(tasks, safe.Go(ctx, "instance", func(ctx context.Context) error {
				return registry.Register(ctx, "storm", balance.Instance{ID: addr, Addr: addr}, nil)
			}))
			continue
		}
		pub := discov.NewPublisher([]string{store.Addr()}, "zero.storm", addr)
		publishers = append(publishers, pub)
		tasks = append(tasks, safe.Go(ctx, "instance", func(context.Context) error { return pub.KeepAlive() }))
	}
	for {
		items, _, err := store.Client().List(ctx, prefix)
		if err != nil {
			return out, err
		}
		if len(items) == p.storm {
			break
		}
		if time.Since(begun) > time.Minute {
			return out, fmt.Errorf("%s: %d of %d are registered after a minute", who, len(items), p.storm)
		}
		time.Sleep(2 * time.Millisecond) // of a measurement
	}
	out = stormed{time.Since(begun).Seconds(), used() - before}
	for _, pub := range publishers {
		pub.Stop()
	}
	cancel()
	for _, t := range tasks {
		_ = t.Wait() // ended by us
	}
	return out, p.gone(store, prefix)
}

// gone waits until nobody is registered any more.
func (p plan) gone(store *coord.Server, prefix string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		items, _, err := store.Client().List(ctx, prefix)
		if err != nil || len(items) == 0 {
			return err
		}
		time.Sleep(10 * time.Millisecond) // of a measurement
	}
}
