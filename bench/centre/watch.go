package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"time"

	"github.com/zeromicro/go-zero/core/discov"

	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/discovery"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/server/coord"
)

// watched is what it takes one process to know many instances.
type watched struct {
	known, idleCPU, updateCPU float64 // seconds until all were known; processor seconds
	heap, resident            float64 // MB, beyond those of the process before
	goroutines                float64
}

func service(i int) string { return fmt.Sprintf("service-%03d", i) }

// fill registers every instance, in our layout and in go-zero's.
func (p plan) fill(ctx context.Context, kv *etcd.KV) error {
	for i := range p.services {
		var w []etcd.Write
		for j := range p.each {
			k, v := p.instance(i, j, 1)
			w = append(w, etcd.Write{Key: k, Value: v, If: etcd.Any},
				etcd.Write{Key: fmt.Sprintf("zero.%s/%d", service(i), j), Value: fmt.Appendf(nil, "10.%d.%d.%d:8080", i/250, i%250, j), If: etcd.Any})
		}
		if _, err := kv.Commit(ctx, w...); err != nil {
			return err
		}
	}
	return nil
}

func (p plan) instance(i, j, weight int) (key string, value []byte) {
	id := fmt.Sprintf("%s-%02d", service(i), j)
	value, _ = json.Marshal(balance.Instance{ // plain data: it always can be
		ID: id, Addr: fmt.Sprintf("10.%d.%d.%d:8080", i/250, i%250, j), Version: "v1", Zone: "b", Weight: weight,
		Labels: map[string]string{"grpc": fmt.Sprintf("10.%d.%d.%d:9090", i/250, i%250, j)},
	})
	return etcd.InstancePrefix + service(i) + "/" + id, value
}

// watch measures one client.
func (p plan) watch(ctx context.Context, store *coord.Server, who string) (out watched, err error) {
	if err := p.fill(ctx, store.Client()); err != nil {
		return out, err
	}
	c, err := start(ctx, "-be", who, "-at", store.Addr(), "-services", fmt.Sprint(p.services))
	if err != nil {
		return out, err
	}
	defer c.end()
	ask := func(word string) []float64 {
		var n []float64
		if err == nil {
			if err = c.tell(word); err == nil {
				n, err = c.expect(word)
			}
		}
		return append(n, make([]float64, 4)...)
	}
	if err = c.tell(fmt.Sprint("all ", p.services*p.each)); err == nil {
		var n []float64
		if n, err = c.expect("all"); err == nil {
			out.known = n[1]
		}
	}
	before := ask("used")[0]
	select {
	case <-time.After(p.idle):
	case <-ctx.Done():
		return out, ctx.Err()
	}
	out.idleCPU = ask("used")[0] - before
	before = ask("used")[0]
	for n := range p.updates {
		key, value := p.instance(n%p.services, 0, 2+n/p.services)
		w := []etcd.Write{{Key: key, Value: value, If: etcd.Any}, {Key: fmt.Sprintf("zero.%s/0", service(n%p.services)), Value: fmt.Appendf(nil, "10.9.9.%d:%d", n%250, 1000+n), If: etcd.Any}}
		if _, err := store.Client().Commit(ctx, w...); err != nil {
			return out, err
		}
		time.Sleep(10 * time.Millisecond) // of a measurement
	}
	out.updateCPU = ask("used")[0] - before
	w := ask("weight")
	out.heap, out.resident, out.goroutines = w[0], w[1], w[2]
	return out, err
}

// beWatcher follows every service and answers questions about itself.
func beWatcher(ctx context.Context, who, at string, services int, stdin io.Reader, stdout io.Writer) error {
	heap, resident := weight()
	begun := time.Now()
	count, err := followers[who](ctx, at, services)
	if err != nil {
		return err
	}
	in := bufio.NewScanner(stdin)
	for in.Scan() {
		var want int
		switch n, _ := fmt.Sscanf(in.Text(), "all %d", &want); {
		case n == 1:
			for count() != want {
				if time.Since(begun) > 2*time.Minute {
					return fmt.Errorf("%d of %d instances are known after two minutes", count(), want)
				}
				time.Sleep(time.Millisecond) // of a measurement
			}
			fmt.Fprintln(stdout, "all", want, time.Since(begun).Seconds())
		case in.Text() == "used":
			fmt.Fprintln(stdout, "used", used())
		case in.Text() == "weight":
			h, r := weight()
			fmt.Fprintln(stdout, "weight", h-heap, r-resident, runtime.NumGoroutine())
		}
	}
	return in.Err()
}

// followers begin to follow so many services and return how many instances are
// known.
var followers = map[string]func(ctx context.Context, at string, services int) (func() int, error){
	"ours": func(ctx context.Context, at string, services int) (func() int, error) {
		quiet := slog.New(slog.DiscardHandler)
		s := &discovery.Source{Driver: &etcd.Registry{KV: &etcd.KV{Endpoints: []string{at}, Log: quiet}}, Observe: observe.Sinks{Log: quiet}}
		for i := range services {
			s.Balancer(service(i), balance.Settings{})
		}
		safe.Go(ctx, "source", s.Run)
		return func() (n int) {
			for _, st := range s.Status() {
				n += len(st.Instances)
			}
			return n
		}, nil
	},
	"zero": func(_ context.Context, at string, services int) (func() int, error) {
		var all []*discov.Subscriber
		for i := range services {
			s, err := discov.NewSubscriber([]string{at}, "zero."+service(i))
			if err != nil {
				return nil, err
			}
			all = append(all, s)
		}
		return func() (n int) {
			for _, s := range all {
				n += len(s.Values())
			}
			return n
		}, nil
	},
}
