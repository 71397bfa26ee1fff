package pebble_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/store/pebble"
	"github.com/surefoot-go/surefoot/server/storetest"
)

var mute = slog.New(slog.NewTextHandler(io.Discard, nil))

// noise is a span that does not compress.
func noise(n uint64) store.Span {
	s := store.Span{Resource: store.Resource{Service: "order"}, Name: "x", Start: time.Now().UTC().Add(time.Duration(n)),
		Attrs: map[string]string{"noise": noiseText(n)}}
	for i := range 8 {
		s.TraceID[i], s.ID[i] = byte(n>>(8*i)), byte(n>>(8*i))
	}
	s.TraceID[15], s.ID[7] = 1, 1
	return s
}

func noiseText(n uint64) string {
	b := make([]byte, 8<<10)
	x := n*2862933555777941757 + 3037000493
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = ' ' + byte(x%90)
	}
	return string(b)
}

func found(t *testing.T, db *pebble.Store, n uint64) {
	t.Helper()
	var missing int
	for i := range n {
		got, err := db.Spans().Trace(context.Background(), noise(i).TraceID)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d acknowledged spans are missing", missing, n)
	}
}

// A store that fills its own disk refuses before the last byte, answers reads
// meanwhile, and accepts again as soon as there is room.
func TestOwnDataFillsDisk(t *testing.T) {
	disk := storetest.SmallDisk(t, "128m")
	dir := filepath.Join(disk, "data")
	db, err := pebble.Open(dir, pebble.Options{Every: -1, Log: mute})
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for ; ; n++ {
		if err = db.Spans().Put(t.Context(), []store.Span{noise(n)}); err != nil {
			break
		}
		if n > 20_000 {
			t.Fatal("160 MB went into a disk of 128 MB")
		}
	}
	if e := errs.From(err); e.Kind() != errs.Unavailable || e.RetryDelay() == 0 {
		t.Errorf("a full disk gave %v, retry %v", err, e.RetryDelay())
	}
	t.Logf("refused after %d spans of 8 KiB: %v", n, err)
	found(t, db, n)
	if err := db.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if db, err = pebble.Open(dir, pebble.Options{Every: -1, Log: mute}); err != nil {
		t.Fatal(err)
	}
	found(t, db, n)
	if err := db.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// Somebody else fills the disk to the last byte while spans arrive: Put
// refuses quickly, nothing dies, and when the room is back so is the store.
func TestDiskFullToTheLastByte(t *testing.T) {
	disk := storetest.SmallDisk(t, "256m") // far more than the store takes here
	dir := filepath.Join(disk, "data")
	opts := pebble.Options{Every: -1, Reserve: -1, Memtable: 1 << 20, Log: mute}
	db, err := pebble.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	var next atomic.Uint64
	var acked sync.Map
	var wg sync.WaitGroup
	sender := func(stop <-chan struct{}) {
		for {
			select {
			case <-stop:
				return
			default:
			}
			n := next.Add(1)
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			err := db.Spans().Put(ctx, []store.Span{noise(n)})
			cancel()
			switch {
			case err == nil:
				acked.Store(n, true)
			case errs.KindOf(err) != errs.Unavailable:
				t.Errorf("want Unavailable, got %v", err)
				return
			default:
				return
			}
		}
	}
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() { sender(stop) })
	}
	empty := storetest.Fill(t, disk)
	began := time.Now()
	wg.Wait() // every sender ends with a refusal
	t.Logf("all senders were refused %v after the disk was full", time.Since(began).Round(time.Millisecond))
	if _, err := db.Spans().Search(t.Context(), store.SpanQuery{Limit: 1}); err != nil {
		t.Errorf("reading on a full disk: %v", err)
	}
	empty()
	deadline := time.Now().Add(10 * time.Second)
	for {
		n := next.Add(1)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err = db.Spans().Put(ctx, []store.Span{noise(n)})
		cancel()
		if err == nil {
			acked.Store(n, true)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no recovery: %v", err)
		}
	}
	check := func() {
		missing, all := 0, 0
		acked.Range(func(k, _ any) bool {
			got, err := db.Spans().Trace(t.Context(), noise(k.(uint64)).TraceID)
			if err != nil {
				t.Fatal(err)
			}
			all++
			if len(got) != 1 {
				missing++
			}
			return true
		})
		if missing > 0 {
			t.Errorf("%d of %d acknowledged spans are missing", missing, all)
		}
		t.Logf("%d acknowledged spans, all found", all)
	}
	check()
	if err := db.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if db, err = pebble.Open(dir, opts); err != nil {
		t.Fatal(err)
	}
	check()
	if err := db.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// Closing while the disk is full says what happened, takes seconds, and loses
// nothing that was acknowledged.
func TestCloseOnFullDisk(t *testing.T) {
	disk := storetest.SmallDisk(t, "48m")
	dir := filepath.Join(disk, "data")
	db, err := pebble.Open(dir, pebble.Options{Every: -1, Reserve: -1, Log: mute})
	if err != nil {
		t.Fatal(err)
	}
	const n = 200
	for i := range uint64(n) {
		if err := db.Spans().Put(t.Context(), []store.Span{noise(i)}); err != nil {
			t.Fatal(err)
		}
	}
	empty := storetest.Fill(t, disk)
	for i := uint64(n); i < n+100; i++ { // until the log needs a new block
		if err = db.Spans().Put(t.Context(), []store.Span{noise(i)}); err != nil {
			break
		}
	}
	if errs.KindOf(err) != errs.Unavailable {
		t.Fatalf("put on a full disk: %v", err)
	}
	began := time.Now()
	err = db.Close()
	t.Logf("close took %v: %v", time.Since(began).Round(time.Millisecond), err)
	if time.Since(began) > 10*time.Second {
		t.Error("close took too long")
	}
	if err := db.Spans().Put(t.Context(), []store.Span{noise(1)}); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("put after close: %v", err)
	}
	if _, err := pebble.Open(dir, pebble.Options{Every: -1, Log: mute}); errs.KindOf(err) != errs.Unavailable || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("open on a full disk: %v", err)
	} else {
		t.Log(err)
	}
	empty()
	if db, err = pebble.Open(dir, pebble.Options{Every: -1, Reserve: -1, Log: mute}); err != nil {
		t.Fatal(err)
	}
	found(t, db, n)
	if err := db.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// Opening meets a full disk only halfway, while it writes what the log holds:
// it says so and does not wait.
func TestOpenFillsDisk(t *testing.T) {
	disk := storetest.SmallDisk(t, "40m")
	dir := filepath.Join(disk, "data")
	opts := pebble.Options{Every: -1, Reserve: -1, Log: mute}
	db, err := pebble.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	acked := uint64(0)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err = db.Spans().Put(ctx, []store.Span{noise(acked)})
		cancel()
		if err != nil {
			break
		}
		acked++
	}
	t.Logf("%d spans filled the disk: %v", acked, err)
	_ = db.Close() // cannot flush
	began := time.Now()
	db, err = pebble.Open(dir, opts)
	if time.Since(began) > 10*time.Second {
		t.Errorf("open took %v", time.Since(began))
	}
	t.Logf("open: %v", err)
	switch {
	case err == nil: // closing the old one made enough room
		found(t, db, acked)
		_ = db.Close()
	case errs.KindOf(err) != errs.Unavailable, !errors.Is(err, syscall.ENOSPC):
		t.Errorf("open: %v", err)
	}
}
