package command_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"testing"

	"github.com/surefoot-go/surefoot/bench/command"
)

func TestVerdict(t *testing.T) {
	parse := func(args ...string) error {
		f := flag.NewFlagSet("x", flag.ContinueOnError)
		f.SetOutput(io.Discard)
		f.Int("n", 1, "")
		return command.Parse(f, args)
	}
	for _, c := range []struct {
		err  error
		code int
		line string
	}{
		{nil, 0, ""},
		{parse("-n", "2"), 0, ""},
		{parse("-help"), 0, ""},
		{parse("-m"), 2, "x: flag provided but not defined: -m; see -help"},
		{parse("more"), 2, `x: there are no arguments, and "more" is one; see -help`},
		{fmt.Errorf("parts: %w", command.Misuse{Err: errors.New("none")}), 2, "x: parts: none; see -help"},
		{errors.New("down"), 1, "x: down"},
	} {
		if code, line := command.Verdict("x", c.err); code != c.code || line != c.line {
			t.Errorf("%v: %d %q, want %d %q", c.err, code, line, c.code, c.line)
		}
	}
}

func TestRoot(t *testing.T) {
	if root, err := command.Root(t.Context()); err != nil || root == "" {
		t.Error(root, err)
	}
}
