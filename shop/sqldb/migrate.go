package sqldb

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Migrate brings the database to the newest of files, *.sql in name order, each
// in one transaction, each once. Several processes may call it at once on one
// database; a migration already there is left alone. Statements end with a
// semicolon at the end of a line.
func (db *DB) Migrate(ctx context.Context, files fs.FS) error {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("no *.sql migrations given")
	}
	slices.Sort(names)
	patient := *db
	patient.limit = time.Minute
	if err := patient.locked(ctx, func(tx *Tx) error {
		_, err := tx.Exec(tx.ctx, "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at BIGINT NOT NULL)")
		return err
	}); err != nil {
		return fmt.Errorf("migrations table: %w", err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		err = patient.locked(ctx, func(tx *Tx) error {
			n, err := tx.Exec(tx.ctx, "INSERT INTO migrations (name, applied_at) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", name, time.Now().UnixMilli())
			if err != nil || n == 0 {
				return err
			}
			for _, q := range strings.Split(string(text), ";\n") {
				if q = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(q), ";")); q == "" {
					continue
				}
				if _, err := tx.Exec(tx.ctx, q); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("migration %s: %w", name, err)
		}
	}
	return nil
}

// locked runs fn in a transaction that only one process at a time is in. SQLite
// gives that by itself; PostgreSQL by an advisory lock that ends with it.
func (db *DB) locked(ctx context.Context, fn func(*Tx) error) error {
	return db.Tx(ctx, "migrate", func(tx *Tx) error {
		if db.postgres {
			if _, err := tx.Exec(tx.ctx, "SELECT pg_advisory_xact_lock(7600)"); err != nil {
				return err
			}
		}
		return fn(tx)
	})
}
