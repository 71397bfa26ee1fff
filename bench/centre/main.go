// Command centre measures what the registry and the config centre cost, and
// writes docs/centre.md:
//
//	go run ./bench/centre              # everything: two minutes
//	go run ./bench/centre -quick -out - # a short look, to standard output
//
// The store is the control plane's own etcd, in this process. Clients are
// processes of their own, which are this program again with -be. Beside ours is
// go-zero's core/discov, on the same data in its own layout. A count that is not
// right (a change that did not reach everybody, an instance that is not found)
// ends the run with exit code 1; a missed goal is written down as missed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/zeromicro/go-zero/core/logx"

	"github.com/surefoot-go/surefoot/bench/command"
	"github.com/surefoot-go/surefoot/server/coord"
)

func main() {
	command.Main("centre", func(ctx context.Context, args []string) error { return run(ctx, args, os.Stdin, os.Stdout, os.Stderr) })
}

// plan is how much is measured.
type plan struct {
	processes, changes   int
	services, each       int // instances of each service
	idle                 time.Duration
	updates, storm, reps int
	quick                bool
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("centre", flag.ContinueOnError)
	f.SetOutput(stderr)
	quick := f.Bool("quick", false, "so little that the figures mean nothing: to see that everything works")
	out := f.String("out", "docs/centre.md", "document to write, from the repository's root; - means standard output")
	be := f.String("be", "", "be a client: apply, ours or zero (how the program calls itself)")
	at := f.String("at", "", "the store, for a client")
	n := f.Int("services", 500, "services to follow, for a client")
	if err := command.Parse(f, args); err != nil {
		return err
	}
	logx.Disable() // go-zero's own log
	switch *be {
	case "":
	case "apply":
		return beApply(ctx, *at, stdout)
	case "ours", "zero":
		return beWatcher(ctx, *be, *at, *n, stdin, stdout)
	default:
		return command.Misuse{Err: errors.New("-be must be apply, ours or zero")}
	}
	p := plan{processes: 100, changes: 30, services: 500, each: 20, idle: 10 * time.Second, updates: 100, storm: 1000, reps: 3}
	if *quick {
		p = plan{processes: 4, changes: 3, services: 5, each: 4, idle: 100 * time.Millisecond, updates: 5, storm: 20, reps: 1, quick: true}
	}
	begun := time.Now()
	all, err := p.measure(ctx, stderr)
	if err != nil {
		return err
	}
	text := document(begun, time.Since(begun), p, all)
	if *out == "-" {
		_, err := io.WriteString(stdout, text)
		return err
	}
	root, err := command.Root(ctx)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, *out), []byte(text), 0o644)
}

// figures are what was measured.
type figures struct {
	applied applied
	ours    watched
	zero    watched
	storms  map[string][]stormed // by whose
	reads   []read
}

func (p plan) measure(ctx context.Context, stderr io.Writer) (all figures, err error) {
	dir, err := os.MkdirTemp("", "centre-")
	if err != nil {
		return all, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of no use any more
	store, err := coord.Start(ctx, coord.Settings{Dir: dir, Client: "127.0.0.1:0", Peer: "127.0.0.1:0", Quota: 1 << 30})
	if err != nil {
		return all, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	say := func(what string) { fmt.Fprintln(stderr, time.Now().Format(time.TimeOnly), what) }

	say("a change to every process")
	if all.applied, err = p.apply(ctx, store); err != nil {
		return all, err
	}
	say("many instances, ours")
	if all.ours, err = p.watch(ctx, store, "ours"); err != nil {
		return all, err
	}
	say("many instances, go-zero's")
	if all.zero, err = p.watch(ctx, store, "zero"); err != nil {
		return all, err
	}
	all.storms = map[string][]stormed{}
	for range p.reps { // beside each other, so that a busy moment meets both
		for _, who := range []string{"ours", "zero"} {
			say("a storm of registrations, " + who)
			s, err := p.register(ctx, store, who)
			if err != nil {
				return all, err
			}
			all.storms[who] = append(all.storms[who], s)
		}
	}
	if !p.quick {
		say("reading a setting")
		all.reads, err = reads(ctx)
	}
	return all, err
}
