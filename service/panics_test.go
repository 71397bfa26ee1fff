package service_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/service"
)

// into reports to one log.
type into struct{ log *slog.Logger }

func (i into) Start(context.Context, observe.Resource) (observe.Sinks, func(context.Context) error, error) {
	return observe.Sinks{Log: i.log}, func(context.Context) error { return nil }, nil
}

// A goroutine that a handler starts with package safe panics into the service's
// own log and metrics, not into the process's.
func TestPanicsOfHandlersGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		net := network()
		s := &service.Service{Listener: net, Drain: -1, Telemetry: into{slog.New(slog.NewTextHandler(&b, nil))}}
		s.HandleFunc("GET /", func(_ http.ResponseWriter, r *http.Request) error {
			return safe.Go(r.Context(), "aside", func(context.Context) error { panic("boom") }).Wait()
		})
		stop, ended := start(t, s)
		if code, body := get(t, net.client(), "/"); code != 500 || strings.Contains(body, "boom") {
			t.Errorf("%d %s", code, body)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if log := b.String(); strings.Count(log, "goroutine=aside") != 1 || !strings.Contains(log, "err.stack") {
			t.Errorf("log: %s", log)
		}
	})
}
