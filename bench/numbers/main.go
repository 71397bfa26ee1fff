// Command numbers measures what the project promises in figures and writes
// them down in docs/numbers.md, each with its goal and the command behind it.
//
//	go run ./bench/numbers                        # all of it: about 25 minutes on 2 cores
//	go run ./bench/numbers -parts size,up -out -  # two parts, to standard output
//
// A part is a section of the document with the date and the machine it was
// measured on; sections of parts that were not measured stay as they are. A
// missed goal is written down as missed and is no failure: exit code 1 means
// that a figure could not be taken, 2 that the flags make no sense.
//
// It measures from outside: it builds and runs the programs a user runs and
// reads what they print. It is not a test, since a shared machine has slow
// hours, and not a profiler.
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
	"slices"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/bench/command"
)

// A bench is one run of this program.
type bench struct {
	root string // of the repository
	dir  string // for everything it builds and runs; removed at the end
	log  io.Writer

	stories []string
	runs    int // of each story
	port    int // first of the demo's ports
	idle    time.Duration

	exe string // the stripped binary, once built
}

// A part measures the figures of one section.
type part struct {
	name, title string
	measure     func(context.Context, *bench) ([]figure, error)
}

// parts in the order of the document.
func parts() []part {
	return []part{
		{"size", "Binaries", sizes},
		{"build", "Building", builds},
		{"up", "The control plane alone", alone},
		{"demo", "The demo", demo},
		{"ingest", "Taking telemetry", ingest},
	}
}

func main() {
	command.Main("numbers", func(ctx context.Context, args []string) error { return run(ctx, args, os.Stdout, os.Stderr) })
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	b := &bench{log: stderr}
	f := flag.NewFlagSet("numbers", flag.ContinueOnError)
	f.SetOutput(stderr)
	which := f.String("parts", "size,build,up,demo,ingest", "what to measure")
	out := f.String("out", "docs/numbers.md", "document to write, from the repository's root; - means standard output")
	stories := f.String("stories", "bank-down,bank-slow,bad-release,leak", "the demo's stories")
	f.IntVar(&b.runs, "n", 3, "how often each story is run")
	f.IntVar(&b.port, "port-base", 27600, "first of the 30 ports of the demo")
	f.DurationVar(&b.idle, "idle", 30*time.Second, "how long the control plane idles before its memory is read")
	if err := command.Parse(f, args); err != nil {
		return err
	}
	chosen, err := choose(parts(), *which)
	if err != nil {
		return err
	}
	if b.runs < 1 {
		return command.Misuse{Err: errors.New("-n must be at least 1")}
	}
	b.stories = strings.Split(*stories, ",")
	if b.root, err = command.Root(ctx); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "surefoot-numbers-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()

	doc, path := document{}, ""
	if *out != "-" {
		path = filepath.Join(b.root, *out)
		old, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		doc = parseDocument(string(old))
	}
	var failed []error
	for _, p := range chosen {
		b.say("== %s", p.title)
		at := surroundings(time.Now())
		figures, err := p.measure(ctx, b)
		if err != nil { // the other sections are still worth having
			failed = append(failed, fmt.Errorf("%s: %w", p.name, err))
			b.say("   %v", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			doc[p.title] = section(at, figures)
		}
	}
	if path == "" {
		_, err = io.WriteString(stdout, doc.text(parts()))
	} else if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
		err = os.WriteFile(path, []byte(doc.text(parts())), 0o644)
	}
	return errors.Join(append(failed, err)...)
}

func choose(all []part, names string) ([]part, error) {
	want := strings.Split(names, ",")
	var chosen []part
	for _, p := range all {
		if slices.Contains(want, p.name) {
			chosen = append(chosen, p)
		}
	}
	for _, w := range want {
		if !slices.ContainsFunc(all, func(p part) bool { return p.name == w }) {
			return nil, command.Misuse{Err: fmt.Errorf("-parts does not know %q", w)}
		}
	}
	return chosen, nil
}

// say tells the person at the terminal how far it is.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.log, format+"\n", args...)
}

// command is a program run in the repository's root, asked to stop when ctx
// ends and killed when that does not help.
func (b *bench) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = b.root
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

// output runs cmd and returns what it wrote to standard output, or an error
// with the end of what it wrote to standard error.
func output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok && len(e.Stderr) > 0 {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(e.Stderr)))
	}
	return string(out), err
}
