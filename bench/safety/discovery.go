package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	kconfig "github.com/go-kratos/kratos/v2/config"
	kregistry "github.com/go-kratos/kratos/v2/registry"
	khttp "github.com/go-kratos/kratos/v2/transport/http"
	configurator "github.com/zeromicro/go-zero/core/configcenter"
	"github.com/zeromicro/go-zero/core/discov"
	"google.golang.org/grpc"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/contrib/etcd"
	"github.com/surefoot-go/surefoot/grpcx"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/server/coord"
)

// Registration.

// outage registers, takes the registry away for longer than the lease, and brings
// it back without memory.
func outage(l *lab, register func(addr string)) answer {
	first, addr, stop := l.etcd("127.0.0.1:0", true)
	register(addr)
	if !l.wait(time.Second, func() bool { return first.registered() == 1 }) {
		l.must(errors.New("the instance did not register"))
	}
	stop()
	l.pause(1500 * time.Millisecond)
	second, _, _ := l.etcd(addr, true)
	return unless(l.wait(4*time.Second, func() bool { return second.registered() == 1 }),
		"after an outage longer than the lease the instance registered again",
		"after an outage longer than the lease the instance did not register again")
}

func ourRegistration(l *lab) answer {
	return outage(l, func(addr string) {
		kv := &etcd.KV{Endpoints: []string{addr}, Log: slog.New(slog.DiscardHandler)}
		l.later(func() { kv.Close() })
		l.serve(func() error {
			return kv.Keep(l.ctx, "surefoot/instances/order/1", []byte("127.0.0.1:8080"), etcd.Keeping{TTL: time.Second})
		}, func() { kv.Close() })
	})
}

func gozeroRegisters(l *lab) answer {
	silenceGozero()
	return outage(l, func(addr string) {
		p := discov.NewPublisher([]string{addr}, "order", "127.0.0.1:8080")
		l.later(p.Stop)
		l.must(p.KeepAlive())
	})
}

// Endpoints.

func ourEmptySet(l *lab) answer {
	kept := func(where string, err error) answer {
		return unless(err == nil, keptEndpoints, lostEndpoints).over(where)
	}
	at := func(addr string) []balance.Instance { return []balance.Instance{{Addr: addr}} }

	var b balance.Balancer
	b.Set(at(strings.TrimPrefix(l.web(status(http.StatusOK)), "http://")))
	b.Set(nil)
	client := httpx.Client{Service: "lab", Target: "order", Balancer: &b}.HTTP()
	l.later(client.CloseIdleConnections)

	conn := &grpcx.Balanced{Client: grpcx.Client{Service: "lab", Target: "order"},
		Dial: func(in balance.Instance, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
			return l.dial(in.Addr, opts...), nil
		}}
	l.later(func() { conn.Close() })
	l.must(conn.Set(at(l.grpc(func(context.Context, string) (string, error) { return "", nil }))))
	conn.Set(nil)

	return both(kept("HTTP", over(client, "http://order")(l.ctx, http.MethodGet, "/x")), kept("gRPC", invoke(l.ctx, conn)))
}

const (
	keptEndpoints = "one good instance, then an empty set from the registry: calls still arrive"
	lostEndpoints = "one good instance, then an empty set from the registry: calls fail"
)

// feed is kratos' discovery with what a test says.
type feed struct {
	sets  chan []*kregistry.ServiceInstance
	fail  error
	nexts *atomic.Int64
	done  chan struct{}
}

func newFeed() *feed {
	return &feed{sets: make(chan []*kregistry.ServiceInstance, 4), nexts: new(atomic.Int64), done: make(chan struct{})}
}

func (f *feed) GetService(context.Context, string) ([]*kregistry.ServiceInstance, error) {
	return nil, nil
}
func (f *feed) Watch(context.Context, string) (kregistry.Watcher, error) { return f, nil }
func (f *feed) Stop() error                                              { close(f.done); return nil }

func (f *feed) Next() ([]*kregistry.ServiceInstance, error) {
	f.nexts.Add(1)
	select {
	case s := <-f.sets:
		return s, nil
	default:
	}
	if f.fail != nil {
		select {
		case <-f.done:
			return nil, context.Canceled
		default:
			return nil, f.fail
		}
	}
	select {
	case s := <-f.sets:
		return s, nil
	case <-f.done:
		return nil, context.Canceled
	}
}

func (f *feed) client(l *lab) *khttp.Client {
	silenceKratos()
	c, err := khttp.NewClient(l.ctx, khttp.WithEndpoint("discovery:///order"), khttp.WithDiscovery(f), khttp.WithBlock())
	l.must(err)
	l.later(func() { c.Close() })
	return c
}

func kratosEmptySet(l *lab) answer {
	f := newFeed()
	url := l.web(status(http.StatusOK))
	f.sets <- []*kregistry.ServiceInstance{{ID: "a", Name: "order", Endpoints: []string{url}}}
	c := f.client(l)
	f.sets <- nil
	if !l.wait(time.Second, func() bool { return len(f.sets) == 0 && f.nexts.Load() > 2 }) {
		l.must(errors.New("the empty set was not taken"))
	}
	var out map[string]any
	err := c.Invoke(l.ctx, http.MethodGet, "/x", nil, &out)
	return unless(err == nil, keptEndpoints, lostEndpoints)
}

// Watches.

const (
	calmWatch  = "a watch that ends at once was made again with pauses"
	spunWatch  = "a watch that ends at once was made again without pause"
	watchBound = 50 // a second
)

