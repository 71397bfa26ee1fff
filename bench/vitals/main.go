// Command vitals puts real bugs under package vitals, package locks and their
// peers, and writes what each found to docs/vitals.md, with the proofs that a
// healthy process is left in peace and that watching costs next to nothing.
//
//	go run ./bench/vitals                  # four minutes
//	go run ./bench/vitals -quick -out -    # a look at a few, in some seconds
//	go run ./bench/vitals -only ticker,ab-ba -out -
//
// Each bug is played in a process of its own, in the sick and in the healthy
// form. A bug that is not found is written down as such and is no failure: exit
// code 1 means that one could not be played, 2 that the flags make no sense.
//
// The kernels are our own small models of published bugs; they are wrong on
// purpose. Never copy from them.
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
	"strings"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/bench/command"
)

func main() {
	if text := os.Getenv(childVariable); text != "" {
		play(text)
	}
	command.Main("vitals", func(ctx context.Context, args []string) error { return run(ctx, args, os.Stdout, os.Stderr) })
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("vitals", flag.ContinueOnError)
	f.SetOutput(stderr)
	out := f.String("out", "docs/vitals.md", "document to write, from the repository's root; - means standard output")
	quick := f.Bool("quick", false, "three kernels and short proofs, which prove little")
	only := f.String("only", "", "kernels, by id, with commas; without the proofs")
	if err := command.Parse(f, args); err != nil {
		return err
	}
	if (*quick || *only != "") && *out != "-" {
		return command.Misuse{Err: errors.New("a part does not make the document: give -out -")}
	}
	root, err := command.Root(ctx)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p := &program{self: self, log: stderr, speed: 40, sick: 3, well: 4.5}
	chosen := map[string]bool{}
	for id := range strings.SplitSeq(*only, ",") {
		chosen[id] = id != ""
	}
	if *quick {
		chosen = map[string]bool{"late-answer": true, "ab-ba": true}
		p.speed, p.sick, p.well = 100, 3, 1
	}
	p.chosen = func(id string) bool { return *only == "" && !*quick || chosen[id] }

	began := time.Now()
	if !*quick {
		if p.leaky, err = build(ctx, root, stderr); err != nil {
			return err
		}
		defer os.RemoveAll(filepath.Dir(p.leaky))
	}
	r, err := p.ask(ctx, *only == "", *quick)
	if err != nil {
		return err
	}
	if len(r.leaks)+len(r.locks) == 0 {
		return command.Misuse{Err: fmt.Errorf("no kernel is called %q", *only)}
	}
	at := fmt.Sprintf("Measured on %s in %s: %s/%s, %d cores, %s.", began.UTC().Format(time.DateOnly),
		time.Since(began).Round(time.Second), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	text := document(at, r)
	if *out == "-" {
		_, err = io.WriteString(stdout, text)
		return err
	}
	return os.WriteFile(filepath.Join(root, *out), []byte(text), 0o644)
}

// build makes this program with the runtime's goroutine leak profile.
func build(ctx context.Context, root string, log io.Writer) (string, error) {
	dir, err := os.MkdirTemp("", "vitals")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "vitals")
	fmt.Fprintln(log, "building with GOEXPERIMENT=goroutineleakprofile")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "./bench/vitals")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOEXPERIMENT=goroutineleakprofile")
	if text, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return "", fmt.Errorf("build: %w\n%s", err, text)
	}
	return program, nil
}

// program is one run.
type program struct {
	self, leaky string // this program, and its build with the leak profile, if any
	chosen      func(id string) bool
	log         io.Writer
	speed       int
	sick, well  float64 // seconds at speed
}

// results is what came of a run.
type results struct {
	leaks []leakResult
	locks []lockResult

	proven             bool
	idle               []answer
	service, still     answer
	with, without, ten answer
	costSeconds        float64
	speed, idleSpeed   int
	well               float64
}

type leakResult struct {
	kernel                           kernel
	watch, watchWell, test, testWell answer
	profile, profileWell             answer
}

type lockResult struct {
	kernel lockKernel
	by     map[string]answer // by tool and how
}

