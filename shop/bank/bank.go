// Package bank is the shop's bank: a plain net/http program that knows nothing
// of Surefoot and reports to nobody. It is the outside world.
//
//	b, err := bank.Open("bank.db")
//	http.ListenAndServe(addr, b.Handler()) // POST /charges, GET /charges, GET /charges/sum
//	http.ListenAndServe(admin, b.Admin())  // PUT /admin/mode, and the same GETs
//
// Its ledger is durable and idempotent: one Idempotency-Key is one charge, for
// ever, restarts included. Its admin switch makes it fail as banks do: "down"
// answers 503 and books nothing; "slow" books at once and answers late, so that
// a caller who gave up does not know whether he paid.
//
// It must not import anything of this repository.
package bank

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// CardLimit is the largest single charge, in minor units; above it the bank
// declines.
const CardLimit = 1_000_000

// Mode is how the bank behaves, as PUT /admin/mode takes it.
type Mode struct {
	Mode    string `json:"mode"`              // "up", "down" or "slow"
	DelayMs int    `json:"delayMs,omitempty"` // how late "slow" answers; 0 means 2000
}

// Charge is one line of the ledger.
type Charge struct {
	ChargeID string `json:"chargeId"`
	Key      string `json:"idempotencyKey"`
	OrderID  string `json:"orderId"`
	Account  string `json:"account"`
	Amount   int64  `json:"amount"` // minor units
	Currency string `json:"currency"`
	Status   string `json:"status"` // "charged" or "declined"
	Reason   string `json:"reason,omitempty"`
	At       int64  `json:"atMs"` // milliseconds since 1970
}

// Sum is what GET /charges/sum says: the money taken, declined charges left
// out. Orders below Count means that an order was charged twice.
type Sum struct {
	Count  int64 `json:"count"`
	Orders int64 `json:"orders"`
	Amount int64 `json:"amount"` // minor units
}

// Bank is a running bank. Its methods are safe for concurrent use.
type Bank struct {
	ledger *ledger
	mode   atomic.Pointer[Mode]
}

// Open opens the ledger in file, creating it when missing. The mode is "up".
func Open(file string) (*Bank, error) {
	l, err := openLedger(file)
	if err != nil {
		return nil, fmt.Errorf("bank ledger %s: %w", file, err)
	}
	b := &Bank{ledger: l}
	b.mode.Store(&Mode{Mode: "up"})
	return b, nil
}

// Close closes the ledger. Stop serving first.
func (b *Bank) Close() error { return b.ledger.close() }

// Handler is the bank as its customers see it.
func (b *Bank) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charges", b.charge)
	b.reads(mux)
	return b.moody(mux)
}

// Admin is the switch, and the ledger's truth whatever the mode. It has no
// login: bind it to loopback.
func (b *Bank) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /admin/mode", b.setMode)
	mux.HandleFunc("GET /admin/mode", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, b.mode.Load()) })
	b.reads(mux)
	return mux
}

// Serve answers on both listeners until ctx ends, then gives requests under way
// two seconds and returns. It closes the listeners.
func (b *Bank) Serve(ctx context.Context, public, admin net.Listener) error {
	servers := []*http.Server{
		{Handler: b.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute},
		{Handler: b.Admin(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute},
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	for i, ln := range []net.Listener{public, admin} {
		all.Go(func() {
			if err := servers[i].Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				stop(err)
			}
		})
	}
	<-ctx.Done()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	for _, s := range servers {
		if s.Shutdown(last) != nil {
			s.Close()
		}
	}
	all.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// moody applies the mode to the customers' side.
func (b *Bank) moody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b.mode.Load().Mode == "down" {
			refuse(w, http.StatusServiceUnavailable, "the bank is closed")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (b *Bank) charge(w http.ResponseWriter, r *http.Request) {
	var in struct {
		OrderID  string `json:"orderId"`
		Account  string `json:"account"`
		Amount   int64  `json:"amount"`
		Currency string `json:"currency"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, "the body is not a charge in JSON")
		return
	}
	key := r.Header.Get("Idempotency-Key")
	switch {
	case key == "" || len(key) > 200:
		refuse(w, http.StatusBadRequest, "the header Idempotency-Key must have 1 to 200 characters")
		return
	case in.Amount <= 0:
		refuse(w, http.StatusBadRequest, "amount must be positive, in minor units")
		return
	case in.OrderID == "" || len(in.Currency) != 3:
		refuse(w, http.StatusBadRequest, "orderId and a currency of three letters are needed")
		return
	}
	want := Charge{Key: key, OrderID: in.OrderID, Account: in.Account, Amount: in.Amount, Currency: in.Currency, Status: "charged"}
	if in.Amount > CardLimit {
		want.Status, want.Reason = "declined", "the amount is over the card limit"
	}
	// A customer who hangs up must not leave the booking half decided.
	got, fresh, err := b.ledger.book(context.WithoutCancel(r.Context()), want)
	switch {
	case errors.Is(err, errOtherCharge):
		refuse(w, http.StatusConflict, err.Error())
		return
	case err != nil:
		refuse(w, http.StatusInternalServerError, "the ledger failed")
		return
	}
	if m := b.mode.Load(); m.Mode == "slow" {
		late := time.NewTimer(time.Duration(m.DelayMs) * time.Millisecond)
		defer late.Stop()
		select {
		case <-late.C:
		case <-r.Context().Done():
			return
		}
	}
	status := http.StatusOK
	switch {
	case got.Status == "declined":
		status = http.StatusPaymentRequired
	case fresh:
		status = http.StatusCreated
	}
	answer(w, status, got)
}

func (b *Bank) setMode(w http.ResponseWriter, r *http.Request) {
	var m Mode
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&m); err != nil {
		refuse(w, http.StatusBadRequest, `the body must be {"mode":"up|down|slow","delayMs":N}`)
		return
	}
	switch m.Mode {
	case "up", "down":
		m.DelayMs = 0
	case "slow":
		if m.DelayMs == 0 {
			m.DelayMs = 2000
		}
	}
	if m.Mode != "up" && m.Mode != "down" && m.Mode != "slow" || m.DelayMs < 0 || m.DelayMs > 60_000 {
		refuse(w, http.StatusBadRequest, "mode must be up, down or slow, and delayMs 0 to 60000")
		return
	}
	b.mode.Store(&m)
	answer(w, http.StatusOK, m)
}

// reads adds the ledger's questions, which change nothing.
func (b *Bank) reads(mux *http.ServeMux) {
	mux.HandleFunc("GET /charges/sum", func(w http.ResponseWriter, r *http.Request) {
		sum, err := b.ledger.sum(r.Context())
		if err != nil {
			refuse(w, http.StatusInternalServerError, "the ledger failed")
			return
		}
		answer(w, http.StatusOK, sum)
	})
	mux.HandleFunc("GET /charges", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		limit := 100
		if s := q.Get("limit"); s != "" {
			n, err := strconv.Atoi(s)
			if err != nil || n < 1 || n > 1000 {
				refuse(w, http.StatusBadRequest, "limit must be 1 to 1000")
				return
			}
			limit = n
		}
		list, err := b.ledger.list(r.Context(), q.Get("orderId"), q.Get("after"), q.Get("twice") == "true", limit)
		if err != nil {
			refuse(w, http.StatusInternalServerError, "the ledger failed")
			return
		}
		answer(w, http.StatusOK, map[string][]Charge{"charges": list})
	})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, why string) {
	answer(w, status, map[string]string{"error": why})
}
