// Command storm puts our policies beside their peers in the situations they are
// for, and writes what came of it to docs/overload.md: a server with more to do
// than it can, a target that stalls or fails for five seconds, three layers
// with the last one down, and a slow tail.
//
//	go run ./bench/storm                   # the goals' 20 seeds: some four minutes
//	go run ./bench/storm -seeds 1 -out -   # a quick look, to standard output
//
// The stories are told by the tests of this package, in fake time
// (testing/synctest) wherever a library lives with that: the policies are the
// libraries' own code, only the clock is not real. The program runs
// TestFigures and writes tables from its figures. A missed goal is written down
// as missed and is no failure: exit code 1 means that the stories could not be
// told, 2 that the flags make no sense. The tests alone,
//
//	go test ./bench/storm          # half a minute; -short: some seconds
//
// hold our goals on fixed seeds, and no peer to anything.
//
// It is no measure of speed: for what a call costs see bench/performance.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/surefoot-go/surefoot/bench/command"
)

func main() {
	command.Main("storm", func(ctx context.Context, args []string) error { return run(ctx, args, os.Stdout, os.Stderr) })
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("storm", flag.ContinueOnError)
	f.SetOutput(stderr)
	seeds := f.Int("seeds", 20, "seeds for each of our storms; everything else has at most 3")
	out := f.String("out", "docs/overload.md", "document to write, from the repository's root; - means standard output")
	if err := command.Parse(f, args); err != nil {
		return err
	}
	if *seeds < 1 {
		return command.Misuse{Err: errors.New("-seeds must be positive")}
	}
	root, err := command.Root(ctx)
	if err != nil {
		return err
	}

	began := time.Now()
	all, err := tell(ctx, root, *seeds)
	if err != nil {
		return err
	}
	text, err := document(surroundings(began, time.Since(began), *seeds), all)
	if err != nil {
		return err
	}
	if *out == "-" {
		_, err = io.WriteString(stdout, text)
		return err
	}
	return os.WriteFile(filepath.Join(root, *out), []byte(text), 0o644)
}

// tell runs the stories and reads their figures.
func tell(ctx context.Context, root string, seeds int) (figures, error) {
	dir, err := os.MkdirTemp("", "storm")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	to := filepath.Join(dir, "figures")
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=1h", "-run=^TestFigures$", "./bench/storm",
		"-args", "-storm.figures="+to, "-storm.seeds="+strconv.Itoa(seeds))
	cmd.Dir = root
	if printed, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the stories: %w\n%s", err, printed)
	}
	b, err := os.ReadFile(to)
	if err != nil {
		return nil, err
	}
	return read(bytes.NewReader(b))
}

// surroundings says when, how and on what kind of machine.
func surroundings(now time.Time, took time.Duration, seeds int) string {
	return fmt.Sprintf("Told on %s in %s: %s/%s, %d cores, %s; seeds 0 to %d for our storms, at most 3 seeds for everything else.",
		now.UTC().Format(time.DateOnly), took.Round(time.Second), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), seeds-1)
}
