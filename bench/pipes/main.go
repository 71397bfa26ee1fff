// Command pipes measures package pipe beside its peers on loopback sockets, and
// writes what came of it to docs/pipe.md: messages a second, and how long one
// is under way, at 64 B, 1 KiB and 64 KiB.
//
//	go run ./bench/pipes                              # everything: under five minutes
//	go run ./bench/pipes -quick -out -                # a short look, to standard output
//	go run ./bench/pipes -only 'tls|pipe' -sizes 65536 -loads=false -out -
//	go run ./bench/pipes -only 'pipe \+seal' -sizes 64 -loads=false -profile /tmp -out -
//
// The sender and the receiver of each wire run in processes of their own, which
// are this program again with -be; NATS has its server in a third. They stay
// for as long as a size is measured. A round drives every wire once, so that a
// busy moment of the machine meets all alike; the next round goes backwards.
// Figures are medians over the rounds, shares are taken within a round.
//
// The receiver counts what arrives and looks into it: numbers must follow one
// another, and bytes be those that were sent. One that is missing, changed or
// out of order ends the run with exit code 1. A missed goal is written down as
// missed and is no failure; exit code 2 means that the flags make no sense.
//
// It measures two cores that share everything, kernel and load included: not
// how fast a network of yours will be.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/bench/command"
)

func main() {
	command.Main("pipes", func(ctx context.Context, args []string) error { return run(ctx, args, os.Stdin, os.Stdout, os.Stderr) })
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("pipes", flag.ContinueOnError)
	f.SetOutput(stderr)
	var p plan
	f.IntVar(&p.rounds, "rounds", 7, "rounds of throughput; the median of them counts")
	f.DurationVar(&p.each, "each", 300*time.Millisecond, "how long each wire is driven in a round of throughput")
	f.BoolVar(&p.loads, "loads", true, "measure latency, too")
	f.IntVar(&p.loadRounds, "loadrounds", 3, "rounds of latency; the median of their percentiles counts")
	f.DurationVar(&p.loadEach, "loadeach", 700*time.Millisecond, "how long each wire is driven in a round of latency")
	f.IntVar(&p.idle, "idle", 10000, "idle channels to hold; 0 means to leave that out")
	f.StringVar(&p.only, "only", "", "the wires to measure, as a regular expression: tls, grpc, pipe, ...")
	f.StringVar(&p.profile, "profile", "", "a folder to write CPU profiles of all processes to")
	f.IntVar(&p.heap, "heap", 64, "MiB that each process of a wire holds, as services do: see docs/pipe.md")
	sizes := f.String("sizes", "64,1024,65536", "bytes of a message")
	quick := f.Bool("quick", false, "so short that the figures mean nothing: to see that everything works")
	out := f.String("out", "docs/pipe.md", "document to write, from the repository's root; - means standard output")
	be := f.String("be", "", "be this process of a wire: receiver, sender, broker or holder (how the program calls itself)")
	if err := command.Parse(f, args); err != nil {
		return err
	}
	if *be != "" {
		return beChild(ctx, *be, stdin, stdout)
	}
	for text := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < smallest || n > largest {
			return command.Misuse{Err: errors.New("-sizes must be numbers from 64 to 65536, with commas between")}
		}
		p.sizes = append(p.sizes, n)
	}
	if *quick {
		p.rounds, p.each, p.loadRounds, p.loadEach, p.idle, p.quick = 1, 30*time.Millisecond, 1, 30*time.Millisecond, min(p.idle, 200), true
	}
	if p.rounds < 1 || p.each <= 0 || p.loadRounds < 1 || p.loadEach <= 0 || p.idle < 0 || p.heap < 0 {
		return command.Misuse{Err: errors.New("numbers must be positive")}
	}

	began := time.Now()
	all, err := p.run(ctx, stderr)
	if err != nil {
		return err
	}
	text := document(surroundings(began, time.Since(began), p), all)
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
