// Package warehouse is the shop's warehouse: a plain net/http program that
// knows nothing of Surefoot and reports to nobody. It is the outside world.
//
//	w, err := warehouse.Open("warehouse.db")
//	http.ListenAndServe(addr, w.Handler()) // POST /dispatches, GET /dispatches/sum
//
// It packs each order once, however often it is told. Its book is durable.
//
// It must not import anything of this repository.
package warehouse

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	_ "modernc.org/sqlite" // driver "sqlite"
)

// Dispatch is what POST /dispatches takes: goods to be sent for one order.
type Dispatch struct {
	OrderID  string `json:"orderId"` // idempotency key
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

// Sum is what GET /dispatches/sum says.
type Sum struct {
	Orders int64 `json:"orders"`
	Items  int64 `json:"items"`
}

// Warehouse is a running warehouse. Its methods are safe for concurrent use.
type Warehouse struct{ db *sql.DB }

// Open opens the book in file, creating it when missing.
func Open(file string) (*Warehouse, error) {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(NORMAL)", "cache_size(-512)"}}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(2)
	if _, err := db.Exec(`CREATE TABLE IF NOT EXISTS dispatches
		(order_id TEXT PRIMARY KEY, sku TEXT NOT NULL, quantity INTEGER NOT NULL, at INTEGER NOT NULL)`); err != nil {
		db.Close()
		return nil, fmt.Errorf("warehouse book %s: %w", file, err)
	}
	return &Warehouse{db: db}, nil
}

// Close closes the book. Stop serving first.
func (wh *Warehouse) Close() error { return wh.db.Close() }

// Handler is the warehouse's API: POST /dispatches answers 201, or 200 when the
// order is already packed, or 409 when it was packed with other goods.
func (wh *Warehouse) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /dispatches", wh.dispatch)
	mux.HandleFunc("GET /dispatches/sum", func(w http.ResponseWriter, r *http.Request) {
		var s Sum
		if err := wh.db.QueryRowContext(r.Context(), "SELECT COUNT(*), COALESCE(SUM(quantity), 0) FROM dispatches").Scan(&s.Orders, &s.Items); err != nil {
			refuse(w, http.StatusInternalServerError, "the book failed")
			return
		}
		answer(w, http.StatusOK, s)
	})
	return mux
}

// Serve answers on ln until ctx ends, then gives requests under way two seconds
// and returns. It closes ln.
func (wh *Warehouse) Serve(ctx context.Context, ln net.Listener) error {
	s := &http.Server{Handler: wh.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	failed := make(chan error, 1)
	var all sync.WaitGroup
	all.Go(func() { failed <- s.Serve(ln) })
	defer all.Wait()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if s.Shutdown(last) != nil {
		s.Close()
	}
	return nil
}

var errOtherGoods = errors.New("this order was packed with other goods")

func (wh *Warehouse) dispatch(w http.ResponseWriter, r *http.Request) {
	var d Dispatch
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&d); err != nil {
		refuse(w, http.StatusBadRequest, "the body is not a dispatch in JSON")
		return
	}
	if d.OrderID == "" || d.SKU == "" || d.Quantity <= 0 {
		refuse(w, http.StatusBadRequest, "orderId, sku and a positive quantity are needed")
		return
	}
	fresh, err := wh.pack(context.WithoutCancel(r.Context()), d)
	switch {
	case errors.Is(err, errOtherGoods):
		refuse(w, http.StatusConflict, err.Error())
	case err != nil:
		refuse(w, http.StatusInternalServerError, "the book failed")
	case fresh:
		answer(w, http.StatusCreated, d)
	default:
		answer(w, http.StatusOK, d)
	}
}

// pack writes d once per order; fresh says that this call wrote it.
func (wh *Warehouse) pack(ctx context.Context, d Dispatch) (fresh bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	res, err := wh.db.ExecContext(ctx, "INSERT INTO dispatches (order_id, sku, quantity, at) VALUES (?, ?, ?, ?) ON CONFLICT (order_id) DO NOTHING",
		d.OrderID, d.SKU, d.Quantity, time.Now().UnixMilli())
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	if err != nil || n == 1 {
		return n == 1, err
	}
	var have Dispatch
	err = wh.db.QueryRowContext(ctx, "SELECT order_id, sku, quantity FROM dispatches WHERE order_id = ?", d.OrderID).Scan(&have.OrderID, &have.SKU, &have.Quantity)
	if err == nil && have != d {
		err = errOtherGoods
	}
	return false, err
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, why string) {
	answer(w, status, map[string]string{"error": why})
}
