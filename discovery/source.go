package discovery

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/resilience/retry"
	"github.com/surefoot-go/surefoot/safe"
)

// Source finds the instances of services in one registry and keeps what it
// found. Fill in Driver; run Run. One watch serves all who ask for a service. A
// Source is safe for concurrent use and must not be copied; its fields must not
// change once it is used.
type Source struct {
	Driver driver.Watcher
	// Old is the age of a set at which an alarm is logged, and each further Old;
	// 0 means 1m, negative means never. The age is the time since the registry
	// last answered with something.
	Old time.Duration
	// Grace is how long instances are kept that vanished with more than half of
	// all within 10s; 0 means 1m, negative means not at all. It has to be longer
	// than a lease and the time in which everybody registers again.
	Grace   time.Duration
	Observe observe.Sinks

	once    sync.Once
	mu      sync.Mutex
	targets map[string]*target
	asked   chan struct{} // holds one when a service was asked for
}

// target is one service.
type target struct {
	service string
	grace   time.Duration

	mu        sync.Mutex
	view      view
	answer    []balance.Instance // the last one, to know an equal one
	set       []balance.Instance
	kept      int
	followers []*follower
	balancer  *balance.Balancer
	since     time.Time // when it was asked for
	alarmed   time.Time
	running   bool
}

type follower struct{ fn func([]balance.Instance) }

// Status is what is known of one service.
type Status struct {
	Service   string             `json:"service"`
	Instances []balance.Instance `json:"instances"` // not to be changed
	Kept      int                `json:"kept"`      // of them the registry no longer names
	Age       time.Duration      `json:"age"`       // since the registry answered with something; since it was asked, if never
	Empty     bool               `json:"empty"`     // its last answer was that there is nobody
}

func (s *Source) init() {
	s.once.Do(func() {
		s.targets = map[string]*target{}
		s.asked = make(chan struct{}, 1)
		s.Observe = s.Observe.OrDefault()
		s.measure()
	})
}

func (s *Source) old() time.Duration { return cmp.Or(s.Old, time.Minute) }

// target returns what is known of service, and has Run follow it.
func (s *Source) target(service string) *target {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.targets[service]
	if t == nil {
		t = &target{service: service, grace: max(cmp.Or(s.Grace, time.Minute), 0), since: time.Now()}
		s.targets[service] = t
		select {
		case s.asked <- struct{}{}:
		default:
		}
	}
	return t
}

// all is every service asked for, by name.
func (s *Source) all() []*target {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*target, 0, len(s.targets))
	for _, t := range s.targets {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *target) int { return cmp.Compare(a.service, b.service) })
	return list
}

// Follow calls fn with the instances of service whenever they change, first,
// and from the caller's goroutine, with those known now, if any are; then one
// call at a time. The set is never empty; fn must not change it, block, or call
// the Source. stop ends it.
func (s *Source) Follow(service string, fn func([]balance.Instance)) (stop func()) {
	t := s.target(service)
	f := &follower{fn}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.followers = append(t.followers, f)
	if len(t.set) > 0 {
		fn(t.set)
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.followers = slices.DeleteFunc(t.followers, func(g *follower) bool { return g == f })
	}
}

// Balancer returns the balancer of service's instances, the same one each time;
// settings count for the first. It knows none before Run has heard of them.
func (s *Source) Balancer(service string, settings balance.Settings) *balance.Balancer {
	t := s.target(service)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.balancer == nil {
		t.balancer = balance.New(settings)
		if len(t.set) > 0 {
			t.balancer.Set(t.set)
		}
	}
	return t.balancer
}

// Status is what is known of each service asked for, by name.
func (s *Source) Status() []Status {
	now := time.Now()
	var out []Status
	for _, t := range s.all() {
		t.mu.Lock()
		out = append(out, Status{Service: t.service, Instances: t.set, Kept: t.kept, Age: t.age(now), Empty: t.view.heard.After(t.view.good)})
		t.mu.Unlock()
	}
	return out
}

// age is how long ago the set was last known to be true.
func (t *target) age(now time.Time) time.Duration {
	if t.view.good.IsZero() {
		return now.Sub(t.since)
	}
	return now.Sub(t.view.good)
}

// hear takes in an answer of the registry and returns the followers' panics.
func (t *target) hear(now time.Time, answer []balance.Instance) []error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(answer) > 0 && len(t.view.gone) == 0 && same(answer, t.answer) { // the registry says again what it said
		t.view.heard, t.view.good = now, now
		return nil
	}
	t.answer = answer
	t.view.hear(now, answer, t.grace)
	return t.publish()
}

