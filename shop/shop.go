// Package shop is the reference system: seven programs that sell things, each a
// process of its own, with the guard rails of this repository on.
//
//	code := shop.Main(ctx, "order", os.Args[3:], os.Stderr) // surefoot shop order ...
//
// The gateway answers the public; user, order, payment and inventory own one
// database each; bank and warehouse are the outside world and use nothing of
// ours. Started without flags they find each other, and a control plane, on
// loopback ports.
//
// It is there to be broken, watched and read. It is not a shop to sell with.
package shop

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
)

// Exit codes of Main.
const (
	exitOK    = 0
	exitRun   = 1 // it ran and failed
	exitUsage = 2 // a bad flag, a taken port, a database that does not open
)

// program is one of the seven.
type program struct {
	name  string
	about string
	flags []string // that it takes
	run   func(context.Context, settings) error
}

var ours = []string{"version", "otlp", "etcd", "health"}

func programs() []program {
	return []program{
		{"gateway", "the public API: POST /orders, GET /orders/{id}, GET /openapi.yaml", []string{"addr", "user", "order", "version", "otlp", "etcd"}, runGateway},
		{"user", "who buys: GET /users/{id}", []string{"addr", "dsn", "version", "otlp", "etcd"}, runUser},
		{"order", "orders and their saga, over gRPC", append([]string{"addr", "dsn", "payment", "payment-v2", "payment-v3", "inventory"}, ours...), runOrder},
		{"payment", "charges at the bank and their outbox, over gRPC", append([]string{"addr", "dsn", "bank"}, ours...), runPayment},
		{"inventory", "the stock, over gRPC", append([]string{"addr", "dsn", "warehouse"}, ours...), runInventory},
		{"bank", "the outside world: takes money, has a switch to fail by", []string{"addr", "admin", "dsn"}, runBank},
		{"warehouse", "the outside world: sends goods", []string{"addr", "dsn"}, runWarehouse},
	}
}

// Names returns the names Main knows, in the order a request meets them.
func Names() []string {
	var names []string
	for _, p := range programs() {
		names = append(names, p.name)
	}
	return names
}

// Main runs the program called name until ctx ends and returns its exit code: 0
// after a clean stop, 1 after a failure, 2 for a bad flag or an environment that
// does not allow a start (a taken port, a database that does not open), always
// with one line on stderr that says what to do. Flags may also come from the
// environment: --payment-v2 from SHOP_PAYMENT_V2. It handles no signals.
func Main(ctx context.Context, name string, args []string, stderr io.Writer) int {
	all := programs()
	i := slices.IndexFunc(all, func(p program) bool { return p.name == name })
	if i < 0 {
		fmt.Fprintf(stderr, "surefoot shop: there is no program %q; choose one of %s\n", name, strings.Join(Names(), ", "))
		return exitUsage
	}
	p := all[i]
	s, err := p.parse(args, os.LookupEnv, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "surefoot shop %s: %v (see surefoot shop %s --help)\n", name, err, name)
		return exitUsage
	}
	if os.Getenv("GOGC") == "" {
		// Nine such processes share one machine; their heaps are a few MB, so
		// collecting twice as often costs little and keeps each small.
		debug.SetGCPercent(50)
	}
	if err := p.run(ctx, s); err != nil {
		fmt.Fprintf(stderr, "surefoot shop %s: %s\n", name, oneLine(err))
		if errors.As(err, new(setupError)) {
			return exitUsage
		}
		return exitRun
	}
	return exitOK
}

// setupError is a mistake in the settings or the environment.
type setupError struct{ error }

func (e setupError) Unwrap() error { return e.error }

func setup(format string, args ...any) error { return setupError{fmt.Errorf(format, args...)} }

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
