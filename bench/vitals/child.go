package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sasha-s/go-deadlock"
	"go.uber.org/goleak"

	"github.com/surefoot-go/surefoot/internal/stacks"
	"github.com/surefoot-go/surefoot/locks"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/vitals"
	"github.com/surefoot-go/surefoot/vitalstest"
)

// childVariable holds what a child process is to do: a JSON of order.
const childVariable = "VITALS_CHILD"

// order is one thing for a child to do; it prints a JSON answer.
type order struct {
	Do      string // a key of acts
	Kernel  string
	Fix     bool
	How     string // near, struck, well
	Tool    string
	Seconds float64
	Speed   int // how many times as fast as by default the watch and the load are
	Count   int
	Watch   bool
}

// answer is what came of an order; each fills what it knows.
type answer struct {
	Found    bool
	After    float64 // seconds, as of a watch at its default speed
	Named    bool    // a line of the kernel
	Where    string
	Method   string
	Text     string
	Stacks   int
	Left     int // goroutines
	Goleak   bool
	Test     bool // vitalstest
	Profile  int  // goroutines that the runtime's leak profile has
	CPU      float64
	Peak     int
	Beats    int
	Requests int
	Limit    int
	Died     string
	Profiles float64
}

var acts = map[string]func(context.Context, order) (answer, error){
	"watch": watchKernel, "test": testKernel, "lock": playLock,
	"idle": idle, "hold": hold, "cost": cost, "service": serve,
}

