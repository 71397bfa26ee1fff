// Package sqldb opens a shop service's database: a SQLite file, or PostgreSQL
// by DSN, with one set of SQL statements and one set of migrations for both.
//
//	db, err := sqldb.Open(ctx, "orders.db", sqldb.Options{Namespace: "orders"})
//	err = db.Migrate(ctx, migrations) // an embed.FS of *.sql files
//	n, err := db.Exec(ctx, "UPDATE orders SET status = ? WHERE id = ?", "paid", id)
//
// Statements use ? for arguments and the SQL that both engines share. Every
// call ends: by its ctx or by Options.Timeout, whichever is sooner. Errors are
// *errs.Error, safe to hand on, except sql.ErrNoRows, which passes unchanged.
//
// It is not an ORM and knows no table.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	_ "modernc.org/sqlite" // driver "sqlite"
)

// Options tunes a DB. The zero value is safe.
type Options struct {
	// Namespace is db.namespace on spans, the name the database has in the
	// dependency graph. Empty means the file's or database's name.
	Namespace string
	// Conns bounds the pool; 0 means 4. SQLite has one writer at a time
	// anyway, and each connection keeps up to 512 KiB of pages.
	Conns int
	// Timeout bounds each call, the wait for a free connection included; 0
	// means 2s.
	Timeout time.Duration
	// Tracer makes client spans for calls that belong to a recording span;
	// nil makes none. Calls of background loops, which have no span, stay
	// silent: a poll four times a second is noise, not a dependency.
	Tracer trace.TracerProvider
	// ReadOnly opens without writing, for checkers. The database must exist.
	ReadOnly bool
}

// DB is an open database. It is safe for concurrent use; Close it once.
type DB struct {
	runner
	pool *sql.DB
}

// Open connects to dsn: a postgres:// or postgresql:// URL, otherwise the path
// of a SQLite file, created when missing. It returns once the database has
// answered, or with an error that says what is wrong with dsn; passwords in it
// are left out.
func Open(ctx context.Context, dsn string, o Options) (*DB, error) {
	if o.Conns == 0 {
		o.Conns = 4
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	driver, source, system, name, err := resolve(dsn, o.ReadOnly)
	if err != nil {
		return nil, err
	}
	if o.Namespace == "" {
		o.Namespace = name
	}
	pool, err := sql.Open(driver, source)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", name, err)
	}
	pool.SetMaxOpenConns(o.Conns)
	pool.SetMaxIdleConns(o.Conns)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	db := &DB{pool: pool, runner: runner{on: pool, limit: o.Timeout, postgres: driver == "pgx"}}
	if !db.postgres {
		db.writer = make(chan struct{}, 1)
	}
	if o.Tracer != nil {
		db.tracer = o.Tracer.Tracer("github.com/surefoot-go/surefoot/shop/sqldb")
		db.namespace = o.Namespace
		db.attrs = []attribute.KeyValue{
			attribute.String("db.system.name", system),
			attribute.String("db.namespace", o.Namespace),
		}
	}
	ping, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := pool.PingContext(ping); err != nil {
		pool.Close()
		return nil, fmt.Errorf("database %s does not open: %w", name, err)
	}
	return db, nil
}

// Close releases every connection. Calls under way end first.
func (db *DB) Close() error { return db.pool.Close() }

// Ping says whether the database answers, for readiness.
func (db *DB) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, db.limit)
	defer cancel()
	return db.fail(db.pool.PingContext(ctx))
}

// Postgres says which engine answers: true for PostgreSQL, false for SQLite.
func (db *DB) Postgres() bool { return db.postgres }

// Tx runs fn in one transaction: committed when fn returns nil, rolled back
// when it returns an error or panics. In SQLite the transaction takes the
// write lock at its start, so it never fails half way for want of it. name is
// the span's db.operation.name, such as "reserve".
func (db *DB) Tx(ctx context.Context, name string, fn func(*Tx) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, db.limit)
	defer cancel()
	ctx, end := db.span(ctx, name, "")
	defer func() { end(err) }()
	if err := db.queue(ctx); err != nil {
		return db.fail(err)
	}
	defer db.leave()
	tx, err := db.pool.BeginTx(ctx, nil)
	if err != nil {
		return db.fail(err)
	}
	defer tx.Rollback() // does nothing after Commit
	inner := &Tx{runner: runner{on: tx, limit: db.limit, postgres: db.postgres}, ctx: ctx}
	if err := fn(inner); err != nil {
		return err
	}
	return db.fail(tx.Commit())
}

// Tx is a transaction under way, for use inside the function given to DB.Tx
// and by one goroutine only. Its statements make no spans of their own.
type Tx struct {
	runner
	ctx context.Context // the transaction's own; it cannot outlive DB.Tx
}

// Context returns the context the transaction runs under.
func (tx *Tx) Context() context.Context { return tx.ctx }

// resolve splits dsn into what database/sql needs.
func resolve(dsn string, readOnly bool) (driver, source, system, name string, err error) {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		u, err := url.Parse(dsn)
		if err != nil {
			return "", "", "", "", errors.New("the postgres DSN is not a URL") // err would repeat the password
		}
		if readOnly {
			q := u.Query()
			q.Set("default_transaction_read_only", "on")
			u.RawQuery = q.Encode()
			dsn = u.String()
		}
		return "pgx", dsn, "postgresql", strings.TrimPrefix(u.Path, "/"), nil
	}
	if dsn == "" || strings.Contains(dsn, "://") { // not repeated: it may hold a password
		return "", "", "", "", errors.New("the DSN is neither a postgres:// URL nor the path of a SQLite file")
	}
	q := url.Values{}
	q["_pragma"] = []string{
		"busy_timeout(5000)", // two payment processes share one file
		"journal_mode(WAL)",
		// NORMAL: a committed transaction survives kill -9 of the process; the
		// last ones may not survive a power cut. FULL costs one fsync each.
		"synchronous(NORMAL)",
		"cache_size(-512)",
		"foreign_keys(ON)",
	}
	q.Set("_txlock", "immediate")
	if readOnly {
		q.Set("mode", "rw") // a WAL reader needs the shared-memory file; query_only keeps it from writing
		q["_pragma"] = []string{"busy_timeout(5000)", "query_only(ON)", "cache_size(-512)"}
	}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: dsn}).EscapedPath(), RawQuery: q.Encode()}
	base := dsn[strings.LastIndexAny(dsn, `/\`)+1:]
	return "sqlite", u.String(), "sqlite", strings.TrimSuffix(base, ".db"), nil
}
