package inventory

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/shop/shopv1"
	"github.com/surefoot-go/surefoot/shop/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations brings a database to the schema that Service needs; give it to
// sqldb's Migrate.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}

// The goods Seed puts on the shelf.
const (
	SKUs       = 50        // "sku-01" to "sku-50"
	StartStock = 1_000_000 // of each
	Currency   = "EUR"
)

// SKU returns the name of the i-th SKU, 1 to SKUs.
func SKU(i int) string { return fmt.Sprintf("sku-%02d", i) }

// Price returns the price of the i-th SKU, in minor units.
func Price(i int) int64 { return 475 + 125*int64(i) }

// Seed puts the shop's goods on the shelf, each SKU once: what is there already
// stays as it is. Every run gives the same goods.
func Seed(ctx context.Context, db *sqldb.DB) error {
	return db.Tx(ctx, "seed", func(tx *sqldb.Tx) error {
		for i := 1; i <= SKUs; i++ {
			if _, err := tx.Exec(tx.Context(), "INSERT INTO stock (sku, price, currency, at_start, available) VALUES (?, ?, ?, ?, ?) ON CONFLICT (sku) DO NOTHING",
				SKU(i), Price(i), Currency, StartStock, StartStock); err != nil {
				return err
			}
		}
		return nil
	})
}

// A reservation is reserved, then confirmed or released, and then stays so.
const (
	reserved  = "reserved"
	confirmed = "confirmed"
	released  = "released"
)

// shelf is the tables of stock.
type shelf struct{ db *sqldb.DB }

