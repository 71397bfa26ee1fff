// Package storetest is the contract of package store as tests. A driver
// proves itself with one call for each part it implements:
//
//	func TestSpans(t *testing.T) {
//		storetest.Spans(t, func(t *testing.T, dir string) (store.Spans, func() error) {
//			db, err := mine.Open(dir)
//			if err != nil {
//				t.Fatal(err)
//			}
//			return db, db.Close
//		})
//	}
//
// It does not test what happens on a full disk or after a kill -9: those need
// a process and a disk of their own, and each driver has its own tests.
package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/store"
)

// start is a whole second a little ago, so that no engine's retention drops
// what the suites keep. It is the same for the whole run.
var start = time.Now().UTC().Truncate(time.Second).Add(-10 * time.Minute)

func at(d time.Duration) time.Time { return start.Add(d) }

// traceID and spanID give different ids for different numbers, never zero.
func traceID(n int) store.TraceID {
	var id store.TraceID
	copy(id[:], fmt.Sprintf("t%015d", n))
	return id
}

func spanID(n int) store.SpanID {
	var id store.SpanID
	copy(id[:], fmt.Sprintf("s%07d", n))
	return id
}

// reopened runs f on a store, closes it, opens it again and runs f once more,
// so that every read of a suite is true before and after a restart.
func reopened[S any](t *testing.T, dir string, open func(*testing.T, string) (S, func() error), fill, check func(*testing.T, S)) {
	t.Helper()
	s, closeStore := open(t, dir)
	fill(t, s)
	check(t, s)
	if err := closeStore(); err != nil {
		t.Fatalf("close: %v", err)
	}
	s, closeStore = open(t, dir)
	check(t, s)
	if err := closeStore(); err != nil {
		t.Fatalf("second close: %v", err)
	}
}
