package resilience_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/breaker"
	"github.com/surefoot-go/surefoot/resilience/limit"
)

func ExampleBoard() {
	quiet := observe.Sinks{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	var board resilience.Board // one per process
	bank := resilience.NewOn(&board, "bank", resilience.Policy{}, quiet)
	users := resilience.NewOn(&board, "users", resilience.Policy{}, quiet)

	refused := errs.New(errs.Unavailable, "bank.Charge", "the bank is closed").ID("bank_closed")
	resilience.Do(context.Background(), bank, func(context.Context) (int, error) { return 0, refused })
	err := board.Force("users", resilience.ForcedOpen) // by hand, until Auto
	fmt.Println(err, board.Force("shop", resilience.ForcedOpen) != nil)

	for _, s := range board.List() {
		fmt.Println(s.Target, s.State, s.Forced, s.Calls.Failures)
	}
	json.NewEncoder(os.Stdout).Encode(board.List()[0].LastError.ID)
	runtime.KeepAlive(users) // a Board forgets Guards that nobody uses
	// Output:
	// <nil> true
	// bank closed auto 1
	// users open open 0
	// "bank_closed"
}

var silent = observe.Sinks{Log: slog.New(slog.DiscardHandler)}

func TestBoard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var board resilience.Board
		if text, _ := json.Marshal(board.List()); string(text) != "[]" {
			t.Errorf("an empty one lists %s", text)
		}
		b := resilience.NewOn(&board, "b", resilience.Policy{Bulkhead: limit.BulkheadSettings{Max: 7}, Adaptive: limit.AdaptiveSettings{Max: 9}}, silent)
		a := resilience.NewOn(&board, "a", resilience.Policy{}, silent)
		b2 := resilience.NewOn(&board, "b", resilience.Policy{}, silent)
		begin := time.Now()
		time.Sleep(time.Second)
		for b.State() != breaker.Open {
			resilience.Do(t.Context(), b, func(context.Context) (int, error) {
				return 0, errors.New("dial tcp 10.0.0.7:5432: password=hunter2 refused")
			})
		}
		for range 40 { // transitions are bounded
			time.Sleep(time.Second)
			for b.State() != breaker.Open {
				resilience.Do(t.Context(), b, func(context.Context) (int, error) { return 0, down })
			}
			resilience.Do(t.Context(), b, func(context.Context) (int, error) { return 0, down })
		}
		list := board.List()
		if len(list) != 3 || list[0].Target != "a" || list[1].Target != "b" || list[2].Target != "b" {
			t.Fatalf("lists %+v", list)
		}
		s := list[1]
		if s.State != breaker.Open || s.LastError == nil || s.LastError.ID != "unavailable" || s.LastError.Message != "down" ||
			len(s.Transitions) != 16 || s.Calls.Failures < 12 || s.Limit.Bulkhead != 7 || s.Limit.Adaptive == 0 || !s.Since.After(begin) {
			t.Errorf("b is %+v", s)
		}

		if err := board.Force("b", resilience.ForcedClosed); err != nil || b.State() != breaker.Closed || b2.Snapshot().Forced != resilience.ForcedClosed {
			t.Errorf("forced closed: %v, %v", err, b.State())
		}
		if s := board.List()[1]; s.State != breaker.Closed || s.Forced != resilience.ForcedClosed || !s.Since.Equal(time.Now()) {
			t.Errorf("b is %+v", s)
		}
		if a.Snapshot().Forced != resilience.Auto {
			t.Error("a was meant to be left alone")
		}
		board.Force("b", resilience.Auto)
		if b.State() != breaker.Open {
			t.Errorf("back to %v", b.State())
		}
		e := errs.From(board.Force("c", resilience.ForcedOpen))
		if e.Kind() != errs.NotFound || e.Code() != "unknown_target" || !strings.Contains(e.Message(), `"c"`) {
			t.Errorf("an unknown name: %v", e)
		}
		runtime.KeepAlive(a)
	})
}

// Nobody at a screen reads what a driver says.
func TestBoardKeepsSecrets(t *testing.T) {
	var board resilience.Board
	g := resilience.NewOn(&board, "db", resilience.Policy{}, silent)
	for range 20 {
		resilience.Do(t.Context(), g, func(context.Context) (int, error) { return 0, errors.New("password=hunter2 refused") })
	}
	text, err := json.Marshal(board.List())
	if err != nil || strings.Contains(string(text), "hunter2") {
		t.Errorf("%s, %v", text, err)
	}
	var back []map[string]any
	if err := json.Unmarshal(text, &back); err != nil || back[0]["state"] != "open" || back[0]["forced"] != "auto" {
		t.Errorf("%s, %v", text, err)
	}
	for _, key := range []string{"target", "state", "forced", "since", "lastError", "transitions", "calls", "limit"} {
		if back[0][key] == nil {
			t.Errorf("no %s in %s", key, text)
		}
	}
	runtime.KeepAlive(g)
}

// Guards that come and go with instances do not pile up, nor do their gauges.
func TestBoardForgets(t *testing.T) {
	var board resilience.Board
	m := newSpy()
	kept := resilience.NewOn(&board, "kept", resilience.Policy{}, m.sinks())
	for i := range 200 {
		g := resilience.NewOn(&board, fmt.Sprint("instance", i), resilience.Policy{Adaptive: limit.AdaptiveSettings{Max: 10}, Bulkhead: limit.BulkheadSettings{Max: 1}}, m.sinks())
		resilience.Do(t.Context(), g, func(context.Context) (int, error) { return 0, nil })
	}
	for range 100 {
		runtime.GC()
		if n := len(board.List()); n == 1 && m.callbacks.Load() == 0 {
			break
		}
		runtime.Gosched()
	}
	if n := len(board.List()); n != 1 || m.callbacks.Load() != 0 {
		t.Errorf("%d guards are listed, %d gauges are kept", n, m.callbacks.Load())
	}
	runtime.KeepAlive(kept)
}

func TestForceIsReported(t *testing.T) {
	m := newSpy()
	var log strings.Builder
	sinks := m.sinks()
	sinks.Log = slog.New(slog.NewTextHandler(&log, nil))
	g := resilience.New("bank", resilience.Policy{}, sinks)
	g.Force(resilience.ForcedOpen)
	g.Force(resilience.ForcedOpen)
	if m.get("surefoot.breaker.forced", "surefoot.target=bank") != 1 || m.get("surefoot.breaker.state", "surefoot.target=bank") != 2 {
		t.Errorf("metrics %v", m)
	}
	if n := strings.Count(log.String(), "breaker forced"); n != 1 {
		t.Errorf("%d records: %s", n, log.String())
	}
	g.Force(resilience.Auto)
	if m.get("surefoot.breaker.forced", "surefoot.target=bank") != 0 || m.get("surefoot.breaker.state", "surefoot.target=bank") != 0 {
		t.Errorf("metrics %v", m)
	}
}
