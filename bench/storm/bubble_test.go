package main

import (
	"testing"
	"testing/synctest"
	"time"
)

// future is when every story begins. A bubble's clock starts in the year 2000,
// and go-zero measures time from the real start of the process, which must not
// lie ahead.
var future = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// bubble runs f in fake time.
func bubble(t *testing.T, f func()) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(future))
		f()
	})
}
