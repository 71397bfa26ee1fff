package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/shop/pgtest"
	"github.com/surefoot-go/surefoot/shop/sqldb"
)

var migrations = fstest.MapFS{
	"0001_accounts.sql": {Data: []byte("CREATE TABLE accounts (\n  id TEXT PRIMARY KEY,\n  balance BIGINT NOT NULL\n);\nCREATE INDEX by_balance ON accounts (balance);\n")},
	"0002_first.sql":    {Data: []byte("INSERT INTO accounts (id, balance) VALUES ('first', 0);")},
}

// TestBothEngines is the contract that the shop's services rely on, on each
// engine.
func TestBothEngines(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { contract(t, filepath.Join(t.TempDir(), "a b?.db")) })
	t.Run("postgres", func(t *testing.T) { contract(t, pgtest.Start(t)) })
}

func contract(t *testing.T, dsn string) {
	ctx := t.Context()
	var all sync.WaitGroup
	dbs := make([]*sqldb.DB, 2) // as two processes that start at once
	for i := range dbs {
		all.Go(func() {
			db, err := sqldb.Open(ctx, dsn, sqldb.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			dbs[i] = db
			if err := db.Migrate(ctx, migrations); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	defer dbs[0].Close()
	defer dbs[1].Close()

	// Many writers on one row, from both: no update is lost, none fails.
	for i := range 40 {
		all.Go(func() {
			db := dbs[i%2]
			err := db.Tx(ctx, "add", func(tx *sqldb.Tx) error {
				n, err := tx.Exec(tx.Context(), "UPDATE accounts SET balance = balance + ? WHERE id = ?", 1, "first")
				if err == nil && n != 1 {
					t.Errorf("touched %d rows", n)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	db := dbs[0]
	var balance int64
	if err := db.Row(ctx, []any{&balance}, "SELECT balance FROM accounts WHERE id = ?", "first"); err != nil || balance != 40 {
		t.Errorf("balance %d, %v; want 40", balance, err)
	}

	// A failed transaction leaves nothing, and its own error comes back.
	no := errs.New(errs.Conflict, "test", "no")
	err := db.Tx(ctx, "fail", func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(tx.Context(), "UPDATE accounts SET balance = 0"); err != nil {
			return err
		}
		return no
	})
	if !errors.Is(err, no) {
		t.Errorf("error %v", err)
	}
	if err := db.Row(ctx, []any{&balance}, "SELECT balance FROM accounts WHERE id = ?", "first"); err != nil || balance != 40 {
		t.Errorf("after a rollback: %d, %v", balance, err)
	}
	n, err := db.Exec(ctx, "INSERT INTO accounts (id, balance) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", "first", 7)
	if n != 0 || err != nil {
		t.Errorf("conflict touched %d, %v", n, err)
	}
	if err := db.Row(ctx, []any{&balance}, "SELECT balance FROM accounts WHERE id = ?", "none"); !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("no row: %v", err)
	}
	var ids []string
	if err := db.Rows(ctx, func(r *sql.Rows) error {
		ids = append(ids, "")
		return r.Scan(&ids[len(ids)-1])
	}, "SELECT id FROM accounts WHERE balance >= ? ORDER BY id", 0); err != nil || len(ids) != 1 {
		t.Errorf("rows %v, %v", ids, err)
	}

	// What may be read by strangers names no table and no statement.
	_, err = db.Exec(ctx, "INSERT INTO secrets VALUES (1)")
	if e := errs.From(err); e.Kind() != errs.Internal || strings.Contains(e.Message(), "secrets") {
		t.Errorf("bad statement: %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := db.Exec(gone, "DELETE FROM accounts"); errs.KindOf(err) != errs.Canceled {
		t.Errorf("canceled: %v", err)
	}
	if err := db.Ping(ctx); err != nil {
		t.Error(err)
	}
	read, err := sqldb.Open(ctx, dsn, sqldb.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	if err := read.Row(ctx, []any{&balance}, "SELECT balance FROM accounts"); err != nil {
		t.Error(err)
	}
	if _, err := read.Exec(ctx, "DELETE FROM accounts"); err == nil {
		t.Error("a read-only database was written")
	}
}

func TestBadDSN(t *testing.T) {
	for _, c := range []struct{ dsn, says string }{
		{"", "neither"},
		{"mysql://root:secret@db/shop", "neither"},
		{filepath.Join(t.TempDir(), "none", "x.db"), "does not open"},
		{"postgres://shop:hunter2@127.0.0.1:1/shop?connect_timeout=1", "does not open"},
		{"postgres://shop:hunter2@127.0.0.1:bad/shop", "not a URL"},
	} {
		db, err := sqldb.Open(t.Context(), c.dsn, sqldb.Options{})
		if err == nil {
			db.Close()
			t.Errorf("%q opened", c.dsn)
			continue
		}
		if !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %q and no password", c.dsn, err, c.says)
		}
	}
}
