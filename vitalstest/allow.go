package vitalstest

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/surefoot-go/surefoot/internal/stacks"
)

// keeps is what the standard library leaves running by design, by the function
// given to go.
// With a dot at the end, all that begin so.
var keeps = [...]struct{ function, because string }{
	{"os/signal.loop", "hands signals out for the rest of the process, once os/signal is used"},
	{"runtime.ensureSigM.func1", "changes signal masks for os/signal, for the rest of the process"},
	{"runtime.runFinalizers", "runs the finalizers"},
	{"runtime.runfinq", "runs the finalizers, before Go 1.25"},
	{"runtime.runCleanups", "runs what runtime.AddCleanup registers"},
	{"runtime/trace.Start.func1", "writes the trace go test -trace asks for"},
	{"runtime/trace.(*traceMultiplexer).startLocked.func1", "the same"},
	{"runtime/pprof.profileWriter", "writes the profile go test -cpuprofile asks for"},
	{"runtime/coverage.", "writes what go test -cover asks for"},
	{"testing.tRunner", "is a test: package testing waits for it, or for those that called t.Parallel"},
	{"testing.(*B).", "is a benchmark, likewise"},
	{"testing.(*F).", "is a fuzz test, likewise"},
	{"testing.runFuzzTests", "is a fuzz test, likewise"},
	{"testing.runFuzzing", "is a fuzz test, likewise"},
	{"internal/fuzz.", "speaks with the workers of a fuzz test"},
	{"main.main", "is the main goroutine"},
	{"runtime.main", "is the main goroutine"},
}

func (s Settings) allowed(g stacks.Goroutine) bool {
	entry := g.Entry().Func
	for _, k := range keeps {
		if entry == k.function || strings.HasSuffix(k.function, ".") && strings.HasPrefix(entry, k.function) {
			return true
		}
	}
	for _, pattern := range s.Allow {
		if matches(pattern, g.Created) || matches(pattern, g.Origin()) {
			return true
		}
	}
	return false
}

// matches tells whether f is what pattern names: see Settings.Allow.
func matches(pattern string, f stacks.Frame) bool {
	if pattern == "" || f == (stacks.Frame{}) {
		return false
	}
	stem, open := strings.CutSuffix(pattern, "*")
	if open && strings.HasPrefix(f.Func, stem) || f.Func == pattern {
		return true
	}
	file := f.File + ":" + strconv.Itoa(f.Line)
	if open {
		return stem != "" && (strings.HasPrefix(file, stem) || strings.Contains(file, "/"+stem))
	}
	for _, name := range []string{f.File, file} {
		if name == pattern || strings.HasSuffix(name, "/"+pattern) {
			return true
		}
	}
	return false
}

// pooled tells the goroutines of a client's connection.
func pooled(g stacks.Goroutine) bool {
	entry := g.Entry().Func
	return strings.HasPrefix(entry, "net/http.(*persistConn).") || strings.HasPrefix(entry, "net/http.(*http2ClientConn).") ||
		strings.HasPrefix(entry, "net/http/internal/http2.(*ClientConn).")
}

func closeIdle() {
	if t, ok := http.DefaultTransport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}
