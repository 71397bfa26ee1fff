package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/surefoot-go/surefoot/errs"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"modernc.org/sqlite"
)

const op = "sqldb"

// runner runs statements on a pool or inside a transaction.
type runner struct {
	on interface {
		ExecContext(context.Context, string, ...any) (sql.Result, error)
		QueryContext(context.Context, string, ...any) (*sql.Rows, error)
		QueryRowContext(context.Context, string, ...any) *sql.Row
	}
	limit     time.Duration
	postgres  bool
	namespace string
	tracer    trace.Tracer // nil makes no spans
	attrs     []attribute.KeyValue

	// writer lets one writer of this process at a time near a SQLite file, in
	// the order they came; nil needs none. SQLite's own way of waiting for its
	// lock is to sleep and look again, unfairly: under load the unlucky ones
	// wait a hundred times longer. That way is left for other processes.
	writer chan struct{}
}

func (r *runner) queue(ctx context.Context) error {
	if r.writer == nil {
		return nil
	}
	select {
	case r.writer <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *runner) leave() {
	if r.writer != nil {
		<-r.writer
	}
}

// Exec runs one statement and returns how many rows it touched.
func (r *runner) Exec(ctx context.Context, query string, args ...any) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	ctx, end := r.span(ctx, verb(query), query)
	defer func() { end(err) }()
	if err := r.queue(ctx); err != nil {
		return 0, r.fail(err)
	}
	defer r.leave()
	res, err := r.on.ExecContext(ctx, r.rebind(query), args...)
	if err != nil {
		return 0, r.fail(err)
	}
	n, err = res.RowsAffected()
	return n, r.fail(err)
}

// Row reads one row into dest, or returns sql.ErrNoRows.
func (r *runner) Row(ctx context.Context, dest []any, query string, args ...any) (err error) {
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	ctx, end := r.span(ctx, verb(query), query)
	defer func() { end(err) }()
	return r.fail(r.on.QueryRowContext(ctx, r.rebind(query), args...).Scan(dest...))
}

// Rows calls scan for each row, in order, and stops at scan's first error. scan
// must not use the database: its connection may be the last one.
func (r *runner) Rows(ctx context.Context, scan func(*sql.Rows) error, query string, args ...any) (err error) {
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	ctx, end := r.span(ctx, verb(query), query)
	defer func() { end(err) }()
	rows, err := r.on.QueryContext(ctx, r.rebind(query), args...)
	if err != nil {
		return r.fail(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return r.fail(err)
		}
	}
	return r.fail(rows.Err())
}

// rebind turns ? into $1, $2, ... for PostgreSQL. The shop's statements hold no
// question mark in a literal.
func (r *runner) rebind(query string) string {
	if !r.postgres || !strings.Contains(query, "?") {
		return query
	}
	var b strings.Builder
	b.Grow(len(query) + 8)
	n := 0
	for i := range len(query) {
		if query[i] != '?' {
			b.WriteByte(query[i])
			continue
		}
		n++
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}

// span starts a client span when there is a recording span to hang it on.
func (r *runner) span(ctx context.Context, operation, query string) (context.Context, func(error)) {
	if r.tracer == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, func(error) {}
	}
	attrs := append(r.attrs[:len(r.attrs):len(r.attrs)], attribute.String("db.operation.name", operation))
	if query != "" {
		attrs = append(attrs, attribute.String("db.query.text", query)) // placeholders only, no values
	}
	ctx, s := r.tracer.Start(ctx, operation+" "+r.namespace, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
	return ctx, func(err error) {
		var own *errs.Error
		if errors.As(err, &own) && own.Kind().Fault() == errs.Callee {
			s.SetStatus(codes.Error, own.Message())
			s.SetAttributes(attribute.String("error.type", own.Code()))
		}
		s.End()
	}
}

// verb returns the statement's first word.
func verb(query string) string {
	query = strings.TrimSpace(query)
	if i := strings.IndexAny(query, " \n\t"); i > 0 {
		query = query[:i]
	}
	return strings.ToUpper(query)
}

// fail turns an engine's error into one that may be handed on. A business
// error from inside a transaction and sql.ErrNoRows pass unchanged.
func (r *runner) fail(err error) error {
	var own *errs.Error
	switch {
	case err == nil, errors.Is(err, sql.ErrNoRows), errors.As(err, &own):
		return err
	case errors.Is(err, context.Canceled):
		return errs.New(errs.Canceled, op, "the request was canceled").Because(err)
	case errors.Is(err, context.DeadlineExceeded):
		return errs.New(errs.Timeout, op, "the database did not answer in time").Because(err)
	case passing(err):
		return errs.New(errs.Unavailable, op, "the database is not available").Because(err)
	}
	return errs.New(errs.Internal, op, "the database refused a statement").Because(err)
}

// passing says whether err is a state of the engine that goes away by itself:
// no connection, shutting down, too many clients, a lock held too long.
func passing(err error) bool {
	if lite := (*sqlite.Error)(nil); errors.As(err, &lite) {
		const busy, locked, interrupt, full = 5, 6, 9, 13 // SQLite primary result codes
		switch lite.Code() & 0xff {
		case busy, locked, interrupt, full:
			return true
		}
		return false
	}
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) {
		switch pg.Code[:min(2, len(pg.Code))] { // SQLSTATE classes: connection, rollback, resources, operator
		case "08", "40", "53", "57":
			return true
		}
		return false
	}
	dial := (*pgconn.ConnectError)(nil)
	return errors.As(err, &dial) || pgconn.SafeToRetry(err) || errors.Is(err, sql.ErrConnDone)
}