func ourWatch(l *lab) answer {
	r, addr, _ := l.etcd("127.0.0.1:0", false)
	kv := &etcd.KV{Endpoints: []string{addr}, Log: slog.New(slog.DiscardHandler)}
	l.later(func() { kv.Close() })
	l.serve(func() error { return kv.Watch(l.ctx, "surefoot/route/", func(etcd.Event) {}) }, func() { kv.Close() })
	l.pause(time.Second)
	return watched(l, r.watches.Load())
}

func gozeroWatch(l *lab) answer {
	silenceGozero()
	r, addr, _ := l.etcd("127.0.0.1:0", false)
	s, err := discov.NewSubscriber([]string{addr}, "order")
	l.must(err)
	l.later(s.Close)
	l.pause(time.Second)
	return watched(l, r.watches.Load())
}

func kratosWatch(l *lab) answer {
	f := newFeed()
	f.fail = errors.New("closed")
	f.sets <- []*kregistry.ServiceInstance{{ID: "a", Name: "order", Endpoints: []string{"http://127.0.0.1:1"}}}
	f.client(l)
	l.pause(time.Second)
	return watched(l, f.nexts.Load())
}

func watched(l *lab, times int64) answer {
	if times == 0 {
		l.must(errors.New("nobody watched"))
	}
	return unless(times < watchBound, calmWatch, spunWatch)
}

// Settings.

const (
	keptValue = "a value that does not decode came: the good one stayed"
	lostValue = "a value that does not decode came: the good one was gone"
)

// ourPush writes a good route and then bad ones into a real etcd.
func ourPush(l *lab) answer {
	dir := l.dir()
	s, err := coord.Start(l.ctx, coord.Settings{Dir: dir, Client: "127.0.0.1:0", Peer: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	l.must(err)
	l.later(func() { s.Close() })
	kv := s.Client()
	put := func(key, value string) {
		_, err := kv.PutIf(l.ctx, canary.Prefix+key, []byte(value), etcd.Any)
		l.must(err)
	}
	var table canary.Table
	watcher := &etcd.KV{Endpoints: []string{s.Addr()}, Log: slog.New(slog.DiscardHandler)}
	l.serve(func() error { return etcd.WatchRoutes(l.ctx, watcher, &table) }, func() { watcher.Close() })
	put("bank", `{"service":"bank","stable":"v1","canary":"v2","weight":10}`)
	seen := func(service string) bool { _, ok := table.Get(service); return ok }
	if !l.wait(3*time.Second, func() bool { return seen("bank") }) {
		l.must(errors.New("the good route did not come"))
	}
	put("bank", `{"service":"bank","weight":`)
	put("bank", `{"service":"bank","stable":"v1","canary":"v2","weight":1000}`)
	put("last", `{"service":"last","stable":"v1"}`)
	if !l.wait(3*time.Second, func() bool { return seen("last") }) {
		l.must(errors.New("the last route did not come"))
	}
	r, ok := table.Get("bank")
	return unless(ok && r.Weight == 10, keptValue, lostValue)
}

// pushes is a source of settings for kratos that a test feeds.
type pushes struct {
	first string
	next  chan string
	done  chan struct{}
}

func settings(text string) []*kconfig.KeyValue {
	return []*kconfig.KeyValue{{Key: "app.json", Value: []byte(text), Format: "json"}}
}

func (p *pushes) Load() ([]*kconfig.KeyValue, error) { return settings(p.first), nil }
func (p *pushes) Watch() (kconfig.Watcher, error)    { return p, nil }
func (p *pushes) Stop() error                        { close(p.done); return nil }
func (p *pushes) Next() ([]*kconfig.KeyValue, error) {
	select {
	case s := <-p.next:
		return settings(s), nil
	case <-p.done:
		return nil, context.Canceled
	}
}

func kratosPush(l *lab) answer {
	silenceKratos()
	p := &pushes{first: `{"limit": 10, "mark": 0}`, next: make(chan string), done: make(chan struct{})}
	c := kconfig.New(kconfig.WithSource(p))
	l.must(c.Load())
	l.later(func() { c.Close() })
	read := func(key string) int64 {
		v, err := c.Value(key).Int()
		if err != nil {
			return -1
		}
		return v
	}
	if read("limit") != 10 || read("mark") != 0 {
		l.must(errors.New("the first value was not read"))
	}
	for _, s := range []string{`{"limit":`, `{"limit": "many", "mark": 1}`} {
		p.next <- s
	}
	if !l.wait(time.Second, func() bool { return read("mark") == 1 }) {
		l.must(errors.New("the last push did not come"))
	}
	return unless(read("limit") == 10, keptValue, lostValue).over("Value and Watch")
}

// center is a source of settings for go-zero's config center.
type center struct {
	value    atomic.Value
	listener func()
}

func (c *center) AddListener(fn func()) error { c.listener = fn; return nil }
func (c *center) Value() (string, error)      { return c.value.Load().(string), nil }
func (c *center) push(value string)           { c.value.Store(value); c.listener() }

func gozeroPush(l *lab) answer {
	silenceGozero()
	type config struct{ Limit int }
	var c center
	c.value.Store(`{"Limit": 10}`)
	cc, err := configurator.NewConfigCenter[config](configurator.Config{Type: "json"}, &c)
	l.must(err)
	c.push(`{"Limit": "many"}`)
	v, err := cc.GetConfig()
	return unless(err == nil && v.Limit == 10, keptValue, "a value that does not decode came: GetConfig returns an error in place of the good one")
}
