package vitals

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/surefoot-go/surefoot/locks"
	"github.com/surefoot-go/surefoot/observe"
)

// loop is a Watch that runs.
type loop struct {
	w     *Watch
	j     Judge
	sinks observe.Sinks
	read  *reader
	take  *taker
	stop  func() // metrics

	labels   int // given while this suspicion lasts
	fraction int // of the mutex profile before it was changed; -1 means it was not
	kept     time.Time
}

func newLoop(w *Watch) *loop {
	l := &loop{w: w, sinks: w.Observe.OrDefault(), read: newReader(), take: newTaker(), fraction: -1}
	l.j.Settings, l.j.Version = w.Settings, w.Version
	l.stop = l.measure()
	if err := w.trace.begin(w.Settings.Trace); err != nil {
		l.sinks.Log.Info("vitals: no execution trace is kept", "err", err)
	}
	return l
}

// beat is all that happens each beat.
func (l *loop) beat(ctx context.Context, now time.Time) {
	s := l.read.read()
	v := l.j.Step(now, s)
	report := v.Report
	var spent time.Duration
	var sites []Site
	for range 3 { // what is wanted after that is wanted again
		if v.Want == 0 {
			break
		}
		p := l.take.take(v.Want)
		spent += p.Cost
		if p.Locks != nil {
			sites = p.Locks
		}
		v = l.j.Look(now, p)
		report = append(report, v.Report...)
	}
	l.arm(v.Armed)
	l.publish(s, spent, sites)
	l.tell(ctx, report)
}

// arm lets some requests have their trace id as a label while there is a
// suspicion: a hundred, and five with each beat, up to 300, since each makes the profile longer.
func (l *loop) arm(armed bool) {
	if !armed {
		l.labels = 0
		l.w.armed.Store(0)
		return
	}
	n := 5
	if l.labels == 0 {
		n = 100
	}
	if l.labels < 300 {
		l.labels += n
		l.w.armed.Store(int64(n))
	}
}

func (l *loop) publish(s Sample, spent time.Duration, sites []Site) {
	open := l.j.Findings()
	l.w.mu.Lock()
	l.w.last, l.w.open = s, open
	l.w.looked += spent
	l.w.timers = l.take.timers
	if sites != nil {
		l.w.sites = sites
	}
	l.w.mu.Unlock()
	l.lockProfile(slices.ContainsFunc(open, func(f Finding) bool { return f.Kind == Mutex }))
}

// lockProfile samples one in 100 waits for locks while that is a finding. The
// runtime has one such setting for the process: it is put back afterwards, and
// left alone where the program has set it.
func (l *loop) lockProfile(on bool) {
	switch {
	case on && l.fraction < 0:
		if l.fraction = runtime.SetMutexProfileFraction(-1); l.fraction == 0 {
			runtime.SetMutexProfileFraction(100)
		}
	case !on && l.fraction >= 0:
		if l.fraction == 0 {
			runtime.SetMutexProfileFraction(0)
		}
		l.fraction = -1
	}
}

// tell writes findings to the log.
func (l *loop) tell(ctx context.Context, report []Finding) {
	for _, f := range report {
		level := slog.LevelWarn
		if f.State == Closed {
			level = slog.LevelInfo
		}
		l.sinks.Log.LogAttrs(ctx, level, f.Text, f.attributes()...)
		if f.State == Open && f.At.Equal(f.Since) && f.At.Sub(l.kept) >= time.Minute {
			l.kept = f.At
			l.w.trace.keep()
		}
	}
}

func (f *Finding) attributes() []slog.Attr {
	a := []slog.Attr{
		slog.String("surefoot.finding", f.Kind),
		slog.String("surefoot.finding.id", f.ID),
		slog.String("surefoot.finding.state", f.State),
		slog.String("surefoot.finding.since", f.Since.UTC().Format(time.RFC3339Nano)),
		slog.Float64("surefoot.finding.value", f.Value),
		slog.Float64("surefoot.finding.before", f.Before),
		slog.Float64("surefoot.finding.per_minute", f.PerMinute),
		slog.String("surefoot.finding.unit", f.Unit),
		slog.Int("surefoot.finding.count", f.Count),
		slog.String("surefoot.finding.method", f.Method),
		slog.String("surefoot.finding.text_zh", f.TextZh),
	}
	for _, o := range [...]struct{ key, value string }{
		{"created", f.Created}, {"creator", f.Creator}, {"blocked", f.Blocked}, {"wait", f.Wait}, {"version", f.Version},
	} {
		if o.value != "" {
			a = append(a, slog.String("surefoot.finding."+o.key, o.value))
		}
	}
	if f.Limit > 0 {
		a = append(a, slog.Float64("surefoot.finding.limit", f.Limit))
	}
	if f.WaitFor > 0 {
		a = append(a, slog.Float64("surefoot.finding.wait_s", f.WaitFor.Seconds()))
	}
	if f.TraceID != "" {
		a = append(a, slog.String("trace_id", f.TraceID))
	}
	return a
}

