package payment

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/errs"
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

// status is how far a payment has come. It only ever moves away from pending.
type status string

const (
	pending  status = "pending" // the bank was asked, or will be; the outbox settles it
	paid     status = "paid"
	declined status = "declined"
)

// entry is one payment as the book has it.
type entry struct {
	orderID, userID, currency, pricedBy string
	amount                              int64 // what is charged, minor units
	status                              status
	chargeID, reason                    string
	attempts                            int64
	nextAt                              int64 // when the outbox may take it, ms; 0 once settled
}

const columns = "order_id, user_id, amount, currency, priced_by, status, charge_id, reason, attempts, next_at"

func (e *entry) dest() []any {
	return []any{&e.orderID, &e.userID, &e.amount, &e.currency, &e.pricedBy, &e.status, &e.chargeID, &e.reason, &e.attempts, &e.nextAt}
}

// book is the table of payments. Both versions of the service write to it.
type book struct{ db *sqldb.DB }

// enter writes e if its order is new, and returns what the book holds; fresh
// says that this call wrote it.
func (b book) enter(ctx context.Context, e entry) (got entry, fresh bool, err error) {
	err = b.db.Tx(ctx, "enter", func(tx *sqldb.Tx) error {
		now := time.Now().UnixMilli()
		n, err := tx.Exec(tx.Context(), `INSERT INTO payments (order_id, user_id, amount, currency, priced_by, status, next_at, created_at, updated_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (order_id) DO NOTHING`,
			e.orderID, e.userID, e.amount, e.currency, e.pricedBy, pending, e.nextAt, now, now)
		if err != nil {
			return err
		}
		fresh = n == 1
		return tx.Row(tx.Context(), got.dest(), "SELECT "+columns+" FROM payments WHERE order_id = ?", e.orderID)
	})
	return got, fresh, err
}

// settle ends a pending payment. One that is settled already stays as it is,
// so two workers that both asked the bank agree.
func (b book) settle(ctx context.Context, id string, to status, chargeID, reason string) error {
	_, err := b.db.Exec(ctx, "UPDATE payments SET status = ?, charge_id = ?, reason = ?, next_at = 0, updated_at = ? WHERE order_id = ? AND status = ?",
		to, chargeID, reason, time.Now().UnixMilli(), id, pending)
	return err
}

// postpone hands a pending payment to the outbox, for later.
func (b book) postpone(ctx context.Context, id string, at time.Time) error {
	_, err := b.db.Exec(ctx, "UPDATE payments SET next_at = ? WHERE order_id = ? AND status = ?", at.UnixMilli(), id, pending)
	return err
}

// due returns up to limit payments the outbox may take, the longest due first.
func (b book) due(ctx context.Context, now time.Time, limit int) (list []entry, err error) {
	err = b.db.Rows(ctx, func(r *sql.Rows) error {
		var e entry
		err := r.Scan(e.dest()...)
		list = append(list, e)
		return err
	}, "SELECT "+columns+" FROM payments WHERE next_at > 0 AND next_at <= ? ORDER BY next_at LIMIT ?", now.UnixMilli(), limit)
	return list, err
}

// claim takes e for this worker until the given time; false means that another
// worker was faster.
func (b book) claim(ctx context.Context, e entry, until time.Time) (bool, error) {
	n, err := b.db.Exec(ctx, "UPDATE payments SET next_at = ?, attempts = attempts + 1, updated_at = ? WHERE order_id = ? AND status = ? AND next_at = ?",
		until.UnixMilli(), time.Now().UnixMilli(), e.orderID, pending, e.nextAt)
	return n == 1, err
}

// lookup returns the payments of those orders that have one.
func (b book) lookup(ctx context.Context, ids []string) (list []entry, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	err = b.db.Rows(ctx, func(r *sql.Rows) error {
		var e entry
		err := r.Scan(e.dest()...)
		list = append(list, e)
		return err
	}, "SELECT "+columns+" FROM payments WHERE order_id IN (?"+strings.Repeat(", ?", len(ids)-1)+")", args...)
	return list, err
}

// waiting counts the payments that are not settled.
func (b book) waiting(ctx context.Context) (n int64, err error) {
	err = b.db.Row(ctx, []any{&n}, "SELECT COUNT(*) FROM payments WHERE next_at > 0")
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return n, errs.Wrap(err, "payment.waiting")
}
