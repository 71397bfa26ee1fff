package pebble_test

import (
	"testing"

	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/store/pebble"
	"github.com/surefoot-go/surefoot/server/storetest"
)

func open(t *testing.T, dir string) *pebble.Store {
	t.Helper()
	db, err := pebble.Open(dir, pebble.Options{Reserve: -1, Every: -1})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestSpansContract(t *testing.T) {
	storetest.Spans(t, func(t *testing.T, dir string) (store.Spans, func() error) {
		db := open(t, dir)
		return db.Spans(), db.Close
	})
}

func TestLogsContract(t *testing.T) {
	storetest.Logs(t, func(t *testing.T, dir string) (store.Logs, func() error) {
		db := open(t, dir)
		return db.Logs(), db.Close
	})
}
