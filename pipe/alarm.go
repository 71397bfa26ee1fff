package pipe

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/pipe/seal"
)

// Causes besides those of package seal, for the same counter and log.
const (
	causeFlood        seal.Cause = "flood"        // too many handshakes
	causeTLS          seal.Cause = "tls"          // no TLS handshake, or a certificate that is not good
	causeUnauthorised seal.Cause = "unauthorised" // a peer or a topic that the policy refuses
	causeResume       seal.Cause = "resume"       // a session that somebody else wants to go on with
	causeFiles        seal.Cause = "files"        // a file of keys or certificates that changed and cannot be used
)

// alarms tells of what was refused: each counts in the metric
// surefoot.pipe.refused by cause, and the log has at most one record in 10s
// for a cause and an address.
type alarms struct {
	sinks   observe.Sinks
	counter metric.Int64Counter
	sets    observe.Attributes[seal.Cause]
	mu      sync.Mutex
	told    map[alarm]*telling
}

type alarm struct {
	cause seal.Cause
	at    netip.Prefix
}

type telling struct {
	last   time.Time
	untold int64
}

const (
	alarmEvery = 10 * time.Second
	maxAlarms  = 1024 // entries; when full, the other addresses share one a cause
)

func newAlarms(o observe.Sinks) *alarms {
	a := &alarms{sinks: o, told: map[alarm]*telling{}}
	a.counter, _ = o.OrDefault().Meter.Meter("github.com/surefoot-go/surefoot/pipe").Int64Counter("surefoot.pipe.refused",
		metric.WithUnit("{refusal}"), metric.WithDescription("Connections and messages that were refused, by cause."))
	return a
}

// refuse counts one refusal and may log it. what is ours, or was checked: it
// holds nothing long and no secret.
func (a *alarms) refuse(cause seal.Cause, addr net.Addr, what string) {
	ctx := context.Background()
	a.counter.Add(ctx, 1, a.sets.Of(cause, func(c seal.Cause) []attribute.KeyValue {
		return []attribute.KeyValue{attribute.String("surefoot.cause", string(c))}
	}).Add...)
	level := slog.LevelWarn
	if cause == seal.Probe {
		level = slog.LevelDebug // a balancer that looks whether the port is open
	}
	log := a.sinks.OrDefault().Log
	if !log.Enabled(ctx, level) {
		return
	}
	n, ok := a.tell(alarm{cause, prefix(addr)}, time.Now())
	if !ok {
		return
	}
	peer := "none"
	if addr != nil {
		peer = addr.String()
	}
	log.LogAttrs(ctx, level, "pipe: refused", slog.String("cause", string(cause)), slog.String("peer", peer),
		slog.Int64("refused", n), slog.String("what", what))
}

// tell says whether to log now, and how many there were since it last did.
func (a *alarms) tell(k alarm, now time.Time) (n int64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.told[k]
	if t == nil && len(a.told) >= maxAlarms {
		for k, t := range a.told {
			if t.untold == 0 && now.Sub(t.last) >= alarmEvery {
				delete(a.told, k)
			}
		}
		if len(a.told) >= maxAlarms {
			k.at = netip.Prefix{}
			t = a.told[k]
		}
	}
	if t == nil {
		t = &telling{}
		a.told[k] = t
	}
	t.untold++
	if !t.last.IsZero() && now.Sub(t.last) < alarmEvery {
		return 0, false
	}
	n, t.last, t.untold = t.untold, now, 0
	return n, true
}
