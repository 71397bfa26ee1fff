package tsdb_test

import (
	"testing"

	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/store/tsdb"
	"github.com/surefoot-go/surefoot/server/storetest"
)

func TestSeriesContract(t *testing.T) {
	storetest.Series(t, func(t *testing.T, dir string) (store.Series, func() error) {
		db, err := tsdb.Open(dir, tsdb.Options{Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		return db, db.Close
	})
}
