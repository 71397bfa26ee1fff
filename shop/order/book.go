package order

import (
	"context"
	"database/sql"
	"embed"
	"io/fs"
	"strings"
	"time"

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

// order is one order as the book has it.
type order struct {
	id, userID, key, sku string
	quantity             int32
	state                State
	amount, paid         int64 // minor units: list price times quantity; what the bank took
	currency, reason     string
	attempts             int64 // of the step under way
	nextAt               int64 // when the recovery may take it, ms; 0 once settled
	createdAt, updatedAt int64
}

const columns = "id, user_id, key, sku, quantity, state, amount, paid, currency, reason, attempts, next_at, created_at, updated_at"

func (o *order) dest() []any {
	return []any{&o.id, &o.userID, &o.key, &o.sku, &o.quantity, &o.state, &o.amount, &o.paid, &o.currency, &o.reason, &o.attempts, &o.nextAt, &o.createdAt, &o.updatedAt}
}

func (o *order) wire() *shopv1.Order {
	out := &shopv1.Order{
		OrderId: o.id, UserId: o.userID, Sku: o.sku, Quantity: o.quantity,
		AmountMinor: o.amount, PaidMinor: o.paid, Currency: o.currency, Reason: o.reason,
		CreatedAtMs: o.createdAt, UpdatedAtMs: o.updatedAt,
	}
	switch o.state {
	case Pending:
		out.Status = shopv1.OrderStatus_ORDER_STATUS_PAYMENT_PENDING
	case Paid, Charged: // the customer has paid; the rest is our business
		out.Status = shopv1.OrderStatus_ORDER_STATUS_PAID
	case Declined, Declining:
		out.Status = shopv1.OrderStatus_ORDER_STATUS_DECLINED
	case Canceled, Canceling:
		out.Status = shopv1.OrderStatus_ORDER_STATUS_CANCELED
	case Rejected:
		out.Status = shopv1.OrderStatus_ORDER_STATUS_REJECTED
	default:
		out.Status = shopv1.OrderStatus_ORDER_STATUS_PROCESSING
	}
	return out
}

// book is the table of orders.
type book struct{ db *sqldb.DB }

// enter writes o if its user has not used its key before, and returns what the
// book holds; fresh says that this call wrote it.
func (b book) enter(ctx context.Context, o order) (got order, fresh bool, err error) {
	err = b.db.Tx(ctx, "enter", func(tx *sqldb.Tx) error {
		n, err := tx.Exec(tx.Context(), `INSERT INTO orders (id, user_id, key, sku, quantity, state, next_at, created_at, updated_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_id, key) DO NOTHING`,
			o.id, o.userID, o.key, o.sku, o.quantity, o.state, o.nextAt, o.createdAt, o.createdAt)
		if err != nil {
			return err
		}
		fresh = n == 1
		return tx.Row(tx.Context(), got.dest(), "SELECT "+columns+" FROM orders WHERE user_id = ? AND key = ?", o.userID, o.key)
	})
	return got, fresh, err
}

// get returns the order with that id, or sql.ErrNoRows.
func (b book) get(ctx context.Context, id string) (o order, err error) {
	err = b.db.Row(ctx, o.dest(), "SELECT "+columns+" FROM orders WHERE id = ?", id)
	return o, err
}

// move writes o's new state and what came with it, provided that the book still
// has it in state from. false means that somebody else moved it first, and o is
// now what the book holds.
func (b book) move(ctx context.Context, o *order, from State) (bool, error) {
	o.updatedAt, o.attempts = time.Now().UnixMilli(), 0
	if o.state.Settled() {
		o.nextAt = 0
	}
	n, err := b.db.Exec(ctx, "UPDATE orders SET state = ?, amount = ?, paid = ?, currency = ?, reason = ?, attempts = 0, next_at = ?, updated_at = ? WHERE id = ? AND state = ?",
		o.state, o.amount, o.paid, o.currency, o.reason, o.nextAt, o.updatedAt, o.id, from)
	if err != nil || n == 1 {
		return n == 1, err
	}
	*o, err = b.get(ctx, o.id)
	return false, err
}

// due returns up to limit orders that the recovery may take, the longest due
// first.
func (b book) due(ctx context.Context, now time.Time, limit int) (list []order, err error) {
	err = b.db.Rows(ctx, func(r *sql.Rows) error {
		var o order
		err := r.Scan(o.dest()...)
		list = append(list, o)
		return err
	}, "SELECT "+columns+" FROM orders WHERE next_at > 0 AND next_at <= ? ORDER BY next_at LIMIT ?", now.UnixMilli(), limit)
	return list, err
}

// claim takes o for this worker until the given time; false means that another
// was faster.
func (b book) claim(ctx context.Context, o *order, until time.Time) (bool, error) {
	n, err := b.db.Exec(ctx, "UPDATE orders SET next_at = ?, attempts = attempts + 1 WHERE id = ? AND state = ? AND next_at = ?",
		until.UnixMilli(), o.id, o.state, o.nextAt)
	if err == nil && n == 1 {
		o.attempts++
		o.nextAt = until.UnixMilli()
	}
	return n == 1, err
}

// postpone makes orders that still are in that state due later.
func (b book) postpone(ctx context.Context, ids []string, in State, at time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	args := []any{at.UnixMilli(), in}
	for _, id := range ids {
		args = append(args, id)
	}
	_, err := b.db.Exec(ctx, "UPDATE orders SET next_at = ?, attempts = attempts + 1 WHERE state = ? AND id IN (?"+strings.Repeat(", ?", len(ids)-1)+")", args...)
	return err
}
