package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/shop/inventory"
	"github.com/surefoot-go/surefoot/shop/pgtest"
	"github.com/surefoot-go/surefoot/shop/shopv1"
	"github.com/surefoot-go/surefoot/shop/sqldb"
)

// house is a warehouse of one function.
type house func(*http.Request) int

func (h house) RoundTrip(r *http.Request) (*http.Response, error) {
	status := h(r)
	if status == 0 {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	w.WriteHeader(status)
	return w.Result(), nil
}

func open(t *testing.T, dsn string, h house) *inventory.Service {
	t.Helper()
	db, err := sqldb.Open(t.Context(), dsn, sqldb.Options{Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Migrate(t.Context(), inventory.Migrations()), inventory.Seed(t.Context(), db)); err != nil {
		t.Fatal(err)
	}
	return &inventory.Service{DB: db, Warehouse: "http://warehouse", HTTP: &http.Client{Transport: h},
		Observe: observe.Sinks{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}}
}

// stock returns available, reserved and sold of a SKU.
func stock(t *testing.T, s *inventory.Service, sku string) (n [3]int64) {
	t.Helper()
	if err := s.DB.Row(t.Context(), []any{&n[0], &n[1], &n[2]}, "SELECT available, reserved, sold FROM stock WHERE sku = ?", sku); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestBothEngines(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { contract(t, filepath.Join(t.TempDir(), "stock.db")) })
	t.Run("postgres", func(t *testing.T) { contract(t, pgtest.Start(t)) })
}

func contract(t *testing.T, dsn string) {
	var told atomic.Int64
	s := open(t, dsn, func(*http.Request) int { told.Add(1); return 201 })
	defer s.DB.Close()
	ctx, sku := t.Context(), inventory.SKU(1)
	const all = inventory.StartStock
	reserve := func(id string, n int32) error {
		_, err := s.Reserve(ctx, &shopv1.ReserveRequest{OrderId: id, Sku: sku, Quantity: n})
		return err
	}
	confirm := func(id string) error {
		_, err := s.Confirm(ctx, &shopv1.ConfirmRequest{OrderId: id})
		return err
	}
	release := func(id string) error {
		_, err := s.Release(ctx, &shopv1.ReleaseRequest{OrderId: id})
		return err
	}
	for _, c := range []struct {
		name string
		do   func() error
		kind errs.Kind // 0, Internal, means no error
		want [3]int64
	}{
		{"reserve", func() error { return reserve("a", 3) }, 0, [3]int64{all - 3, 3, 0}},
		{"again", func() error { return reserve("a", 3) }, 0, [3]int64{all - 3, 3, 0}},
		{"other goods", func() error { return reserve("a", 4) }, errs.Conflict, [3]int64{all - 3, 3, 0}},
		{"confirm", func() error { return confirm("a") }, 0, [3]int64{all - 3, 0, 3}},
		{"confirm again", func() error { return confirm("a") }, 0, [3]int64{all - 3, 0, 3}},
		{"release what is sold", func() error { return release("a") }, errs.FailedPrecondition, [3]int64{all - 3, 0, 3}},
		{"reserve to release", func() error { return reserve("b", 5) }, 0, [3]int64{all - 8, 5, 3}},
		{"release", func() error { return release("b") }, 0, [3]int64{all - 3, 0, 3}},
		{"release again", func() error { return release("b") }, 0, [3]int64{all - 3, 0, 3}},
		{"confirm what is released", func() error { return confirm("b") }, errs.FailedPrecondition, [3]int64{all - 3, 0, 3}},
		{"reserve what is released", func() error { return reserve("b", 5) }, errs.FailedPrecondition, [3]int64{all - 3, 0, 3}},
		{"release what never was", func() error { return release("c") }, 0, [3]int64{all - 3, 0, 3}},
		{"and then reserve, too late", func() error { return reserve("c", 1) }, errs.FailedPrecondition, [3]int64{all - 3, 0, 3}},
		{"confirm what never was", func() error { return confirm("d") }, errs.NotFound, [3]int64{all - 3, 0, 3}},
		{"nothing", func() error { return reserve("e", 0) }, errs.Invalid, [3]int64{all - 3, 0, 3}},
		{"no order", func() error { return reserve("", 1) }, errs.Invalid, [3]int64{all - 3, 0, 3}},
	} {
		err := c.do()
		if (err == nil) != (c.kind == 0) || err != nil && errs.KindOf(err) != c.kind {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := stock(t, s, sku); got != c.want {
			t.Errorf("%s: stock %v, want %v", c.name, got, c.want)
		}
	}
	if told.Load() != 1 {
		t.Errorf("the warehouse was told %d times of one sale", told.Load())
	}
	if _, err := s.Reserve(ctx, &shopv1.ReserveRequest{OrderId: "f", Sku: "sku-99", Quantity: 1}); errs.From(err).Code() != "unknown_sku" {
		t.Errorf("unknown SKU: %v", err)
	}

	// Fifty customers want the last ten, all at once; each order twice.
	sku = inventory.SKU(2)
	if _, err := s.DB.Exec(ctx, "UPDATE stock SET available = 10, at_start = 10 WHERE sku = ?", sku); err != nil {
		t.Fatal(err)
	}
	var got, soldOut atomic.Int64
	var wait sync.WaitGroup
	for i := range 100 {
		wait.Go(func() {
			switch err := reserve(fmt.Sprint("rush", i/2), 1); {
			case err == nil:
				got.Add(1)
			case errs.From(err).Code() == "sold_out":
				soldOut.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if got.Load() != 20 || soldOut.Load() != 80 || stock(t, s, sku) != [3]int64{0, 10, 0} {
		t.Errorf("%d reserved, %d sold out, stock %v: want ten orders to have it, each told twice", got.Load(), soldOut.Load(), stock(t, s, sku))
	}
}

func TestDispatchesFollowWhenTheWarehouseIsBack(t *testing.T) {
	dsn := filepath.Join(t.TempDir(), "stock.db")
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var told []time.Duration
		status := func() int {
			told = append(told, time.Since(start))
			switch {
			case time.Since(start) < 10*time.Second:
				return 0
			case time.Since(start) < 20*time.Second:
				return 503
			}
			return 201
		}
		s := open(t, dsn, func(*http.Request) int { return status() })
		defer s.DB.Close()
		for i := range 3 {
			id := fmt.Sprint("o-", i)
			if _, err := s.Reserve(t.Context(), &shopv1.ReserveRequest{OrderId: id, Sku: inventory.SKU(1), Quantity: 1}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Confirm(t.Context(), &shopv1.ConfirmRequest{OrderId: id}); err != nil {
				t.Fatalf("a sale must not need the warehouse: %v", err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		outbox := safe.Go(ctx, "dispatches", s.Dispatches)
		time.Sleep(40 * time.Second) // fake
		cancel()
		if err := outbox.Wait(); err != nil {
			t.Error(err)
		}
		var left int
		if err := s.DB.Row(t.Context(), []any{&left}, "SELECT COUNT(*) FROM dispatches WHERE next_at > 0"); err != nil || left != 0 {
			t.Errorf("%d notices left, %v", left, err)
		}
		if n := len(told); n < 9 || n > 40 {
			t.Errorf("the warehouse was asked %d times in 20s of absence; back-off should make that few", n)
		}
		if last := told[len(told)-1]; last > 31*time.Second {
			t.Errorf("the last notice went out at %v", last)
		}
	})
}

func TestARefusedDispatchIsNotRepeated(t *testing.T) {
	dsn := filepath.Join(t.TempDir(), "stock.db")
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := open(t, dsn, func(*http.Request) int { asked++; return 409 })
		defer s.DB.Close()
		s.Reserve(t.Context(), &shopv1.ReserveRequest{OrderId: "o", Sku: inventory.SKU(1), Quantity: 1})
		if _, err := s.Confirm(t.Context(), &shopv1.ConfirmRequest{OrderId: "o"}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s.Dispatches(ctx)
		var reason string
		if err := s.DB.Row(t.Context(), []any{&reason}, "SELECT reason FROM dispatches WHERE order_id = 'o' AND next_at = 0"); err != nil || reason == "" || asked != 1 {
			t.Errorf("reason %q, asked %d times, %v", reason, asked, err)
		}
	})
}
