package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/surefoot-go/surefoot/discovery"
	"github.com/surefoot-go/surefoot/resilience/retry"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/supervise"
)

// Run starts the service, blocks until ctx ends, then drains and stops. It
// returns nil after a stop in which everything finished. It fails without
// having served if the settings make no sense or an address is taken, and later
// if a Server ends by itself, a Worker is given up, or something had to be cut
// off. It handles no signals: see Main.
//
// On the end of ctx: /readyz says 503; the service leaves Registry; after Drain
// the listeners close and every request, Server and Worker may finish within StopLimit, the workers
// last; then telemetry is flushed.
func (s *Service) Run(ctx context.Context) (err error) {
	if s.ran.Swap(true) {
		return errors.New("service: Run was called twice; make a new Service")
	}
	if s.Name == "" {
		return setupError{errors.New("service: Name is empty; callers and telemetry know the service by it")}
	}
	s.Observe()
	if s.err != nil {
		return setupError{fmt.Errorf("service: telemetry: %w", s.err)}
	}
	defer s.flush()
	if err := errors.Join(s.checkDepends(), s.checkRegistry()); err != nil {
		return setupError{err}
	}
	defer s.board.Follow(nil)
	if err := s.settings(ctx); err != nil {
		return setupError{err}
	}

	l, err := s.listen(ctx)
	if err != nil {
		return setupError{err}
	}
	// Requests outlive ctx, which only says to stop, by Drain and StopLimit.
	life, end := context.WithCancelCause(supervise.CountPanics(context.WithoutCancel(ctx), s.sinks))
	defer end(nil)
	defer s.watchDoor()()
	defer s.watchVitals(life)()
	defer s.checkLocks()()
	r := &running{s: s, fatal: make(chan error, 2+len(s.Servers)), life: life, end: end}
	r.start(l)
	s.state.Store(ready)
	s.sinks.Log.Info("service ready", "addr", l.Addr().String(), "version", s.version())

	select {
	case <-ctx.Done():
		s.sinks.Log.Info("service stopping", "cause", context.Cause(ctx), "drain", s.drain().String(), "limit", s.stopLimit().String())
	case err = <-r.fatal:
		s.sinks.Log.Error("service stopping", "err", err)
	}
	s.state.Store(draining)
	return errors.Join(err, r.stop(err == nil))
}

// listen opens every address before anything is served.
func (s *Service) listen(ctx context.Context) (l net.Listener, err error) {
	defer func() {
		if err != nil && s.Listener != nil {
			_ = s.Listener.Close() // err says why
		}
	}()
	for _, srv := range s.Servers {
		if l, ok := srv.(interface{ Listen(context.Context) error }); ok {
			if err := l.Listen(ctx); err != nil {
				return nil, err
			}
		}
	}
	if s.Debug != "" {
		if s.debug, err = (&net.ListenConfig{}).Listen(ctx, "tcp", debugAddr(s.Debug)); err != nil {
			return nil, fmt.Errorf("service: cannot listen on Debug: %w", err)
		}
		defer func() {
			if err != nil {
				_ = s.debug.Close()
			}
		}()
	}
	if s.Listener != nil {
		return s.Listener, nil
	}
	l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.addr())
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("service: the address %s is taken: stop the program that uses it or choose another Addr (%w)", s.addr(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("service: cannot listen on %s: %w", s.addr(), err)
	}
	return l, nil
}

// leaveLimit bounds leaving the registry; its drivers promise 2s.
const leaveLimit = 3 * time.Second

// flush is the last thing a service does.
func (s *Service) flush() {
	if s.stop == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	if err := s.stop(ctx); err != nil {
		s.sinks.Log.Warn("telemetry was not flushed", "err", err)
	}
}

// running is a started service.
type running struct {
	s       *Service
	life    context.Context // of requests and of what serves them
	end     context.CancelCauseFunc
	fatal   chan error // what ended by itself
	http    *http.Server
	debug   *http.Server // nil without Debug
	asides  *safe.Task   // of debug
	servers group
	workers supervise.Tree
	mu      sync.Mutex
	warming map[string]bool // workers that have not said that they are ready yet
	task    *safe.Task      // of workers

	inner   supervise.Tree // what the service itself needs to the last: settings, instances, dependencies
	within  *safe.Task     // of inner
	listing *discovery.Registration
	listed  supervise.Tree // of listing
	list    *safe.Task     // of listed
}

// group is tasks with a ctx to end them by.
type group struct {
	cancel context.CancelFunc
	tasks  []*safe.Task
}

// wait waits for all tasks until ctx ends and reports which were left.
func (g *group) wait(ctx context.Context) error {
	g.cancel()
	var left error
	for _, t := range g.tasks {
		select {
		case <-t.Done():
		case <-ctx.Done():
			left = errors.Join(left, fmt.Errorf("service: %s did not stop in time", t.Name()))
		}
	}
	return left
}

