package bank

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"net/url"
	"time"

	_ "modernc.org/sqlite" // driver "sqlite"
)

var errOtherCharge = errors.New("this Idempotency-Key belongs to another charge")

// ledger is the bank's book, one SQLite file.
type ledger struct{ db *sql.DB }

const columns = "charge_id, key, order_id, account, amount, currency, status, reason, at"

func openLedger(file string) (*ledger, error) {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(NORMAL)", "cache_size(-512)"}}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(2)
	for _, stmt := range []string{
		`CREATE TABLE IF NOT EXISTS charges (key TEXT PRIMARY KEY, charge_id TEXT NOT NULL UNIQUE, order_id TEXT NOT NULL,
			account TEXT NOT NULL, amount INTEGER NOT NULL, currency TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL)`,
		`CREATE INDEX IF NOT EXISTS charges_by_order ON charges (order_id)`,
	} {
		if _, err := db.Exec(stmt); err != nil {
			db.Close()
			return nil, err
		}
	}
	return &ledger{db: db}, nil
}

func (l *ledger) close() error { return l.db.Close() }

// book writes c once per key and returns what the ledger holds for that key;
// fresh says that this call wrote it.
func (l *ledger) book(ctx context.Context, c Charge) (got Charge, fresh bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	res, err := l.db.ExecContext(ctx, "INSERT INTO charges ("+columns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
		"ch_"+rand.Text(), c.Key, c.OrderID, c.Account, c.Amount, c.Currency, c.Status, c.Reason, time.Now().UnixMilli())
	if err != nil {
		return Charge{}, false, err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return Charge{}, false, err
	}
	got, err = scan(l.db.QueryRowContext(ctx, "SELECT "+columns+" FROM charges WHERE key = ?", c.Key))
	if err != nil {
		return Charge{}, false, err
	}
	if got.OrderID != c.OrderID || got.Amount != c.Amount || got.Currency != c.Currency {
		return Charge{}, false, errOtherCharge
	}
	return got, n == 1, nil
}

func (l *ledger) sum(ctx context.Context) (s Sum, err error) {
	err = l.db.QueryRowContext(ctx, "SELECT COUNT(*), COUNT(DISTINCT order_id), COALESCE(SUM(amount), 0) FROM charges WHERE status = 'charged'").
		Scan(&s.Count, &s.Orders, &s.Amount)
	return s, err
}

// list returns charges in key order: of one order if order is not empty, after
// the key given, and only of orders charged more than once if twice.
func (l *ledger) list(ctx context.Context, order, after string, twice bool, limit int) ([]Charge, error) {
	q, args := "SELECT "+columns+" FROM charges WHERE key > ?", []any{after}
	if order != "" {
		q, args = q+" AND order_id = ?", append(args, order)
	}
	if twice {
		q += " AND status = 'charged' AND order_id IN (SELECT order_id FROM charges WHERE status = 'charged' GROUP BY order_id HAVING COUNT(*) > 1)"
	}
	rows, err := l.db.QueryContext(ctx, q+" ORDER BY key LIMIT ?", append(args, limit)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []Charge{}
	for rows.Next() {
		c, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

func scan(row interface{ Scan(...any) error }) (c Charge, err error) {
	err = row.Scan(&c.ChargeID, &c.Key, &c.OrderID, &c.Account, &c.Amount, &c.Currency, &c.Status, &c.Reason, &c.At)
	return c, err
}
