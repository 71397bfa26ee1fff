package resilience_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/resilience"
)

func TestBoardSetsPolicies(t *testing.T) {
	var board resilience.Board
	before := resilience.NewOn(&board, "bank", resilience.Policy{}, silent)
	other := resilience.NewOn(&board, "users", resilience.Policy{}, silent)
	board.Set("bank", resilience.Policy{Timeout: 7 * time.Second})
	after := resilience.NewOn(&board, "bank@v2", resilience.Policy{Timeout: time.Second}, silent)
	for g, want := range map[*resilience.Guard]time.Duration{before: 7 * time.Second, after: 7 * time.Second, other: 10 * time.Second} {
		if got := g.Policy().Timeout; got != want {
			t.Errorf("%s has %v, want %v", g.Name(), got, want)
		}
	}
	runtime.KeepAlive([]*resilience.Guard{before, after, other})
}

func TestBoardFollow(t *testing.T) {
	var board resilience.Board
	early := resilience.NewOn(&board, "early", resilience.Policy{Timeout: 3 * time.Second}, silent)
	var told []string
	board.Follow(func(target string, p resilience.Policy) {
		told = append(told, fmt.Sprint(target, " ", p.Timeout))
		board.Set(target, resilience.Policy{Timeout: 5 * time.Second}) // what a file says, say
	})
	late := resilience.NewOn(&board, "late@v1", resilience.Policy{Timeout: 4 * time.Second}, silent)
	again := resilience.NewOn(&board, "late@v2", resilience.Policy{}, silent)
	if want := []string{"early 3s", "late 4s"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	for _, g := range []*resilience.Guard{early, late, again} {
		if got := g.Policy().Timeout; got != 5*time.Second {
			t.Errorf("%s has %v, want 5s", g.Name(), got)
		}
	}
	board.Follow(nil)
	resilience.NewOn(&board, "unheard", resilience.Policy{}, silent)
	if len(told) != 2 {
		t.Errorf("told after the end: %q", told)
	}
}