func (r *running) start(l net.Listener) {
	r.warming = map[string]bool{}
	announcing("", r.s.Workers, r.warming)
	r.listing = r.s.registration(l)
	r.inner.Workers = r.s.watchDepends()
	if c := r.s.Config; c != nil {
		r.inner.Workers = append(r.inner.Workers, supervise.Worker{Name: "settings", Run: c.Run})
	}
	if found := r.s.Discovery(); found != nil {
		r.inner.Workers = append(r.inner.Workers, supervise.Worker{Name: "discovery", Run: found.Run})
	}
	r.s.running.Store(r)
	r.within = r.supervise(&r.inner, "service")
	r.http = r.s.server(r.life)
	r.servers.add(r.life, "http server", func(context.Context) error {
		if err := r.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			r.fatal <- fmt.Errorf("service: http server: %w", err)
		}
		return nil
	})
	if l := r.s.debug; l != nil {
		r.s.sinks.Log.Info("debug", "addr", l.Addr().String())
		r.debug = &http.Server{Handler: r.s.debugHandler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
		r.asides = safe.Go(r.life, "debug server", func(context.Context) error { return r.debug.Serve(l) })
	}
	for i, srv := range r.s.Servers {
		name := fmt.Sprintf("server %d (%T)", i, srv)
		r.servers.add(r.life, name, func(ctx context.Context) error {
			err := safe.Call(func() error { return srv.Serve(ctx) })
			switch {
			case ctx.Err() == nil && err == nil:
				r.fatal <- fmt.Errorf("service: %s ended by itself", name)
			case ctx.Err() == nil:
				r.fatal <- fmt.Errorf("service: %s: %w", name, err)
			case err != nil:
				r.s.sinks.Log.Warn("server stopped badly", "server", name, "err", err)
			}
			return nil
		})
	}
	r.workers.Workers, r.workers.Observe = r.s.Workers, r.s.sinks
	r.workers.Restart.Max = -1 // a service without one of its workers is better than none
	r.task = safe.Go(r.life, "workers", func(ctx context.Context) error {
		if err := r.workers.Run(ctx); err != nil {
			r.fatal <- fmt.Errorf("service: %w", err)
		}
		return nil
	})
	if r.listing != nil {
		r.listed.Workers = []supervise.Worker{r.s.list(r.listing)}
		r.list = r.supervise(&r.listed, "registry")
	}
}

// supervise runs what belongs to the service itself; it is never given up.
func (r *running) supervise(t *supervise.Tree, name string) *safe.Task {
	if len(t.Workers) == 0 {
		return nil
	}
	t.Name, t.Observe, t.Restart.Max = name, r.s.sinks, -1
	return safe.Go(r.life, name, t.Run)
}

// leave ends what supervise has begun.
func leave(ctx context.Context, t *supervise.Tree, task *safe.Task) error {
	if task == nil {
		return nil
	}
	err := t.Stop(ctx)
	select {
	case <-task.Done():
	case <-ctx.Done():
	}
	if stuck, ok := errors.AsType[*supervise.StopError](err); ok {
		return fmt.Errorf("service: %w", stuck)
	}
	return nil
}

func (g *group) add(life context.Context, name string, fn func(context.Context) error) {
	ctx, cancel := context.WithCancel(life)
	before := g.cancel
	g.cancel = func() {
		if before != nil {
			before()
		}
		cancel()
	}
	g.tasks = append(g.tasks, safe.Go(ctx, name, fn))
}

// stop drains and ends everything in order; calm says that nobody is in a
// hurry, which they are after a failure.
func (r *running) stop(calm bool) error {
	off, cancel := context.WithTimeout(context.Background(), leaveLimit)
	if err := leave(off, &r.listed, r.list); err != nil {
		r.s.sinks.Log.Warn("the registry may go on listing this instance until its lease ends", "err", err)
	}
	cancel()
	if calm {
		r.http.SetKeepAlivesEnabled(false)  // each answer asks its client to connect elsewhere
		_ = retry.Wait(r.life, r.s.drain()) // the life has not ended
	}
	limit, cancel := context.WithTimeout(context.Background(), r.s.stopLimit())
	defer cancel()

	closing := safe.Go(limit, "http shutdown", func(ctx context.Context) error { return r.http.Shutdown(ctx) })
	err := r.servers.wait(limit)
	if closing.Wait() != nil {
		err = errors.Join(err, errors.New("service: requests were cut off at the stop limit"))
	}
	left := err
	if stuck, ok := errors.AsType[*supervise.StopError](r.workers.Stop(limit)); ok {
		left = errors.Join(err, fmt.Errorf("service: %w", stuck))
	}
	<-r.task.Done()
	left = errors.Join(left, leave(limit, &r.inner, r.within)) // requests and workers needed it
	if r.debug != nil {                                        // it was there to the last
		_ = r.debug.Close() // profiles need not finish
		<-r.asides.Done()
	}
	if left != nil {
		r.end(errors.New("service: the stop limit has passed"))
		r.cut()
	}
	return left
}

// cut gives handlers a moment to answer that their time is over, then closes
// their connections.
func (r *running) cut() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if r.http.Shutdown(ctx) != nil {
		_ = r.http.Close() // what it could say is in Run's error already
	}
}
