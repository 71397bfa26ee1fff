package pipe

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/surefoot-go/surefoot/observe"
)

// stats counts what a Link or a Listener does. Counting costs an atomic add; a
// meter asks for the sums when it reports.
type stats struct {
	sent, sentBytes         atomic.Int64
	received, receivedBytes atomic.Int64
	waiting                 atomic.Int64 // calls of Send that wait
	waited                  atomic.Int64 // ns
	reconnects              atomic.Int64
	lost, missed            atomic.Int64
	duplicates              atomic.Int64
	refused                 atomic.Int64
	channels                atomic.Int64
	connections             atomic.Int64
}

func (st *stats) blocked() time.Time {
	st.waiting.Add(1)
	return time.Now()
}

func (st *stats) unblocked(began time.Time) {
	st.waiting.Add(-1)
	st.waited.Add(int64(time.Since(began)))
}

// register has a meter report st until the returned function is called.
func (st *stats) register(o observe.Sinks, side string) (stop func()) {
	m := o.OrDefault().Meter.Meter("github.com/surefoot-go/surefoot/pipe")
	attr := func(kv ...attribute.KeyValue) metric.ObserveOption {
		return metric.WithAttributeSet(attribute.NewSet(append(kv, attribute.String("surefoot.side", side))...))
	}
	plain := attr()
	out := attr(attribute.String("network.io.direction", "transmit"))
	in := attr(attribute.String("network.io.direction", "receive"))
	type reading struct {
		v    *atomic.Int64
		with metric.ObserveOption
	}
	var instruments []metric.Observable
	observed := map[metric.Int64Observable][]reading{}
	counter := func(name, unit, what string, from ...reading) {
		c, err := m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(what))
		if err == nil {
			instruments = append(instruments, c)
			observed[c] = from
		}
	}
	level := func(name, unit, what string, from ...reading) {
		c, err := m.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(what))
		if err == nil {
			instruments = append(instruments, c)
			observed[c] = from
		}
	}
	counter("surefoot.pipe.messages", "{message}", "Messages sent and received.", reading{&st.sent, out}, reading{&st.received, in})
	counter("surefoot.pipe.bytes", "By", "Bytes of messages sent and received.", reading{&st.sentBytes, out}, reading{&st.receivedBytes, in})
	counter("surefoot.pipe.reconnects", "{connection}", "Connections that took the place of one that broke.", reading{&st.reconnects, plain})
	counter("surefoot.pipe.lost", "{message}", "Messages that were sent and are known to be lost, and that a receiver missed.", reading{&st.lost, out}, reading{&st.missed, in})
	counter("surefoot.pipe.duplicates", "{message}", "Messages received that are marked as duplicates.", reading{&st.duplicates, in})
	counter("surefoot.pipe.channels.refused", "{channel}", "Channels refused.", reading{&st.refused, plain})
	level("surefoot.pipe.channels", "{channel}", "Channels open.", reading{&st.channels, plain})
	level("surefoot.pipe.connections", "{connection}", "Connections up.", reading{&st.connections, plain})
	level("surefoot.pipe.senders.blocked", "{call}", "Calls of Send that wait for room.", reading{&st.waiting, plain})
	waited, err := m.Float64ObservableCounter("surefoot.pipe.blocked", metric.WithUnit("s"), metric.WithDescription("Time that calls of Send waited for room."))
	if err == nil {
		instruments = append(instruments, waited)
	}
	reg, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for c, from := range observed {
			for _, r := range from {
				o.ObserveInt64(c, r.v.Load(), r.with)
			}
		}
		if waited != nil {
			o.ObserveFloat64(waited, time.Duration(st.waited.Load()).Seconds(), plain)
		}
		return nil
	}, instruments...)
	if err != nil {
		return func() {}
	}
	return func() { reg.Unregister() }
}
