package coord

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// fatal stands where etcd's logger would end the process: it remembers the
// first reason and ends only the goroutine that met it.
type fatal struct {
	done    chan struct{}
	closing atomic.Bool

	once   sync.Once
	reason error // set before done is closed
}

func newFatal() *fatal { return &fatal{done: make(chan struct{})} }

// OnWrite implements zapcore.CheckWriteHook for Fatal and Panic records.
func (f *fatal) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	f.once.Do(func() {
		enc := zapcore.NewMapObjectEncoder()
		for _, field := range fields {
			field.AddTo(enc)
		}
		f.reason = errors.New(e.Message)
		if cause, ok := enc.Fields["error"]; ok {
			f.reason = fmt.Errorf("%s: %v", e.Message, cause)
		}
		close(f.done)
	})
	runtime.Goexit()
}

func (f *fatal) err() error {
	select {
	case <-f.done:
		return f.reason
	default:
		return nil
	}
}

func (f *fatal) logger(log *slog.Logger) *zap.Logger {
	return zap.New(&core{log: log, quiet: &f.closing}, zap.WithFatalHook(f), zap.WithPanicHook(f))
}

// core hands etcd's records to slog, one step quieter: what etcd warns of is
// daily life here.
type core struct {
	log   *slog.Logger
	quiet *atomic.Bool // while closing, when everything that breaks was meant to
	with  []zapcore.Field
}

// firstStart is what etcd says at every first start, before its first election.
const firstStart = "failed to update storage version"

func (c *core) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{log: c.log, quiet: c.quiet, with: append(c.with[:len(c.with):len(c.with)], fields...)}
}

func (c *core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelDebug
	switch {
	case c.quiet.Load():
	case e.Level > zapcore.ErrorLevel:
		level = slog.LevelError
	case e.Level == zapcore.ErrorLevel && !strings.HasPrefix(e.Message, firstStart):
		level = slog.LevelWarn
	}
	ctx := context.Background()
	if !c.log.Enabled(ctx, level) {
		return nil
	}
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range c.with {
		f.AddTo(enc)
	}
	for _, f := range fields {
		f.AddTo(enc)
	}
	attrs := make([]slog.Attr, 0, len(enc.Fields))
	for k, v := range enc.Fields {
		attrs = append(attrs, slog.Any(k, v))
	}
	c.log.LogAttrs(ctx, level, "etcd: "+e.Message, attrs...)
	return nil
}

func (c *core) Sync() error { return nil }
