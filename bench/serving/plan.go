package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/bench/command"
)

// plan says what to drive and for how long.
type plan struct {
	rounds int
	each   time.Duration
	only   string
}

// row is one server's round.
type row struct {
	perSecond, ofBare float64
	refused           float64       // share of the requests
	cpu               time.Duration // of the server, per answer
}

// rows are the rounds of each server.
type rows map[string][]row

// run starts every server, drives them in turn, and stops them.
func (p plan) run(ctx context.Context, progress io.Writer) (rows, error) {
	only, err := regexp.Compile(p.only)
	if err != nil {
		return nil, command.Misuse{Err: err}
	}
	children := map[string]*child{}
	defer func() {
		for _, c := range children {
			_ = c.stop()
		}
	}()
	for name := range servers() {
		which, _ := cut(name)
		if strings.HasPrefix(name, "Flight/") || !only.MatchString(which) {
			continue
		}
		c, err := spawn(ctx, name)
		if err != nil {
			return nil, err
		}
		children[name] = c
	}
	if len(children) == 0 {
		return nil, command.Misuse{Err: fmt.Errorf("no case matches %q", p.only)}
	}
	all := rows{}
	for n := range p.rounds {
		fmt.Fprintf(progress, "serving: round %d of %d\n", n+1, p.rounds)
		if err := p.round(ctx, n, children, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// round drives every server once; every other round goes backwards, so that
// nobody always follows the same neighbour.
func (p plan) round(ctx context.Context, n int, children map[string]*child, all rows) error {
	names := slices.Sorted(maps.Keys(children))
	if n%2 == 1 {
		slices.Reverse(names)
	}
	now := map[string]row{}
	for _, name := range names {
		c, d := children[name], httpDrive
		if strings.HasPrefix(name, "GRPC") {
			d = grpcDrive
		}
		r, err := d.run(ctx, c.addr, p.each, func() (time.Duration, error) {
			u, err := c.usage(false)
			return u.CPU, err
		})
		if err := errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		now[name] = r
	}
	for name, r := range now {
		which, _ := cut(name)
		if bare, ok := now[which+"/bare"]; ok {
			r.ofBare = r.perSecond / bare.perSecond
		}
		all[name] = append(all[name], r)
	}
	return nil
}

// cut splits a name into its case and the library.
func cut(name string) (which, library string) {
	i := strings.LastIndexByte(name, '/')
	return name[:i], name[i+1:]
}

// bench prints the rounds as go test does.
func (all rows) bench(w io.Writer) error {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, r := range all[name] {
			if _, err := fmt.Fprintf(w, "Benchmark%s 1 %.0f ns/op %.0f req/s %.4f of-bare %d cpu-ns/req %.4f refused\n",
				name, 1e9/r.perSecond, r.perSecond, r.ofBare, r.cpu.Nanoseconds(), r.refused); err != nil {
				return err
			}
		}
	}
	return nil
}

// table prints medians for people, the best first.
func (all rows) table(w io.Writer) error {
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		ca, _ := cut(a)
		cb, _ := cut(b)
		if c := strings.Compare(ca, cb); c != 0 {
			return c
		}
		return int(middle(all[b], row.share) - middle(all[a], row.share))
	})
	for _, name := range names {
		s := all[name]
		if _, err := fmt.Fprintf(w, "%-28s %8.0f req/s  %5.3f of bare (%.3f – %.3f)  %6.1f µs CPU  %4.1f %% refused\n", name,
			middle(s, func(r row) float64 { return r.perSecond }), middle(s, row.share)/1e6,
			slices.MinFunc(s, byShare).ofBare, slices.MaxFunc(s, byShare).ofBare,
			middle(s, func(r row) float64 { return float64(r.cpu) })/1e3,
			100*middle(s, func(r row) float64 { return r.refused })); err != nil {
			return err
		}
	}
	return nil
}

// share is ofBare as a number that sorts as an integer.
func (r row) share() float64 { return r.ofBare * 1e6 }

func byShare(a, b row) int { return int(a.share() - b.share()) }

func middle(s []row, of func(row) float64) float64 {
	v := make([]float64, len(s))
	for i, r := range s {
		v[i] = of(r)
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
