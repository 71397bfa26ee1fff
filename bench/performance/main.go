// Command performance runs the benchmarks that put our policies, clients and
// servers beside their peers and writes the medians to docs/performance.md,
// each goal with a verdict and the command behind it.
//
//	go run ./bench/performance                  # everything: about five minutes
//	go run ./bench/performance -count 1 -rounds 0 -inflight 0 -out -  # a quick look, to standard output
//
// A round runs every benchmark once, so that a busy moment of the machine meets
// all libraries alike. A missed goal is written down as missed and is no
// failure: exit code 1 means that the benchmarks could not be run, 2 that the
// flags make no sense.
//
// It measures the library, not the control plane: for what the built programs do see
// bench/numbers.
package main

import (
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
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/bench/command"
)

func main() {
	command.Main("performance", func(ctx context.Context, args []string) error { return run(ctx, args, os.Stdout, os.Stderr) })
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("performance", flag.ContinueOnError)
	f.SetOutput(stderr)
	count := f.Int("count", 5, "rounds; the median of them counts")
	each := f.Duration("benchtime", 100*time.Millisecond, "how long each benchmark runs in a round")
	rounds := f.Int("rounds", 25, "rounds of whole servers (bench/serving); 0 means none")
	inflight := f.Int("inflight", 100000, "requests to have in flight in one process; 0 means none")
	out := f.String("out", "docs/performance.md", "document to write, from the repository's root; - means standard output")
	if err := command.Parse(f, args); err != nil {
		return err
	}
	if *count < 1 || *each <= 0 || *rounds < 0 || *inflight < 0 {
		return command.Misuse{Err: errors.New("-count and -benchtime must be positive, the others not negative")}
	}
	root, err := command.Root(ctx)
	if err != nil {
		return err
	}

	at := surroundings(time.Now(), *count, *each) + ", load average " + load() + " before"
	all := figures{}
	for n := range *count {
		fmt.Fprintf(stderr, "round %d of %d\n", n+1, *count)
		cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchtime", each.String(), "./bench/peers")
		cmd.Dir, cmd.Stderr = root, stderr
		printed, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("the benchmarks: %w\n%s", err, printed)
		}
		all.read(string(printed))
	}
	if err := all.serve(ctx, root, *rounds, *inflight, stderr); err != nil {
		return err
	}
	text, err := document(at+" and "+load()+" after.", all)
	if err != nil {
		return err
	}
	if *out == "-" {
		_, err = io.WriteString(stdout, text)
		return err
	}
	return os.WriteFile(filepath.Join(root, *out), []byte(text), 0o644)
}

// serve runs bench/serving, built so that no compiler runs beside it.
func (f figures) serve(ctx context.Context, root string, rounds, inflight int, stderr io.Writer) error {
	var runs [][]string
	if rounds > 0 {
		runs = append(runs, []string{"-bench", "-rounds", strconv.Itoa(rounds)})
	}
	if inflight > 0 {
		runs = append(runs, []string{"-bench", "-inflight", strconv.Itoa(inflight)})
	}
	if len(runs) == 0 {
		return nil
	}
	dir, err := os.MkdirTemp("", "performance")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "serving")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./bench/serving")
	build.Dir, build.Stderr = root, stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building bench/serving: %w", err)
	}
	for _, args := range runs {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Stderr = stderr
		printed, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("bench/serving: %w\n%s", err, printed)
		}
		f.read(string(printed))
	}
	return nil
}

// surroundings says when, how and on what kind of machine.
func surroundings(now time.Time, rounds int, each time.Duration) string {
	return fmt.Sprintf("Measured on %s: %s/%s, %d cores, %s, medians of %d rounds of %v for each benchmark",
		now.UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), rounds, each)
}

// load is how busy the machine has been in the last minute, with ourselves:
// much more than 1 makes every figure of the run too high.
func load() string {
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 0 {
			return f[0]
		}
	}
	return "unknown"
}
