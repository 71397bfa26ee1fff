// Package e2e tells the reference shop's stories: it starts the control plane
// and the seven services as processes of their own, puts load on them, breaks
// something with a real proxy, watches the control plane find out, mends it,
// and proves at the end that no order was lost and nobody was charged twice.
//
//	err := e2e.Demo{Exe: "/usr/local/bin/surefoot", Story: "bank-down", Headless: true}.Run(ctx)
//
// It is what `surefoot demo` shows a person and what the tests run. It is not
// a way to run a shop: everything it starts ends with it.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/errs"
)

// Demo is one telling of one story. Only Exe is required.
type Demo struct {
	Exe      string        // the surefoot binary, which has the subcommands up and shop
	Dir      string        // where data and logs live; "" means a temporary folder, removed at the end
	PortBase int           // first of the 30 loopback ports in use; 0 means 17600
	Story    string        // one of Stories(); "" means bank-down
	For      time.Duration // keep everything running at least this long; 0 means until ctx ends, or not at all when Headless
	Headless bool          // tell the story and stop
	Lang     string        // "en" or "zh"; "" means en
	Rate     float64       // orders per second; 0 means 20
	Out      io.Writer     // where the story is told; nil means os.Stdout
}

// ErrStory is wrapped by the error of a story that did not come true.
var ErrStory = errors.New("the story did not come true")

// stories in the order a newcomer meets them.
var stories = []struct {
	name  string
	about say
	tell  func(context.Context, *system) error
}{
	{"bank-down", say{"the bank goes down under load and comes back", "负载之下银行宕机，随后恢复"}, bankDown},
	{"bank-slow", say{"the bank answers, but seconds late", "银行仍有应答，但迟到数秒"}, bankSlow},
	{"bad-release", say{"payment v2 goes out to premium users and fails for them", "payment v2 发布给 premium 用户后出错"}, badRelease},
	{"leak", say{"payment v3 answers well and leaks one goroutine per order", "payment v3 应答正常，但每单泄漏一个协程"}, leak},
}

// Stories lists the names that Demo.Story takes.
func Stories() []string {
	var out []string
	for _, s := range stories {
		out = append(out, s.name)
	}
	return out
}

// Run tells the story. It blocks until the story has ended (and, unless
// Headless, until For has passed or ctx ends) and everything it started is
// gone. A bad setting or a taken port is an *errs.Error of kind Invalid or
// FailedPrecondition; a story that did not come true wraps ErrStory.
func (d Demo) Run(ctx context.Context) (err error) {
	d, tell, err := d.resolve()
	if err != nil {
		return err
	}
	v := newView(d.Out, d.Lang)
	if d.Dir == "" {
		if d.Dir, err = os.MkdirTemp("", "surefoot-demo-"); err != nil {
			return errs.New(errs.FailedPrecondition, "e2e.Run", "cannot make a temporary folder; name one with --dir").Because(err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(d.Dir)) }()
	}
	start := time.Now()
	s, err := newSystem(d, v)
	if err != nil {
		return err
	}
	defer s.close()
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.watchDeaths(watched, cancel)

	if err := s.up(watched); err != nil {
		return s.because(watched, ctx, err)
	}
	if err := tell(watched, s); err != nil {
		return s.because(watched, ctx, err)
	}
	if err := s.epilogue(watched); err != nil {
		return s.because(watched, ctx, err)
	}
	return s.linger(watched, ctx, start)
}

// because prefers the reason the story was cut short over the step that
// noticed it; a person's Ctrl-C is no error.
func (s *system) because(watched, ctx context.Context, err error) error {
	if ctx.Err() != nil {
		s.v.line(say{"\nStopping.", "\n正在停止。"})
		return ctx.Err()
	}
	if cause := context.Cause(watched); cause != nil {
		return cause
	}
	return err
}

func (s *system) linger(watched, ctx context.Context, start time.Time) error {
	wait := s.d.For - time.Since(start)
	if s.d.For == 0 && s.d.Headless || s.d.For > 0 && wait <= 0 {
		return nil
	}
	s.startLoad(watched) // a shop without customers has nothing to show
	if s.d.For > 0 {
		s.v.line(say{"\nThe system keeps running for %s at %s. Ctrl-C stops it.", "\n系统将继续运行 %s：%s 。按 Ctrl-C 停止。"}, wait.Round(time.Second), s.plane.url)
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-watched.Done():
		}
	} else {
		s.v.line(say{"\nThe system keeps running at %s — look around. Ctrl-C stops it.", "\n系统继续运行：%s ，请随意查看。按 Ctrl-C 停止。"}, s.plane.url)
		<-watched.Done()
	}
	if ctx.Err() != nil { // the story was told; a person ended the rest
		return nil
	}
	return context.Cause(watched)
}

// resolve fills the defaults, and refuses what cannot work before anything is
// started.
func (d Demo) resolve() (Demo, func(context.Context, *system) error, error) {
	const op = "e2e.Demo"
	if d.Exe == "" {
		return d, nil, errs.New(errs.Invalid, op, "Exe is empty: name the surefoot binary")
	}
	if d.PortBase == 0 {
		d.PortBase = 17600
	}
	if d.PortBase < 1024 || d.PortBase > 65535-portsUsed {
		return d, nil, errs.New(errs.Invalid, op, fmt.Sprintf("--port-base %d is out of range; use 1024 to %d", d.PortBase, 65535-portsUsed))
	}
	if d.Story == "" {
		d.Story = stories[0].name
	}
	if d.Rate == 0 {
		d.Rate = 20
	}
	if d.Rate < 0 || d.Rate > 500 {
		return d, nil, errs.New(errs.Invalid, op, fmt.Sprintf("%g orders per second is out of range; use 1 to 500", d.Rate))
	}
	if d.Out == nil {
		d.Out = os.Stdout
	}
	var tell func(context.Context, *system) error
	for _, s := range stories {
		if s.name == d.Story {
			tell = s.tell
		}
	}
	if tell == nil {
		return d, nil, errs.New(errs.Invalid, op, fmt.Sprintf("no story named %q; choose one of %s", d.Story, strings.Join(Stories(), ", ")))
	}
	if d.Dir != "" {
		if err := writable(d.Dir); err != nil {
			return d, nil, err
		}
	}
	return d, tell, freePorts(d.PortBase)
}

func writable(dir string) error {
	const op = "e2e.Demo"
	bad := func(err error) error {
		return errs.New(errs.FailedPrecondition, op, fmt.Sprintf("cannot write to folder %s; choose another with --dir (%v)", dir, errors.Unwrap(err))).Because(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return bad(err)
	}
	probe := filepath.Join(dir, ".probe")
	if err := os.WriteFile(probe, nil, 0o600); err != nil {
		return bad(err)
	}
	return os.Remove(probe)
}

// freePorts tells which port is taken, if one is.
func freePorts(base int) error {
	for _, off := range slices.Sorted(slices.Values(portOffsets)) {
		addr := fmt.Sprintf("127.0.0.1:%d", base+off)
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			return errs.New(errs.FailedPrecondition, "e2e.Demo",
				fmt.Sprintf("port %d is taken; stop what uses it or choose others with --port-base (%d ports from there are used)", base+off, portsUsed)).Because(err)
		}
		_ = ln.Close()
	}
	return nil
}
