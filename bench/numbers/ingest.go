package main

import (
	"context"
	"fmt"
	"strings"
)

func ingest(ctx context.Context, b *bench) ([]figure, error) {
	speed := []string{"test", "-run", "^$", "-bench", "^BenchmarkSpans$", "-cpu", "1", "-benchtime", "3s", "-count", "3", "./server/ingest"}
	size := []string{"test", "-run", "^$", "-bench", "^BenchmarkBytesPerSpan$", "-benchtime", "1x", "./server/ingest"}
	var figures []figure
	for _, m := range []struct {
		args    []string
		figures []struct{ name, bench, metric, unit string }
	}{
		{speed, []struct{ name, bench, metric, unit string }{
			{"spans taken on one core, 8 senders: decoded, counted, on disk with an fsync when acknowledged", "BenchmarkSpans/senders=8", "spans/s", "spans/s"},
			{"the same, one sender that waits for each answer", "BenchmarkSpans/senders=1", "spans/s", "spans/s"},
		}},
		{size, []struct{ name, bench, metric, unit string }{
			{"a span on disk, in batches of 512 as a busy service sends them", "BenchmarkBytesPerSpan/batch=512", "disk-B/span", "bytes"},
			{"a span on disk, in batches of 32 as an idle one does", "BenchmarkBytesPerSpan/batch=32", "disk-B/span", "bytes"},
			{"the same span as it comes, OTLP before gzip", "BenchmarkBytesPerSpan/batch=512", "otlp-B/span", "bytes"},
		}},
	} {
		by := "go"
		for _, a := range m.args {
			if strings.ContainsAny(a, "^$") {
				a = "'" + a + "'"
			}
			by += " " + a
		}
		out, err := output(b.command(ctx, "go", m.args...))
		if err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", by, err, out)
		}
		found := benchmarks(out)
		for _, f := range m.figures {
			values := found[f.bench][f.metric]
			if len(values) == 0 {
				return nil, fmt.Errorf("%s prints no %s of %s", by, f.metric, f.bench)
			}
			figures = append(figures, plain(f.name, values, f.unit, by))
			b.say("   %s: %s", f.name, figures[len(figures)-1].measured)
		}
	}
	return figures, nil
}
