package discovery

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/resilience/balance"
)

func ins(ids string) []balance.Instance {
	var out []balance.Instance
	for _, id := range strings.Fields(ids) {
		out = append(out, balance.Instance{ID: id, Addr: id + ":1"})
	}
	return out
}

func names(all []balance.Instance) string {
	var out []string
	for _, in := range all {
		out = append(out, in.ID)
	}
	return strings.Join(out, " ")
}

// TestView: which answers are believed, and for how long the others are doubted.
func TestView(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []string // "seconds: answer -> set (kept)"
	}{
		{"an empty answer changes nothing", []string{"0: a b c -> a b c (0)", "1: -> a b c (0)", "99: -> a b c (0)", "100: d -> a b c d (3)", "161: d -> d (0)"}},
		{"empty from the start is nobody", []string{"0: -> (0)", "1: a -> a (0)"}},
		{"one by one they go", []string{"0: a b c d -> a b c d (0)", "20: a b c -> a b c (0)", "40: a b -> a b (0)", "60: a -> a (0)"}},
		{"half is no mass", []string{"0: a b c d -> a b c d (0)", "1: a b -> a b (0)"}},
		{"more than half is, for a minute", []string{"0: a b c d e -> a b c d e (0)", "1: a -> a b c d e (4)", "30: a b -> a b c d e (3)", "60: a b -> a b c d e (3)", "62: a b -> a b (0)"}},
		{"leases that end one after the other are a mass too", []string{"0: a b c d -> a b c d (0)", "1: a b c -> a b c (0)", "2: a b -> a b (0)", "3: a -> a b c d (3)"}},
		{"they come back", []string{"0: a b c d -> a b c d (0)", "1: a -> a b c d (3)", "3: a b c d -> a b c d (0)", "90: a b c d -> a b c d (0)"}},
		{"a rollout that replaces all at once is doubted, and over", []string{"0: a b c -> a b c (0)", "1: x y z -> x y z (0)", "2: x y -> x y (0)"}},
		{"whenever it begins", []string{"1: a b c d e f g h i -> a b c d e f g h i (0)", "10: a b c d e -> a b c d e (0)", "11: a b c -> a b c d e f g h i (6)"}},
		{"two are too few", []string{"0: a b -> a b (0)", "1: a -> a (0)"}},
		{"a version goes with its instance", []string{"0: a a b -> a b (0)"}},
	} {
		var v view
		start := time.Unix(1000, 0)
		for _, step := range c.steps {
			var sec int
			head, want, _ := strings.Cut(step, "->")
			at, answer, _ := strings.Cut(head, ":")
			fmt.Sscan(at, &sec)
			now := start.Add(time.Duration(sec) * time.Second)
			v.expire(now, time.Minute)
			v.hear(now, ins(answer), time.Minute)
			set, kept := v.set()
			if got := strings.TrimSpace(fmt.Sprintf("%s (%d)", names(set), kept)); got != strings.TrimSpace(want) {
				t.Errorf("%s: %s, got %s", c.name, step, got)
			}
		}
	}
}

func TestGraceOff(t *testing.T) {
	var v view
	now := time.Unix(1000, 0)
	v.hear(now, ins("a b c d"), 0)
	v.hear(now, ins("a"), 0)
	if set, kept := v.set(); names(set) != "a" || kept != 0 {
		t.Error(names(set), kept)
	}
}
