package tsdb_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/errs"
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

func sample(name string, at time.Time, v float64) store.Sample {
	return store.Sample{Labels: []store.Label{{Name: "__name__", Value: name}}, At: at, Value: v}
}

func TestSecondCopyIsTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "down")
	db, err := tsdb.Open(dir, tsdb.Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tsdb.Open(dir, tsdb.Options{Reserve: -1}); errs.KindOf(err) != errs.FailedPrecondition {
		t.Errorf("second open: %v", err)
	}
	for range 2 {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Put(t.Context(), []store.Sample{sample("m", time.Now(), 1)}); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("put after close: %v", err)
	}
	if _, err := db.Query(t.Context(), "m", time.Now()); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("query after close: %v", err)
	}
}

// New series are dropped beyond the limit, known ones go on.
func TestMaxSeries(t *testing.T) {
	db, err := tsdb.Open(t.TempDir(), tsdb.Options{Reserve: -1, MaxSeries: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	at := time.Now()
	for i := range 20 {
		dropped, err := db.Put(t.Context(), []store.Sample{sample(fmt.Sprint("m", i), at, 1), sample("m0", at.Add(time.Duration(i+1)*time.Millisecond), 1)})
		if err != nil {
			t.Fatal(err)
		}
		if want := max(0, min(1, i-9)); dropped != want {
			t.Errorf("series %d: %d dropped, want %d", i, dropped, want)
		}
	}
}

func TestLimitsOfQueries(t *testing.T) {
	db, err := tsdb.Open(t.TempDir(), tsdb.Options{Reserve: -1, MaxSamples: 100, Timeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	at := time.Now()
	var batch []store.Sample
	for i := range 5000 {
		batch = append(batch, sample("m", at.Add(time.Duration(i)*time.Millisecond), 1))
	}
	if _, err := db.Put(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Query(t.Context(), "m[1h]", at.Add(time.Minute)); errs.KindOf(err) != errs.Invalid && errs.KindOf(err) != errs.Timeout {
		t.Errorf("too many samples: %v", err)
	}
	if _, err := db.Query(t.Context(), strings.Repeat("(", 20_000), at); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a long query: %v", err)
	}
	if _, err := db.Query(t.Context(), strings.Repeat("(", 8_000)+"1"+strings.Repeat(")", 8_000), at); err != nil && errs.KindOf(err) != errs.Invalid && errs.KindOf(err) != errs.Timeout {
		t.Errorf("a deep query: %v", err)
	}
}

// Tidy does what Prometheus' own loop would: finished chunks and blocks go to
// disk, and everything is still found.
func TestTidy(t *testing.T) {
	dir := t.TempDir()
	clock := time.Now()
	db, err := tsdb.Open(dir, tsdb.Options{Reserve: -1, Ahead: 100 * time.Hour, Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	at := clock.Truncate(2 * time.Hour)
	const n = 8 * 60 * 2
	for i := range n {
		if _, err := db.Put(t.Context(), []store.Sample{sample("m", at.Add(time.Duration(i)*30*time.Second), float64(i))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	blocks, _ := filepath.Glob(filepath.Join(dir, "*", "meta.json"))
	if len(blocks) == 0 {
		t.Error("8 hours made no block")
	}
	for range 2 {
		res, err := db.Query(t.Context(), "count_over_time(m[9h])", at.Add(8*time.Hour))
		if err != nil || len(res.Series) != 1 || res.Series[0].Points[0].Value != n {
			t.Errorf("%+v %v", res, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if db, err = tsdb.Open(dir, tsdb.Options{Reserve: -1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
