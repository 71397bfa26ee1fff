package tsdb_test

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/store/tsdb"
	"github.com/surefoot-go/surefoot/server/storetest"
)

var mute = slog.New(slog.NewTextHandler(io.Discard, nil))

// round is 50 series' values at one second.
func round(at time.Time, n int) []store.Sample {
	out := make([]store.Sample, 50)
	for i := range out {
		out[i] = store.Sample{At: at.Add(time.Duration(n) * time.Second), Value: float64(n)*1.7 + float64(i),
			Labels: []store.Label{{Name: "__name__", Value: "m"}, {Name: "n", Value: fmt.Sprint(i)}}}
	}
	return out
}

// The disk fills to the last byte while samples arrive: Put refuses, nothing
// dies, and when the room is back so is the store, with all it acknowledged.
func TestDiskFull(t *testing.T) {
	for _, reserve := range []int64{0, -1} {
		t.Run(fmt.Sprint("reserve ", reserve), func(t *testing.T) {
			disk := storetest.SmallDisk(t, "48m")
			dir := filepath.Join(disk, "data")
			opts := tsdb.Options{Reserve: reserve, Log: mute, Ahead: time.Hour * 24}
			db, err := tsdb.Open(dir, opts)
			if err != nil {
				t.Fatal(err)
			}
			at := time.Now().Truncate(time.Second)
			acked := 0
			put := func() error {
				_, err := db.Put(t.Context(), round(at, acked))
				if err == nil {
					acked++
				}
				return err
			}
			for range 300 {
				if err := put(); err != nil {
					t.Fatal(err)
				}
			}
			empty := storetest.Fill(t, disk)
			for i := 0; err == nil && i < 20_000; i++ {
				err = put()
			}
			if errs.KindOf(err) != errs.Unavailable {
				t.Fatalf("a full disk gave %v after %d rounds", err, acked)
			}
			t.Logf("refused after %d rounds: %v", acked, err)
			if err := put(); errs.KindOf(err) != errs.Unavailable {
				t.Errorf("still full, but %v", err)
			}
			empty()
			if err := put(); err != nil {
				t.Fatalf("no recovery: %v", err)
			}
			for range 300 {
				if err := put(); err != nil {
					t.Fatal(err)
				}
			}
			check := func() {
				res, err := db.Query(t.Context(), "min(count_over_time(m[12h]))", at.Add(time.Duration(acked)*time.Second))
				if err != nil {
					t.Fatal(err)
				}
				if len(res.Series) != 1 || res.Series[0].Points[0].Value < float64(acked) {
					t.Errorf("%+v, want %d samples in every series", res, acked)
				}
			}
			check()
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if db, err = tsdb.Open(dir, opts); err != nil {
				t.Fatal(err)
			}
			check()
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
