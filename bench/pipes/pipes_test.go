package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/bench/command"
)

// TestMain lets this program be a process of a wire, as the real one is.
func TestMain(m *testing.M) {
	if os.Getenv("PIPES_CHILD") != "" {
		command.Main("pipes", func(ctx context.Context, args []string) error {
			return run(ctx, args, os.Stdin, os.Stdout, os.Stderr)
		})
		return
	}
	os.Exit(m.Run())
}

// TestQuick measures everything for a moment: every message of every wire
// must arrive, once, in order and as it was sent, or run fails.
func TestQuick(t *testing.T) {
	sizes := "64,1024,65536"
	if testing.Short() {
		sizes = "1000"
	}
	var out, progress bytes.Buffer
	if err := run(t.Context(), []string{"-quick", "-out", "-", "-sizes", sizes, "-idle", "100"}, nil, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	for _, w := range wires() {
		rows := regexp.MustCompile(`(?m)^\| (\*\*)?`+regexp.QuoteMeta(w.name)+`(\*\*)? \| ([0-9][^|]* \| ){3,}`).FindAllString(out.String(), -1)
		if want := 2 * strings.Count(sizes+",", ","); len(rows) < want {
			t.Errorf("%s has %d rows of figures, want %d", w.name, len(rows), want)
		}
	}
	for _, want := range []string{"## Goals", "## Idle channels", "of by hand"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the document has no %q", want)
		}
	}
	if !testing.Short() && strings.Count(out.String(), "| **missed** |")+strings.Count(out.String(), "| met |") < 7 {
		t.Error("the document does not judge every goal")
	}
}

func TestMisuse(t *testing.T) {
	for _, args := range [][]string{
		{"-sizes", "63"}, {"-sizes", "64,x"}, {"-sizes", "70000"}, {"-sizes", ""}, {"-rounds", "0"}, {"-each", "-1s"},
		{"-loadrounds", "0"}, {"-idle", "-1"}, {"-heap", "-1"}, {"-only", "no such wire"}, {"-only", "("}, {"-what"}, {"more"},
	} {
		if err := run(t.Context(), args, nil, &bytes.Buffer{}, &bytes.Buffer{}); !errors.As(err, new(command.Misuse)) {
			t.Errorf("%q: %v, want a Misuse", args, err)
		}
	}
}

// TestSink is what a receiver must notice.
func TestSink(t *testing.T) {
	message := func(number uint64, kind byte) []byte {
		b := newMessage(100)
		stamp(b, number, 0, kind)
		return b
	}
	spoilt, mixed := message(0, 0), message(1, 0)
	spoilt[50]++
	mixed[len(mixed)-8]++
	for _, c := range []struct {
		name     string
		messages [][]byte
		wrong    string
	}{
		{"all is well", [][]byte{message(0, 0), message(1, 0)}, ""},
		{"one is missing", [][]byte{message(0, 0), message(2, 0)}, "message 2 (2 at its end) where 1 was next"},
		{"one comes twice", [][]byte{message(0, 0), message(0, 0), message(1, 0)}, "message 0 (0 at its end) where 1 was next"},
		{"a byte is changed", [][]byte{spoilt, message(1, 0)}, "message 0 has other bytes than were sent"},
		{"two are mixed", [][]byte{message(0, 0), mixed}, "message 1 (2 at its end) where 1 was next"},
		{"one is short", [][]byte{message(0, 0)[:99], message(0, 0), message(1, 0)}, "a message of 99 bytes, want 100"},
	} {
		s := newSink(100)
		for _, m := range c.messages {
			s.take(m)
		}
		s.take(message(s.next, last))
		if got := <-s.rounds; got.Wrong != c.wrong || got.Count != int64(len(c.messages))+1 {
			t.Errorf("%s: %d messages, %q; want %q", c.name, got.Count, got.Wrong, c.wrong)
		}
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range 100000 {
		h.add(time.Duration(i+1) * time.Microsecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 50 * time.Millisecond, 0.99: 99 * time.Millisecond, 1: 100 * time.Millisecond} {
		if got := h.quantile(q); got < want || float64(got) > 1.02*float64(want) {
			t.Errorf("quantile %v is %v, want %v or up to 2 %% more", q, got, want)
		}
	}
	for v := uint64(1); v < 1<<62; v = v*3/2 + 1 {
		if i := bucket(v); v < lower(i) || v >= lower(i+1) {
			t.Errorf("%d is in bucket %d, from %d up to %d", v, i, lower(i), lower(i+1))
		}
	}
	if got := (&histogram{}).quantile(0.99); got != 0 {
		t.Errorf("nothing has a p99 of %v", got)
	}
}

// A paced sender says when a message was due, not when it got round to it: the
// wait for a wire that stalls counts for all that were due meanwhile.
func TestPaceCountsTheWait(t *testing.T) {
	const stall = 50 * time.Millisecond
	s := newSink(100)
	from := &source{to: &stalling{take: s.take, at: 10, stall: stall}, b: newMessage(100)}
	n, err := from.pace(t.Context(), 10000, 2*stall)
	got := <-s.rounds
	if err != nil || got.Count != n || n != 1000 || got.Wrong != "" {
		t.Fatalf("%d sent, %d arrived, %q: %v", n, got.Count, got.Wrong, err)
	}
	if got.Most < stall || got.P99 < stall/2 {
		t.Errorf("p99 %v, most %v after a stall of %v", got.P99, got.Most, stall)
	}
}

// stalling delivers at once, but for one message.
type stalling struct {
	take  func([]byte)
	n, at int
	stall time.Duration
}

func (s *stalling) Send(_ context.Context, b []byte) error {
	if s.n++; s.n == s.at {
		pause(s.stall)
	}
	s.take(b)
	return nil
}

func (s *stalling) Flush() error { return nil }
func (s *stalling) Close() error { return nil }