// play does what childVariable says, prints the answer and ends the process.
func play(text string) {
	if text == "far" {
		if err := far(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	var o order
	err := json.Unmarshal([]byte(text), &o)
	var a answer
	if err == nil {
		a, err = acts[o.Do](context.Background(), o)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(a)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// ask has a child of this program, or of another build of it, do o.
func ask(ctx context.Context, program string, o order) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(o.Seconds+30)*time.Second)
	defer cancel()
	text, err := json.Marshal(o)
	if err != nil {
		return answer{}, err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	var out, says bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &says
	err = cmd.Run()
	if strings.Contains(says.String(), "all goroutines are asleep") {
		return answer{Died: "all goroutines are asleep"}, nil
	}
	var a answer
	if err == nil {
		err = json.Unmarshal(out.Bytes(), &a)
	}
	if err != nil {
		return a, fmt.Errorf("%s: %w\n%s", text, err, tail(says.String(), 2000))
	}
	return a, nil
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// newLab starts the other service if the kernel needs it.
func newLab(k kernel) (l *lab, stop func(), err error) {
	l, stop = &lab{}, func() {}
	if !slices.Contains([]string{"body", "no-timeout", "stream"}, k.id) {
		return l, stop, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"=far")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	if _, err := fmt.Fscan(out, &l.far, &l.grpc); err != nil {
		return nil, nil, err
	}
	return l, func() { in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() }, nil
}

// labOf returns the kernel called id, and what it needs around it.
func labOf(id string) (k kernel, l *lab, stop func(), err error) {
	i := slices.IndexFunc(kernels, func(k kernel) bool { return k.id == id })
	if i < 0 {
		return k, nil, nil, fmt.Errorf("no kernel %q", id)
	}
	l, stop, err = newLab(kernels[i])
	return kernels[i], l, stop, err
}

// watchKernel puts requests of a kernel under a watch, 20 a second times Speed,
// until the first finding about goroutines or the end.
func watchKernel(ctx context.Context, o order) (a answer, err error) {
	k, l, stop, err := labOf(o.Kernel)
	if err != nil {
		return a, err
	}
	defer stop()
	k.call(l, true) // connections are there
	w := &vitals.Watch{Settings: vitals.Settings{Every: 2 * time.Second / time.Duration(o.Speed)}}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(o.Seconds*float64(time.Second)))
	defer cancel()
	safe.Go(ctx, "watch", w.Run)
	began := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	for sent := 0; ctx.Err() == nil; <-tick.C {
		for due := int(time.Since(began).Seconds() * 20 * float64(o.Speed)); sent < due; sent++ {
			loose(func() { k.call(l, o.Fix) })
		}
		a.Requests = sent
		for _, f := range w.Findings() {
			if f.Kind != vitals.Goroutines && f.Kind != vitals.Scheduler || f.Kind == vitals.Scheduler && !o.Fix {
				continue
			}
			if f.Kind == vitals.Scheduler { // this machine is busy; so says a healthy run, too
				a.Died = f.Text
				continue
			}
			a.Found, a.After, a.Method, a.Text = true, time.Since(began).Seconds()*float64(o.Speed), f.Method, f.Text
			a.Where = f.Blocked
			if f.Blocked == "" {
				a.Where = f.Created
			}
			a.Named = marked(f.Blocked, k.id) || marked(f.Created, k.id)
			cancel()
		}
	}
	if p := pprof.Lookup("goroutineleak"); p != nil {
		var text bytes.Buffer
		_ = p.WriteTo(&text, 1)
		for _, s := range stacks.ParseProfile(text.Bytes()) {
			a.Profile += s.Count
		}
	}
	return a, nil
}

//go:embed kernels.go kernels_net.go
var sources embed.FS

// marked tells whether a line of the kernels, as "vitals/kernels.go:88", is one
// that a good report names.
func marked(site, id string) bool {
	file, line, _ := strings.Cut(strings.TrimPrefix(site, "vitals/"), ":")
	n, err := strconv.Atoi(line)
	if err != nil {
		return false
	}
	text, err := sources.ReadFile(file)
	if err != nil {
		return false
	}
	lines := strings.Split(string(text), "\n")
	return n > 0 && n <= len(lines) && strings.HasSuffix(lines[n-1], "// @ "+id)
}

// testKernel makes some requests as a test would, and asks goleak and
// vitalstest what is left.
func testKernel(_ context.Context, o order) (a answer, err error) {
	k, l, stop, err := labOf(o.Kernel)
	if err != nil {
		return a, err
	}
	defer stop()
	before := goleak.IgnoreCurrent()
	fake := &tester{ctx: context.Background()}
	var test sync.WaitGroup
	test.Go(func() {
		vitalstest.Settings{Wait: time.Second}.Check(fake)
		for range 12 {
			loose(func() { k.call(l, o.Fix) })
		}
		time.Sleep(100 * time.Millisecond)
		if c, ok := l.some[""].(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
		if c, ok := l.some[""].(io.Closer); ok {
			c.Close()
		}
		err := goleak.Find(before)
		a.Goleak = err != nil
		fake.end()
	})
	test.Wait()
	a.Test, a.Text = fake.said != "", fake.said
	a.Named = strings.Contains(fake.said, "kernels")
	return a, nil
}

// tester is a test for vitalstest.
type tester struct {
	ctx  context.Context
	said string
	last []func()
}

func (t *tester) Helper()                      {}
func (t *tester) Name() string                 { return "kernel" }
func (t *tester) Context() context.Context     { return t.ctx }
func (t *tester) Cleanup(f func())             { t.last = append(t.last, f) }
func (t *tester) Failed() bool                 { return false }
func (t *tester) Errorf(form string, a ...any) { t.said += fmt.Sprintf(form, a...) }

func (t *tester) end() {
	for _, f := range slices.Backward(t.last) {
		f()
	}
}

// patience is what locks.Check and go-deadlock wait before they complain of a
// hold or a wait.
const patience = 300 * time.Millisecond

// playLock plays a lock kernel with the locks of o.Tool and says what the tool
// reported.
func playLock(_ context.Context, o order) (a answer, err error) {
	i := slices.IndexFunc(lockKernels, func(k lockKernel) bool { return k.id == o.Kernel })
	if i < 0 {
		return a, fmt.Errorf("no kernel %q", o.Kernel)
	}
	var mu sync.Mutex
	var said bytes.Buffer
	told := make(chan struct{}, 100)
	tell := func() {
		select {
		case told <- struct{}{}:
		default:
		}
	}
	switch o.Tool {
	case "locks":
		defer locks.Check(locks.Checks{Order: true, Hold: patience, Wait: patience, Report: func(p locks.Problem) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintln(&said, p.Kind, p.Text)
			if a.Method == "" || len(p.Stacks) > a.Stacks {
				a.Method, a.Stacks, a.Text = p.Kind, len(p.Stacks), p.Text
			}
			tell()
		}})()
	case "go-deadlock":
		deadlock.Opts.DeadlockTimeout = patience
		deadlock.Opts.LogBuf = &locked{mu: &mu, to: &said}
		deadlock.Opts.OnPotentialDeadlock = tell
	case "sync": // as in a service, where somebody always waits for the network
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return a, err
		}
		loose(func() { _, _ = l.Accept() })
	}
	make := tools[o.Tool]
	began := time.Now()
	over := false
	finished := waitFor(func() { lockKernels[i].call(make("a"), make("b"), make("c"), o.How) })
	limit := time.After(4 * patience)
	for !over {
		select {
		case <-told:
			a.Found = true
			if a.After == 0 {
				a.After = time.Since(began).Seconds()
			}
			if o.How != struck {
				continue
			}
			time.Sleep(50 * time.Millisecond) // more stacks of the same
			over = true
		case <-finished:
			over = len(told) == 0
			if o.Tool != "sync" && !a.Found && over { // a report by a timer
				select {
				case <-told:
					a.Found = true
				case <-time.After(2 * patience):
				}
			}
		case <-limit:
			over = true
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if a.Text == "" {
		a.Text = tail(said.String(), 1000)
	}
	return a, nil
}

// locked is a writer for many.
type locked struct {
	mu *sync.Mutex
	to io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(b)
}

func waitFor(f func()) <-chan struct{} {
	done := make(chan struct{})
	loose(func() { defer close(done); f() })
	return done
}
