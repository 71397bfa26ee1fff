package pebble_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/store/pebble"
)

func TestBlobs(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	db := open(t, dir)
	b := db.Blobs()
	for _, name := range []string{"incident/2", "incident/1", "other", "incident/\xff\xff"} {
		if err := b.Put(ctx, name, []byte("v "+name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Delete(ctx, "other"); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(ctx, "big", make([]byte, 5<<20)); errs.KindOf(err) != errs.Invalid {
		t.Errorf("5 MiB: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir)
	defer db.Close()
	b = db.Blobs()
	if v, err := b.Get(ctx, "incident/1"); err != nil || string(v) != "v incident/1" {
		t.Errorf("%q %v", v, err)
	}
	if _, err := b.Get(ctx, "other"); errs.KindOf(err) != errs.NotFound {
		t.Error(err)
	}
	var names []string
	if err := b.List(ctx, "incident/", func(name string, _ []byte) bool { names = append(names, name); return true }); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(names, []string{"incident/1", "incident/2", "incident/\xff\xff"}) {
		t.Errorf("%q", names)
	}
}

func TestSecondCopyIsTold(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	if _, err := pebble.Open(dir, pebble.Options{}); errs.KindOf(err) != errs.FailedPrecondition {
		t.Errorf("second open: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if _, err := db.Spans().Trace(t.Context(), store.TraceID{1}); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("read after close: %v", err)
	}
	if os.Getuid() != 0 { // root may write anywhere
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		if _, err := pebble.Open(filepath.Join(dir, "x"), pebble.Options{}); errs.KindOf(err) != errs.Unavailable {
			t.Errorf("unwritable: %v", err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pebble.Open(file, pebble.Options{}); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("a file as folder: %v", err)
	}
}

// A damaged table is an error to who reads it, not the end of the process.
func TestDamagedFile(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	for i := range uint64(50) {
		if err := db.Spans().Put(t.Context(), []store.Span{noise(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	tables, _ := filepath.Glob(filepath.Join(dir, "*.sst"))
	if len(tables) == 0 {
		t.Fatal("no tables")
	}
	for _, name := range tables {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(b)/2; i += 512 {
			b[i] ^= 0xff
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	db, err := pebble.Open(dir, pebble.Options{Every: -1, Reserve: -1, Log: mute})
	if err != nil {
		t.Logf("open says: %v", err)
		return
	}
	defer db.Close()
	failed := 0
	for i := range uint64(50) {
		if _, err := db.Spans().Trace(t.Context(), noise(i).TraceID); err != nil {
			failed++
		}
	}
	if failed == 0 {
		t.Error("no read noticed the damage")
	}
}

func TestRetentionByAge(t *testing.T) {
	ctx := t.Context()
	now := time.Now().UTC().Truncate(time.Second)
	clock := now
	db, err := pebble.Open(t.TempDir(), pebble.Options{SpanAge: 48 * time.Hour, LogAge: 24 * time.Hour, Every: -1, Reserve: -1, Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for h := range 72 {
		at := now.Add(-time.Duration(h)*time.Hour - time.Minute)
		s := store.Span{TraceID: store.TraceID{byte(h), 1}, ID: store.SpanID{1}, Start: at}
		s.Service = "a"
		if err := db.Spans().Put(ctx, []store.Span{s}); err != nil {
			t.Fatal(err)
		}
		if err := db.Logs().Put(ctx, []store.Log{{At: at, Body: fmt.Sprint(h)}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		later       time.Duration
		spans, logs int
	}{{0, 48, 24}, {10 * time.Hour, 38, 14}, {10*time.Hour + time.Minute, 38, 14}, {100 * time.Hour, 0, 0}} {
		clock = now.Add(c.later)
		if err := db.Retain(ctx); err != nil {
			t.Fatal(err)
		}
		spans := 0
		if err := db.Spans().Window(ctx, now.Add(-1000*time.Hour), now, func(store.Span) bool { spans++; return true }); err != nil {
			t.Fatal(err)
		}
		logs, err := db.Logs().Search(ctx, store.LogQuery{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if spans != c.spans || len(logs) != c.logs {
			t.Errorf("%v later: %d spans and %d logs, want %d and %d", c.later, spans, len(logs), c.spans, c.logs)
		}
		for h := range 72 {
			got, err := db.Spans().Trace(ctx, store.TraceID{byte(h), 1})
			if err != nil || len(got) != min(1, max(0, c.spans-h)) {
				t.Errorf("%v later: trace of hour %d has %d spans, %v", c.later, h, len(got), err)
			}
		}
	}
}

func TestRetentionBySize(t *testing.T) {
	ctx := t.Context()
	const limit = 4 << 20
	db, err := pebble.Open(t.TempDir(), pebble.Options{MaxBytes: limit, Every: -1, Reserve: -1, Memtable: 1 << 20, Log: mute})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	now := time.Now().UTC()
	const n = 1600 // of about 6 kB
	for i := range uint64(n) {
		s := noise(i)
		s.Start = now.Add(-time.Duration(n-i) * time.Minute)
		if err := db.Spans().Put(ctx, []store.Span{s}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := db.Retain(ctx); err != nil {
		t.Fatal(err)
	}
	var first, last time.Time
	left := 0
	if err := db.Spans().Window(ctx, now.Add(-1000*time.Hour), now, func(s store.Span) bool {
		if left++; first.IsZero() {
			first = s.Start
		}
		last = s.Start
		return true
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d spans are left, from %v", left, n, now.Sub(first))
	if left < 300 || left > 700 {
		t.Errorf("%d spans of 6 kB are left for 4 MiB", left)
	}
	if last != now.Add(-time.Minute) || !first.Equal(last.Add(-time.Duration(left-1)*time.Minute)) {
		t.Error("not the newest are left")
	}
}

// A sender that stops waiting hears so; what it sent may be kept all the same.
func TestContextEndsAWait(t *testing.T) {
	db := open(t, t.TempDir())
	defer db.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := db.Spans().Put(ctx, []store.Span{noise(1)})
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A search over many traces stays quick and finds the newest.
func BenchmarkSearch(b *testing.B) {
	db, err := pebble.Open(b.TempDir(), pebble.Options{Every: -1, Reserve: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	ctx := context.Background()
	now := time.Now().UTC()
	rnd := rand.New(rand.NewPCG(1, 2))
	const batches, each = 2000, 100
	for i := range batches {
		spans := make([]store.Span, each)
		for j := range spans {
			s := &spans[j]
			s.Service = []string{"gateway", "order", "payment", "inventory", "user"}[j%5]
			s.Name = "op" + fmt.Sprint(j%20)
			s.Start = now.Add(-time.Duration(batches-i)*time.Second + time.Duration(j)*time.Millisecond)
			n := uint64(i*each+j) / 5
			for k := range 8 {
				s.TraceID[k] = byte(n >> (8 * k))
				s.ID[k] = byte(rnd.Uint32())
			}
			s.TraceID[15] = 1
			s.Error = rnd.IntN(10_000) == 0
		}
		if err := db.Spans().Put(ctx, spans); err != nil {
			b.Fatal(err)
		}
	}
	for name, q := range map[string]store.SpanQuery{"newest": {}, "service": {Service: "order"}, "failed": {Error: true}, "absent": {Service: "nobody"},
		"operation": {Service: "order", Operation: "op1"}, "slow": {MinLength: time.Hour}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := db.Spans().Search(ctx, q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("trace", func(b *testing.B) {
		for b.Loop() {
			if got, err := db.Spans().Trace(ctx, store.TraceID{7, 15: 1}); err != nil || len(got) != 5 {
				b.Fatal(len(got), err)
			}
		}
	})
	b.Run("window of a minute", func(b *testing.B) {
		n := 0
		for b.Loop() {
			n = 0
			if err := db.Spans().Window(ctx, now.Add(-5*time.Minute), now.Add(-4*time.Minute), func(store.Span) bool { n++; return true }); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(n), "spans")
	})
}
