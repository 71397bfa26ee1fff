package telemetry

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// leveled drops records below level, whatever the handler itself would take.
type leveled struct {
	slog.Handler
	level slog.Leveler
}

func (l leveled) Enabled(ctx context.Context, at slog.Level) bool {
	return at >= l.level.Level() && l.Handler.Enabled(ctx, at)
}

func (l leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{l.Handler.WithAttrs(attrs), l.level}
}

func (l leveled) WithGroup(name string) slog.Handler {
	return leveled{l.Handler.WithGroup(name), l.level}
}

// traced adds the ids of the ctx's span to each record, as trace_id and
// span_id; inside a group they are part of the group.
type traced struct{ slog.Handler }

func withTrace(h slog.Handler) slog.Handler { return traced{h} }

func (t traced) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		has := false // a room may have put it there for handlers that do not know traces
		r.Attrs(func(a slog.Attr) bool { has = a.Key == "trace_id"; return !has })
		r = r.Clone()
		if !has {
			r.AddAttrs(slog.String("trace_id", sc.TraceID().String()))
		}
		r.AddAttrs(slog.String("span_id", sc.SpanID().String()))
	}
	return t.Handler.Handle(ctx, r)
}

func (t traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{t.Handler.WithAttrs(attrs)} }
func (t traced) WithGroup(name string) slog.Handler       { return traced{t.Handler.WithGroup(name)} }
