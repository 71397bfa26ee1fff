// Command serving measures whole servers over loopback sockets: requests a
// second of ours and of its peers as a share of what the bare server does.
//
//	go run ./bench/serving                     # HTTP and gRPC, 25 rounds: about a minute
//	go run ./bench/serving -only HTTP -rounds 3
//	go run ./bench/serving -inflight 100000    # so many requests in flight at once
//
// Each server runs in a process of its own, which is this program again with
// -serve; the load comes from here, closed loop, and is the only one. A round
// drives every server once, so that a busy moment of the machine meets all
// alike; each figure is a share of the bare server's in the same round. With
// -bench the rounds are printed as go test prints benchmarks, for
// bench/performance to read.
//
// It measures what a framework costs a request, on two shared cores, not how
// fast a service of yours will be; for the cost of one call see bench/peers,
// for behaviour under overload bench/overload.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"time"

	"github.com/zeromicro/go-zero/core/logx"

	"github.com/surefoot-go/surefoot/bench/command"
)

func main() {
	command.Main("serving", func(ctx context.Context, args []string) error { return run(ctx, args, os.Stdin, os.Stdout, os.Stderr) })
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	logx.SetWriter(logx.NewWriter(io.Discard)) // go-zero, once imported, prints its process's usage each minute
	f := flag.NewFlagSet("serving", flag.ContinueOnError)
	f.SetOutput(stderr)
	var p plan
	f.IntVar(&p.rounds, "rounds", 25, "rounds; the median of them counts")
	f.DurationVar(&p.each, "each", 120*time.Millisecond, "how long each server is driven in a round")
	f.StringVar(&p.only, "only", "", "the cases to run, as a regular expression: HTTPServer/always, GRPCServer/1percent, ...")
	bench := f.Bool("bench", false, "print each round as go test prints a benchmark")
	flight := f.Int("inflight", 0, "instead: have so many requests in flight at once")
	hold := f.Duration("hold", 0, "with -inflight: how long the downstream takes to answer; 0 means a second more than it takes to send all")
	rate := f.Int("rate", 4000, "with -inflight: requests a second")
	serve := f.String("serve", "", "be the server of this name (how the program calls itself)")
	profile := f.String("profile", "", "with -serve: where to write a CPU profile")
	if err := command.Parse(f, args); err != nil {
		return err
	}
	if p.rounds < 1 || p.each <= 0 || *flight < 0 || *hold < 0 || *rate < 1 {
		return command.Misuse{Err: errors.New("numbers must be positive")}
	}
	switch {
	case *serve != "":
		return serveChild(ctx, *serve, *profile, stdin, stdout)
	case *flight > 0:
		if *hold == 0 {
			*hold = time.Duration(*flight)*time.Second/time.Duration(*rate) + time.Second
		}
		return runInflight(ctx, flightPlan{*flight, *rate, *hold}, *bench, stdout, stderr)
	}
	rows, err := p.run(ctx, stderr)
	if err != nil {
		return err
	}
	if *bench {
		return rows.bench(stdout)
	}
	return rows.table(stdout)
}
