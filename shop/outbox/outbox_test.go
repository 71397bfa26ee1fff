package outbox_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/shop/outbox"
)

func TestPause(t *testing.T) {
	for _, c := range []struct {
		name     string
		w        outbox.Worker
		out      outbox.Outcome
		failures int
		r        float64
		want     time.Duration
	}{
		{"idle, shortest", outbox.Worker{}, outbox.Idle, 0, 0, 187500 * time.Microsecond},
		{"idle, middle", outbox.Worker{}, outbox.Idle, 0, 0.5, 250 * time.Millisecond},
		{"done keeps the rate", outbox.Worker{}, outbox.Done, 0, 0.9, 20 * time.Millisecond},
		{"own rate", outbox.Worker{Rate: 200}, outbox.Done, 0, 0, 5 * time.Millisecond},
		{"first failure", outbox.Worker{}, outbox.Idle, 1, 0.5, 100 * time.Millisecond},
		{"third failure", outbox.Worker{}, outbox.Idle, 3, 0.5, 400 * time.Millisecond},
		{"capped", outbox.Worker{}, outbox.Idle, 99, 0.5, 1500 * time.Millisecond},
		{"never faster than the rate", outbox.Worker{}, outbox.Done, 9, 0, 20 * time.Millisecond},
	} {
		if got := c.w.Pause(c.out, c.failures, c.r); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start, left, worked := time.Now(), 100, time.Duration(0)
		err := outbox.Worker{Name: "test", Log: slog.New(slog.NewTextHandler(&log, nil))}.Run(ctx, func(context.Context) (outbox.Outcome, error) {
			switch since := time.Since(start); {
			case since < 10*time.Second:
				return outbox.Idle, errors.New("away")
			case since < 20*time.Second:
				panic("worse")
			}
			if left == 0 {
				return outbox.Idle, nil
			}
			if left--; left == 0 {
				worked = time.Since(start)
			}
			return outbox.Done, nil
		})
		if err != nil || left != 0 {
			t.Errorf("%v, %d left", err, left)
		}
		if worked < 21*time.Second || worked > 26*time.Second {
			t.Errorf("100 steps after 20s of failure were done at %v; want 2s of work at 50/s and one wait of at most 3s", worked)
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d log lines, want one for the fall and one for the rise:\n%s", n, &log)
		}
	})
}