// publish hands the set on if it is another one.
func (t *target) publish() (failed []error) {
	set, kept := t.view.set()
	t.kept = kept
	if len(set) == 0 || same(set, t.set) {
		return nil
	}
	t.set = set
	if t.balancer != nil {
		t.balancer.Set(set)
	}
	for _, f := range t.followers {
		if err := safe.Call(func() error { f.fn(set); return nil }); err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

// Run follows every service that is asked for, now or later, until ctx ends,
// and returns ctx's error. One Run at a time; another may follow it.
func (s *Source) Run(ctx context.Context) error {
	s.init()
	ctx, cancel := context.WithCancel(ctx)
	var tasks []*safe.Task
	defer func() {
		cancel()
		for _, t := range tasks {
			<-t.Done()
		}
		for _, t := range s.all() {
			t.running = false // for the next Run
		}
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for _, t := range s.all() {
			if !t.running { // Run's alone
				t.running = true
				tasks = append(tasks, safe.Go(ctx, "discovery "+t.service, func(ctx context.Context) error { return s.watch(ctx, t) }))
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.asked:
		case now := <-tick.C:
			for _, t := range s.all() {
				s.look(ctx, t, now)
			}
		}
	}
}

// watch follows one service. A driver that ends, or panics, is asked again; only
// one that was closed or takes no such name leaves the set as it is, and old.
func (s *Source) watch(ctx context.Context, t *target) error {
	for tries := 0; ; tries = min(tries+1, 10) {
		begun := time.Now()
		err := safe.Call(func() error {
			return s.Driver.Watch(ctx, t.service, func(in []balance.Instance) { s.warn(t, t.hear(time.Now(), in)) })
		})
		if ctx.Err() != nil {
			return nil
		}
		s.Observe.Log.Error("discovery: the registry is no longer watched", "service", t.service, "err", err)
		if k := errs.KindOf(err); k == errs.Invalid || k == errs.Unavailable {
			return nil
		}
		if time.Since(begun) > longest {
			tries = 0
		}
		limit := min(shortest<<tries, longest)
		if retry.Wait(ctx, limit/10+rand.N(limit-limit/10)) != nil {
			return nil
		}
	}
}

// Between two tries with a driver that ended; full jitter.
const (
	shortest = 100 * time.Millisecond
	longest  = 5 * time.Second
)

// warn says that followers failed.
func (s *Source) warn(t *target, failed []error) {
	for _, err := range failed {
		s.Observe.Log.Error("discovery: a follower failed", "service", t.service, "err", err)
	}
}

// look forgets who is kept no longer, and raises the alarm of an old set.
func (s *Source) look(ctx context.Context, t *target, now time.Time) {
	t.mu.Lock()
	var failed []error
	if t.view.expire(now, t.grace) {
		failed = t.publish()
	}
	age, empty, n := t.age(now), t.view.heard.After(t.view.good), len(t.set)
	alarm := s.Old >= 0 && age >= s.old() && now.Sub(t.alarmed) >= s.old()
	if alarm {
		t.alarmed = now
	}
	t.mu.Unlock()
	s.warn(t, failed)
	if !alarm {
		return
	}
	why := "the registry does not answer"
	if empty {
		why = "the registry says that there is nobody"
	}
	s.Observe.Log.LogAttrs(ctx, slog.LevelWarn, "discovery: set is old", slog.String("service", t.service),
		slog.Duration("age", age.Round(time.Second)), slog.Int("instances", n), slog.String("why", why))
}

// measure reports the ages and sizes of sets.
func (s *Source) measure() {
	m := s.Observe.Meter.Meter(scope)
	age, err1 := m.Float64ObservableGauge("surefoot.discovery.age", metric.WithUnit("s"),
		metric.WithDescription("Time since the registry last answered with instances of the service."))
	size, err2 := m.Int64ObservableGauge("surefoot.discovery.instances", metric.WithUnit("{instance}"),
		metric.WithDescription("Instances of the service that are used."))
	if err1 != nil || err2 != nil {
		return // the names are good; an SDK that refuses them has said so
	}
	_, _ = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, st := range s.Status() {
			to := metric.WithAttributes(attribute.String("surefoot.target", st.Service))
			o.ObserveFloat64(age, st.Age.Seconds(), to)
			o.ObserveInt64(size, int64(len(st.Instances)), to)
		}
		return nil
	}, age, size)
}
