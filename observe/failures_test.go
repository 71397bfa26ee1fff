package observe_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/surefoot-go/surefoot/observe"
)

// A label stays bounded whatever ids a service invents or hears of.
func TestFailureIDs(t *testing.T) {
	f := observe.NewFailures(noop.Meter{}, "order.Place")
	for _, c := range []struct {
		kind, id string
		remote   bool
		want     string
	}{
		{"conflict", "conflict", false, "conflict"},
		{"conflict", "sold_out", false, "sold_out"},
		{"unavailable", "bank_closed", true, "unavailable"},
		{"unavailable", "unavailable", true, "unavailable"},
	} {
		if got := f.ID(c.kind, c.id, c.remote); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	folded := 0
	for i := range 1000 {
		if f.ID("conflict", fmt.Sprint("own_", i), false) == "conflict" {
			folded++
		}
	}
	if folded != 901 { // sold_out is one of the hundred
		t.Errorf("%d of 1000 folded", folded)
	}
	if f.ID("conflict", "sold_out", false) != "sold_out" {
		t.Error("an id that is known must stay so")
	}
}

func TestRefusalsAreLoggedOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		r := observe.NewRefusals(noop.Meter{}, slog.New(slog.NewTextHandler(&log, nil)), "order.Place")
		for range 100 {
			r.Count(context.Background(), "full", "low")
			time.Sleep(time.Second)
		}
		if n := strings.Count(log.String(), "\n"); n != 10 || !strings.Contains(log.String(), "refused=10 reason=full priority=low") {
			t.Errorf("%d records: %s", n, log.String())
		}
	})
}