// end closes what is open and puts everything back.
func (l *loop) end(ctx context.Context) {
	l.tell(ctx, l.j.End(time.Now()))
	l.w.mu.Lock()
	l.w.open = nil
	l.w.mu.Unlock()
	l.w.armed.Store(0)
	l.lockProfile(false)
	l.w.trace.end()
	l.stop()
}

// measure reports what module telemetry does not have from OpenTelemetry's own
// instrumentation of the runtime, until the returned function is called.
func (l *loop) measure() (stop func()) {
	m := l.sinks.Meter.Meter("github.com/surefoot-go/surefoot/vitals")
	var all []metric.Observable
	gauge := func(name, unit, text string) metric.Float64Observable {
		g, _ := m.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(text)) // on an error it is one that tells nothing
		all = append(all, g)
		return g
	}
	counter := func(name, unit, text string) metric.Float64Observable {
		c, _ := m.Float64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(text))
		all = append(all, c)
		return c
	}
	files, _ := m.Int64ObservableUpDownCounter("process.unix.file_descriptor.count", metric.WithUnit("{file_descriptor}"),
		metric.WithDescription("Number of unix file descriptors in use by the process."))
	all = append(all, files)
	live := gauge("surefoot.vitals.heap.live", "By", "What the last garbage collection found alive.")
	pause := gauge("surefoot.vitals.gc.pause.p99", "s", "99th percentile of the collector's pauses over the last beat.")
	share := gauge("surefoot.vitals.gc.share", "1", "Share of the processors' time that the collector took over the last beat.")
	sched := gauge("surefoot.vitals.scheduler.latency.p99", "s", "99th percentile of the wait for a processor over the last beat.")
	stack := gauge("surefoot.vitals.stack", "By", "Memory of goroutines' stacks.")
	timers := gauge("surefoot.vitals.timers", "{timer}", "Timers that are held, estimated each ten minutes.")
	open := gauge("surefoot.vitals.findings", "{finding}", "Findings that are open, by kind.")
	cycles := counter("surefoot.vitals.gc.cycles", "{gc_cycle}", "Garbage collections.")
	mutex := counter("surefoot.vitals.mutex.wait", "s", "How long goroutines waited for locks of package sync, together.")
	looked := counter("surefoot.vitals.profiling", "s", "What taking profiles took.")
	wait := counter("surefoot.lock.wait", "s", "How long goroutines waited for a named lock, together.")
	waits := counter("surefoot.lock.waits", "{wait}", "How often goroutines waited for a named lock.")
	siteWait := counter("surefoot.lock.site.wait", "s", "How long goroutines waited for locks that were released at a place.")
	siteWaits := counter("surefoot.lock.site.waits", "{wait}", "How often goroutines waited for locks that were released at a place.")
	var names, places observe.Names
	reg, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		w := l.w
		w.mu.Lock()
		s, spent, sites, timed := w.last, w.looked, w.sites, w.timers
		found := map[string]int{}
		for _, f := range w.open {
			found[f.Kind]++
		}
		w.mu.Unlock()
		if s.Goroutines == 0 {
			return nil // before the first beat
		}
		if s.Descriptors > 0 {
			o.ObserveInt64(files, int64(s.Descriptors))
		}
		o.ObserveFloat64(live, float64(s.LiveHeap))
		o.ObserveFloat64(pause, s.GCPause.Seconds())
		o.ObserveFloat64(share, s.GCShare)
		o.ObserveFloat64(sched, s.SchedWait.Seconds())
		o.ObserveFloat64(stack, float64(s.Stack))
		o.ObserveFloat64(timers, float64(timed))
		o.ObserveFloat64(cycles, float64(s.GCs))
		o.ObserveFloat64(mutex, s.MutexWait.Seconds())
		o.ObserveFloat64(looked, spent.Seconds())
		for _, kind := range [...]string{Goroutines, Heap, Descriptors, Timers, GC, Scheduler, Mutex, Stack} {
			o.ObserveFloat64(open, float64(found[kind]), metric.WithAttributes(attribute.String("surefoot.finding", kind)))
		}
		for _, c := range locks.Contended() {
			if names.Known(c.Name) { // the first hundred
				a := metric.WithAttributes(attribute.String("surefoot.lock", c.Name))
				o.ObserveFloat64(wait, c.Wait.Seconds(), a)
				o.ObserveFloat64(waits, float64(c.Waits), a)
			}
		}
		for _, c := range sites {
			if places.Known(c.Place) {
				a := metric.WithAttributes(attribute.String("surefoot.lock.site", c.Place))
				o.ObserveFloat64(siteWait, c.Value, a)
				o.ObserveFloat64(siteWaits, float64(c.Count), a)
			}
		}
		return nil
	}, all...)
	if err != nil {
		return func() {}
	}
	return func() { _ = reg.Unregister() } // the process ends anyway
}
