package observe_test

import (
	"log/slog"
	"testing"

	"github.com/surefoot-go/surefoot/observe"
)

func TestDialsLeaveWhatWasConfigured(t *testing.T) {
	for name, d := range map[string]*observe.Dials{"nil": nil, "zero": {}} {
		d.SetLevel(nil)
		d.SetRatio(0)
		if l, r := d.Level(slog.LevelWarn), d.Ratio(0.5); l != slog.LevelWarn || r != 0.5 {
			t.Errorf("%s: level %v, ratio %v; want WARN, 0.5", name, l, r)
		}
		if l := d.Level(nil); l != slog.LevelInfo {
			t.Errorf("%s: no configured level is %v, want INFO", name, l)
		}
	}
}

func TestDialsTurn(t *testing.T) {
	var d observe.Dials
	d.SetLevel(slog.LevelDebug)
	if l := d.Level(slog.LevelError); l != slog.LevelDebug {
		t.Errorf("level %v, want DEBUG", l)
	}
	d.SetLevel(nil)
	if l := d.Level(slog.LevelError); l != slog.LevelError {
		t.Errorf("level %v after nil, want ERROR as configured", l)
	}
	for set, want := range map[float64]float64{0.25: 0.25, 2: 1, -1: 0, 0: 0.75} {
		d.SetRatio(set)
		if r := d.Ratio(0.75); r != want {
			t.Errorf("SetRatio(%v): %v, want %v", set, r, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { d.Level(nil); d.Ratio(1) }); n != 0 {
		t.Errorf("%v allocations to ask, want 0", n)
	}
}