// ask plays everything, as many at a time as there are processors, and the
// proofs, which mostly wait, first.
func (p *program) ask(ctx context.Context, proofs, quick bool) (*results, error) {
	r := &results{speed: p.speed, well: p.well, proven: proofs, costSeconds: 30, idleSpeed: 50}
	count, hour, limit := 20000, 3600.0/50, 70.0
	if quick {
		count, hour, limit, r.costSeconds = 200, 2, 0.5, 1
	}
	type job struct {
		program string
		order   order
		to      func(answer)
	}
	var jobs []job
	add := func(program string, o order, to *answer) {
		jobs = append(jobs, job{program, o, func(a answer) { *to = a }})
	}
	if proofs {
		// What is measured in CPU time runs alone; then what mostly waits.
		quiet := []job{
			{p.self, order{Do: "cost", Count: 10000, Seconds: r.costSeconds}, func(a answer) { r.without = a }},
			{p.self, order{Do: "cost", Count: 10000, Seconds: r.costSeconds, Watch: true}, func(a answer) { r.with = a }},
			{p.self, order{Do: "cost", Count: 10000, Seconds: r.costSeconds, Watch: true, Speed: 20}, func(a answer) { r.ten = a }},
			{p.self, order{Do: "service", Seconds: limit}, func(a answer) { r.service = a }},
			{p.self, order{Do: "service", Seconds: limit, Fix: true}, func(a answer) { r.still = a }},
		}
		if err := each(len(quiet), len(quiet), func(i int) error {
			fmt.Fprintln(p.log, quiet[i].order.Do)
			a, err := ask(ctx, quiet[i].program, quiet[i].order)
			quiet[i].to(a)
			return err
		}); err != nil {
			return nil, err
		}
		fmt.Fprintln(p.log, "idle")
		o := order{Do: "idle", Count: count, Seconds: hour, Speed: r.idleSpeed}
		a, err := ask(ctx, p.self, o)
		if err != nil {
			return nil, err
		}
		if r.idle = []answer{a}; a.Requests == 0 { // it could not open so many files
			r.idle = make([]answer, 2)
			o.Count /= 2
			if err := each(2, 2, func(i int) (err error) { r.idle[i], err = ask(ctx, p.self, o); return err }); err != nil {
				return nil, err
			}
		}
	}
	for _, k := range kernels {
		if !p.chosen(k.id) {
			continue
		}
		r.leaks = append(r.leaks, leakResult{kernel: k})
	}
	for i := range r.leaks {
		l := &r.leaks[i]
		sick := order{Do: "watch", Kernel: l.kernel.id, Seconds: p.sick, Speed: p.speed}
		fixed := order{Do: "watch", Kernel: l.kernel.id, Seconds: p.well, Speed: p.speed, Fix: true}
		add(p.self, sick, &l.watch)
		add(p.self, fixed, &l.watchWell)
		add(p.self, order{Do: "test", Kernel: l.kernel.id}, &l.test)
		add(p.self, order{Do: "test", Kernel: l.kernel.id, Fix: true}, &l.testWell)
		if p.leaky != "" {
			add(p.leaky, sick, &l.profile)
			fixed.Seconds = 1
			add(p.leaky, fixed, &l.profileWell)
		}
	}
	var mu sync.Mutex
	for _, k := range lockKernels {
		if !p.chosen(k.id) {
			continue
		}
		by := map[string]answer{}
		r.locks = append(r.locks, lockResult{k, by})
		for tool := range tools {
			for _, how := range []string{near, struck, well} {
				if how == near && !k.near || tool == "sync" && how != struck || k.id == "gated" && how != well {
					continue
				}
				jobs = append(jobs, job{p.self, order{Do: "lock", Kernel: k.id, Tool: tool, How: how}, func(a answer) {
					mu.Lock()
					defer mu.Unlock()
					by[tool+" "+how] = a
				}})
			}
		}
	}
	err := each(len(jobs), runtime.NumCPU(), func(i int) error {
		j := jobs[i]
		fmt.Fprintln(p.log, j.order.Do, j.order.Kernel, j.order.Tool, j.order.How)
		a, err := ask(ctx, j.program, j.order)
		if err != nil {
			return err
		}
		j.to(a)
		return nil
	})
	return r, err
}

// each calls f for 0 to n-1, some at a time, and returns what went wrong first.
func each(n, atOnce int, f func(i int) error) error {
	var all sync.WaitGroup
	errs := make([]error, n)
	room := make(chan struct{}, atOnce)
	for i := range n {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			errs[i] = f(i)
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