// reserve puts quantity of sku aside for order id, once.
func (s shelf) reserve(ctx context.Context, id, sku string, quantity int64) (*shopv1.Reservation, error) {
	const op = "inventory.reserve"
	out := &shopv1.Reservation{}
	err := s.db.Tx(ctx, "reserve", func(tx *sqldb.Tx) error {
		ctx, now := tx.Context(), time.Now().UnixMilli()
		n, err := tx.Exec(ctx, "INSERT INTO reservations (order_id, sku, quantity, status, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (order_id) DO NOTHING",
			id, sku, quantity, reserved, now, now)
		if err != nil {
			return err
		}
		if n == 0 { // a repeat, or one that comes after its own release
			if out, err = read(tx, id); err != nil {
				return err
			}
			switch {
			case out.Status == shopv1.ReservationStatus_RESERVATION_STATUS_RELEASED:
				return errs.New(errs.FailedPrecondition, op, "the order was released already")
			case out.Sku != sku || int64(out.Quantity) != quantity:
				return errs.New(errs.Conflict, op, "the order has reserved other goods")
			}
			return nil
		}
		n, err = tx.Exec(ctx, "UPDATE stock SET available = available - ?, reserved = reserved + ? WHERE sku = ? AND available >= ?", quantity, quantity, sku, quantity)
		if err != nil {
			return err
		}
		if n == 0 {
			var left int64
			if err := tx.Row(ctx, []any{&left}, "SELECT available FROM stock WHERE sku = ?", sku); errors.Is(err, sql.ErrNoRows) {
				return errs.New(errs.NotFound, op, "there is no such SKU").ID("unknown_sku").With("sku", sku)
			} else if err != nil {
				return err
			}
			return errs.New(errs.Conflict, op, "not enough in stock").ID("sold_out").With("sku", sku).With("left", left)
		}
		out, err = read(tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// confirm turns the reservation of order id into a sale, once; the dispatch
// notice to the warehouse is written in the same transaction, due at dueAt.
func (s shelf) confirm(ctx context.Context, id string, dueAt time.Time) (out *shopv1.Reservation, fresh bool, err error) {
	const op = "inventory.confirm"
	err = s.db.Tx(ctx, "confirm", func(tx *sqldb.Tx) error {
		ctx, now := tx.Context(), time.Now().UnixMilli()
		n, err := tx.Exec(ctx, "UPDATE reservations SET status = ?, updated_at = ? WHERE order_id = ? AND status = ?", confirmed, now, id, reserved)
		if err != nil {
			return err
		}
		if out, err = read(tx, id); errors.Is(err, sql.ErrNoRows) {
			return errs.New(errs.NotFound, op, "nothing is reserved for this order")
		} else if err != nil {
			return err
		}
		if n == 0 {
			if out.Status == shopv1.ReservationStatus_RESERVATION_STATUS_RELEASED {
				return errs.New(errs.FailedPrecondition, op, "the order was released already")
			}
			return nil
		}
		fresh = true
		if _, err := tx.Exec(ctx, "UPDATE stock SET reserved = reserved - ?, sold = sold + ? WHERE sku = ?", out.Quantity, out.Quantity, out.Sku); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO dispatches (order_id, sku, quantity, next_at, updated_at) VALUES (?, ?, ?, ?, ?)", id, out.Sku, out.Quantity, dueAt.UnixMilli(), now)
		return err
	})
	return out, fresh, err
}

// release gives back what order id reserved, once, and bars it from reserving
// later: a request that was on its way when the saga gave up finds the bar.
func (s shelf) release(ctx context.Context, id string) (*shopv1.Reservation, error) {
	const op = "inventory.release"
	out := &shopv1.Reservation{}
	err := s.db.Tx(ctx, "release", func(tx *sqldb.Tx) error {
		ctx, now := tx.Context(), time.Now().UnixMilli()
		if _, err := tx.Exec(ctx, "INSERT INTO reservations (order_id, sku, quantity, status, created_at, updated_at) VALUES (?, '', 0, ?, ?, ?) ON CONFLICT (order_id) DO NOTHING",
			id, released, now, now); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, "UPDATE reservations SET status = ?, updated_at = ? WHERE order_id = ? AND status = ?", released, now, id, reserved)
		if err != nil {
			return err
		}
		if out, err = read(tx, id); err != nil {
			return err
		}
		if out.Status == shopv1.ReservationStatus_RESERVATION_STATUS_CONFIRMED {
			return errs.New(errs.FailedPrecondition, op, "the order is sold already")
		}
		if n == 0 {
			return nil
		}
		_, err = tx.Exec(ctx, "UPDATE stock SET available = available + ?, reserved = reserved - ? WHERE sku = ?", out.Quantity, out.Quantity, out.Sku)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// read returns the reservation of order id with its price, or sql.ErrNoRows. A
// bar against a late Reserve has no goods and no price.
func read(tx *sqldb.Tx, id string) (*shopv1.Reservation, error) {
	out := &shopv1.Reservation{OrderId: id}
	var status string
	err := tx.Row(tx.Context(), []any{&out.Sku, &out.Quantity, &status, &out.UnitPriceMinor, &out.Currency},
		`SELECT r.sku, r.quantity, r.status, COALESCE(s.price, 0), COALESCE(s.currency, '')
			FROM reservations r LEFT JOIN stock s ON s.sku = r.sku WHERE r.order_id = ?`, id)
	switch status {
	case reserved:
		out.Status = shopv1.ReservationStatus_RESERVATION_STATUS_RESERVED
	case confirmed:
		out.Status = shopv1.ReservationStatus_RESERVATION_STATUS_CONFIRMED
	case released:
		out.Status = shopv1.ReservationStatus_RESERVATION_STATUS_RELEASED
	}
	return out, err
}

// notice is a dispatch the warehouse has not taken yet.
type notice struct {
	orderID, sku     string
	quantity         int64
	attempts, nextAt int64
}

// due returns the notice that has been due longest; false means none is.
func (s shelf) due(ctx context.Context, now time.Time) (n notice, ok bool, err error) {
	err = s.db.Row(ctx, []any{&n.orderID, &n.sku, &n.quantity, &n.attempts, &n.nextAt},
		"SELECT order_id, sku, quantity, attempts, next_at FROM dispatches WHERE next_at > 0 AND next_at <= ? ORDER BY next_at LIMIT 1", now.UnixMilli())
	if errors.Is(err, sql.ErrNoRows) {
		return notice{}, false, nil
	}
	return n, err == nil, err
}

// claim takes n for this worker until the given time; false means that another
// was faster.
func (s shelf) claim(ctx context.Context, n notice, until time.Time) (bool, error) {
	k, err := s.db.Exec(ctx, "UPDATE dispatches SET next_at = ?, attempts = attempts + 1, updated_at = ? WHERE order_id = ? AND next_at = ?",
		until.UnixMilli(), time.Now().UnixMilli(), n.orderID, n.nextAt)
	return k == 1, err
}

// sent ends a notice; reason says why the warehouse refused it, if it did.
func (s shelf) sent(ctx context.Context, id, reason string) error {
	_, err := s.db.Exec(ctx, "UPDATE dispatches SET next_at = 0, reason = ?, updated_at = ? WHERE order_id = ?", reason, time.Now().UnixMilli(), id)
	return err
}

// postpone makes a notice due later.
func (s shelf) postpone(ctx context.Context, id string, at time.Time) error {
	_, err := s.db.Exec(ctx, "UPDATE dispatches SET next_at = ? WHERE order_id = ? AND next_at > 0", at.UnixMilli(), id)
	return err
}
