package invariant_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/shop/invariant"
	"github.com/surefoot-go/surefoot/shop/inventory"
	"github.com/surefoot-go/surefoot/shop/order"
	"github.com/surefoot-go/surefoot/shop/payment"
	"github.com/surefoot-go/surefoot/shop/sqldb"
)

// world answers for bank and warehouse.
type world map[string]string

func (w world) RoundTrip(r *http.Request) (*http.Response, error) {
	body, ok := w[r.URL.Host]
	if !ok {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

const ( // one paid order of two pieces for 12.00, and one declined
	goodBank  = `{"count":1,"orders":1,"amount":1200}`
	goodHouse = `{"orders":1,"items":2}`
)

// books writes consistent books and returns their checker, and a way to spoil
// one.
func books(t *testing.T) (c invariant.Checker, outside world, spoil func(book, stmt string)) {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name+".db") }
	do := func(book string, migrations fs.FS, stmts ...string) {
		t.Helper()
		db, err := sqldb.Open(t.Context(), path(book), sqldb.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if migrations != nil {
			if err := db.Migrate(t.Context(), migrations); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range stmts {
			if _, err := db.Exec(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	do("orders", order.Migrations(), `INSERT INTO orders (id, user_id, key, sku, quantity, state, amount, paid, next_at, created_at, updated_at) VALUES
		('o-1', 'u', 'a', 'sku-01', 2, 'paid', 1200, 1200, 0, 1, 1), ('o-2', 'u', 'b', 'sku-01', 1, 'declined', 600, 0, 0, 1, 1)`)
	do("payments", payment.Migrations(), `INSERT INTO payments (order_id, user_id, amount, currency, priced_by, status, created_at, updated_at) VALUES
		('o-1', 'u', 1200, 'EUR', 'v1', 'paid', 1, 1), ('o-2', 'u', 600, 'EUR', 'v1', 'declined', 1, 1)`)
	do("stock", inventory.Migrations(), `INSERT INTO stock (sku, price, currency, at_start, available, reserved, sold) VALUES ('sku-01', 600, 'EUR', 10, 8, 0, 2)`)
	outside = world{"bank": goodBank, "warehouse": goodHouse}
	c = invariant.Checker{Bank: "http://bank", Warehouse: "http://warehouse", Orders: path("orders"), Payments: path("payments"), Stock: path("stock"),
		Accepted: []string{"o-1", "o-2"}, HTTP: &http.Client{Transport: outside}}
	return c, outside, func(book, stmt string) { t.Helper(); do(book, nil, stmt) }
}

func TestEveryLieIsFound(t *testing.T) {
	for _, c := range []struct {
		name, book, stmt string
		outside          world
		accepted         []string
		says             string // "" means the books are right
	}{
		{name: "all is well"},
		{name: "charged twice", outside: world{"bank": `{"count":2,"orders":1,"amount":2400}`}, says: "charged more than once: want 0, got 1"},
		{name: "charged for nothing", outside: world{"bank": `{"count":2,"orders":2,"amount":2400}`}, says: "charged at the bank = paid orders, money: want 1200, got 2400"},
		{name: "paid and not charged", outside: world{"bank": `{"count":0,"orders":0,"amount":0}`}, says: "count: want 1, got 0"},
		{name: "order lost", accepted: []string{"o-1", "o-3"}, says: "lost: o-3"},
		{name: "accepted and canceled", book: "orders", stmt: "UPDATE orders SET state = 'canceled' WHERE id = 'o-2'", says: "accepted, then canceled: o-2"},
		{name: "stock vanished", book: "stock", stmt: "UPDATE stock SET available = 7", says: "stock sold + left = stock at start: want 10, got 9"},
		{name: "stock kept back", book: "stock", stmt: "UPDATE stock SET available = 7, reserved = 1", says: "stock still reserved: want 0, got 1"},
		{name: "sold without an order", book: "stock", stmt: "UPDATE stock SET available = 7, sold = 3", says: "pieces sold = pieces in paid orders: want 2, got 3"},
		{name: "not dispatched", outside: world{"warehouse": `{"orders":0,"items":0}`}, says: "pieces dispatched = pieces sold: want 2, got 0"},
		{name: "payment's book differs", book: "payments", stmt: "UPDATE payments SET amount = 1 WHERE order_id = 'o-1'", says: "payment's book = paid orders, money: want 1200, got 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			checker, outside, spoil := books(t)
			for host, body := range c.outside {
				outside[host] = body
			}
			if c.stmt != "" {
				spoil(c.book, c.stmt)
			}
			if c.accepted != nil {
				checker.Accepted = c.accepted
			}
			r, err := checker.Check(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			err = r.Err()
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
			if mark := "✗"; strings.Contains(r.String(), mark) != (c.says != "") || strings.Contains(r.Text("zh"), mark) != (c.says != "") {
				t.Errorf("report:\n%s%s", r, r.Text("zh"))
			}
		})
	}
}

// TestCheckWaits: what is on its way is waited for, but not for ever.
func TestCheckWaits(t *testing.T) {
	for _, c := range []struct{ name, book, stmt, cure, says string }{
		{"order", "orders", "UPDATE orders SET next_at = 5 WHERE id = 'o-2'", "UPDATE orders SET next_at = 0", "orders not settled"},
		{"payment", "payments", "UPDATE payments SET status = 'pending' WHERE order_id = 'o-2'", "UPDATE payments SET status = 'declined' WHERE order_id = 'o-2'", "payments not decided"},
		{"notice", "stock", "INSERT INTO dispatches (order_id, sku, quantity, next_at, updated_at) VALUES ('o-1', 'sku-01', 2, 5, 1)", "DELETE FROM dispatches", "dispatches not sent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				checker, _, spoil := books(t)
				spoil(c.book, c.stmt)
				if n, err := checker.Unsettled(t.Context()); n != 1 || err != nil {
					t.Errorf("%d unsettled, %v", n, err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				r, err := checker.Check(ctx)
				if err != nil || r.Err() == nil || !strings.Contains(r.Err().Error(), c.says) || r.Took < 3*time.Second {
					t.Errorf("after waiting %v: %v, %v; want %q", r.Took, r.Err(), err, c.says)
				}
				timer := time.AfterFunc(2*time.Second, func() { spoil(c.book, c.cure) })
				defer timer.Stop()
				if r, err := checker.Check(t.Context()); err != nil || r.Err() != nil || r.Took < 2*time.Second {
					t.Errorf("%v %v after %v", err, r.Err(), r.Took)
				}
			})
		})
	}
}

func TestABookThatCannotBeReadIsAnError(t *testing.T) {
	c, outside, _ := books(t)
	delete(outside, "bank")
	if _, err := c.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "book of the bank") {
		t.Errorf("no bank: %v", err)
	}
	c.Stock += ".none"
	if _, err := c.Unsettled(t.Context()); err == nil || !strings.Contains(err.Error(), "book of stock") {
		t.Errorf("no stock: %v", err)
	}
}
