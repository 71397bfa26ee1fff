// Package command is how the programs of bench begin and end.
//
//	func main() { command.Main("storm", run) }
//
// A run that ends with a Misuse exits with 2, with another error with 1, each
// with one line on standard error; flag.ErrHelp and nil exit with 0. It is not
// for the product: cmd/surefoot has its own words.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// Misuse is an error in how a program was called.
type Misuse struct{ Err error }

// Error says what is wrong with the call.
func (m Misuse) Error() string { return m.Err.Error() }

// Unwrap returns Err.
func (m Misuse) Unwrap() error { return m.Err }

// Main calls run with a ctx that ends with SIGINT or SIGTERM, and the arguments
// behind the program's name. It does not return when run fails.
func Main(name string, run func(ctx context.Context, args []string) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code, line := Verdict(name, run(ctx, os.Args[1:]))
	if line != "" {
		fmt.Fprintln(os.Stderr, line)
	}
	if code != 0 {
		os.Exit(code)
	}
}

// Verdict is the exit code for err, and the line that explains it, if any.
func Verdict(name string, err error) (code int, line string) {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0, ""
	case errors.As(err, new(Misuse)):
		return 2, fmt.Sprintf("%s: %v; see -help", name, err)
	}
	return 1, fmt.Sprintf("%s: %v", name, err)
}

// Parse parses args. What is wrong with them is a Misuse; arguments that are no
// flags are, too.
func Parse(f *flag.FlagSet, args []string) error {
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return Misuse{err}
	case f.NArg() > 0:
		return Misuse{fmt.Errorf("there are no arguments, and %q is one", f.Arg(0))}
	}
	return nil
}

// Root is the repository's folder.
func Root(ctx context.Context) (string, error) {
	work, err := exec.CommandContext(ctx, "go", "env", "GOWORK").Output()
	if path := strings.TrimSpace(string(work)); err == nil && path != "" {
		return filepath.Dir(path), nil
	}
	return "", errors.New("no go.work here: run it inside the repository")
}
