package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/surefoot-go/surefoot/bench/command"
)

// setup is all a child must know, its first line of standard input.
type setup struct {
	Wire        string
	Size        int
	Addr        string // for a sender: where the receiver is
	Broker      string // where the broker is, if the wire has one
	Cert, Key   []byte // PEM, for every process alike
	Folder      string // where they are files, too: cert.pem and key.pem
	Secret      []byte // the pre-shared key of package pipe
	Profile     string // file for a CPU profile; "" means none
	Heap        int    // MiB to hold
	Channels    int    // of a holder
	Connections int    // of a holder
}

// order is a further line; each is answered by a line.
type order struct {
	Do   string // flood, pace, collect, use, settle
	Rate float64
	Each time.Duration
}

// answer is a child's line; the first one says where it listens.
type answer struct {
	Addr    string        `json:",omitempty"`
	Sent    int64         `json:",omitempty"`
	Arrived arrived       `json:",omitzero"`
	CPU     time.Duration `json:",omitempty"`
	Memory  int64         `json:",omitempty"` // resident bytes
	Err     string        `json:",omitempty"`
}

// patience is how long a round may take beyond its length.
const patience = 20 * time.Second

// beChild is one process of a wire, until standard input ends.
func beChild(ctx context.Context, role string, stdin io.Reader, stdout io.Writer) error {
	in, out := json.NewDecoder(stdin), json.NewEncoder(stdout)
	var s setup
	if err := in.Decode(&s); err != nil {
		return err
	}
	profiled, err := command.Profile(s.Profile)
	if err != nil {
		return err
	}
	defer profiled()
	ballast := make([]byte, s.Heap<<20) // never touched: it counts as heap and takes no memory
	defer runtime.KeepAlive(ballast)
	obey, addr, stop, err := begin(ctx, role, s)
	if err != nil {
		return err
	}
	defer stop()
	if err := out.Encode(answer{Addr: addr}); err != nil {
		return err
	}
	for {
		var o order
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		a, err := answer{}, error(nil)
		switch o.Do {
		case "settle":
			debug.FreeOSMemory()
			fallthrough
		case "use":
			a, err = use()
		default:
			a, err = obey(o)
		}
		if err != nil {
			a.Err = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

// begin starts what role is; obey does what it is told.
func begin(ctx context.Context, role string, s setup) (obey func(order) (answer, error), addr string, stop func(), err error) {
	nothing := func(o order) (answer, error) { return answer{}, fmt.Errorf("%s does not %s", role, o.Do) }
	if role == "holder" {
		addr, stop, err = hold(ctx, s)
		return nothing, addr, stop, err
	}
	w, ok := wireOf(s.Wire)
	switch {
	case !ok:
		return nil, "", nil, command.Misuse{Err: fmt.Errorf("no wire is called %q", s.Wire)}
	case role == "broker" && w.broker != nil:
		addr, stop, err = w.broker(s)
		return nothing, addr, stop, err
	case role == "receiver":
		sink := newSink(s.Size)
		addr, stop, err = w.serve(ctx, s, sink.take)
		return func(o order) (answer, error) { return collect(sink, o) }, addr, stop, err
	case role == "sender":
		to, err := w.dial(ctx, s)
		if err != nil {
			return nil, "", nil, err
		}
		from := &source{to: to, b: newMessage(s.Size)}
		return func(o order) (answer, error) { return drive(ctx, from, o) }, "", func() { _ = to.Close() }, nil
	}
	return nil, "", nil, command.Misuse{Err: fmt.Errorf("a wire has no %q", role)}
}

// collect waits for the end of a round.
func collect(s *sink, o order) (answer, error) {
	late := time.NewTimer(o.Each + patience)
	defer late.Stop()
	select {
	case a := <-s.rounds:
		return answer{Arrived: a}, nil
	case <-late.C:
		return answer{}, errors.New("the last message of a round did not arrive")
	}
}

// drive sends a round.
func drive(ctx context.Context, from *source, o order) (a answer, err error) {
	ctx, stop := context.WithTimeout(ctx, o.Each+patience)
	defer stop()
	switch o.Do {
	case "flood":
		a.Sent, err = from.flood(ctx, o.Each)
	case "pace":
		a.Sent, err = from.pace(ctx, o.Rate, o.Each)
	default:
		err = fmt.Errorf("a sender does not %s", o.Do)
	}
	return a, err
}

// use is what this process has used so far, and what memory it holds.
func use() (answer, error) {
	var r syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return answer{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), Memory: resident()}, err
}

// resident is the resident memory of this process in bytes; where the system
// does not say, what Go's runtime holds.
func resident() int64 {
	if b, err := os.ReadFile("/proc/self/status"); err == nil {
		for line := range strings.Lines(string(b)) {
			if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				if kb, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64); err == nil {
					return kb << 10
				}
			}
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}

// child is a process seen from here.
type child struct {
	name string
	addr string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
}

// spawn starts this program again as role of a wire. The caller must call
// stop.
func spawn(ctx context.Context, role string, s setup) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-be", role)
	cmd.Env, cmd.Stderr = append(os.Environ(), "PIPES_CHILD=1"), os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{name: s.Wire + ": " + role, cmd: cmd, in: in, out: json.NewDecoder(bufio.NewReader(out))}
	a, err := c.ask(s)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s does not start: %w", c.name, err), c.stop())
	}
	c.addr = a.Addr
	return c, nil
}

// ask sends a line and waits for the answer.
func (c *child) ask(what any) (a answer, err error) {
	if err := json.NewEncoder(c.in).Encode(what); err != nil {
		return a, fmt.Errorf("%s: %w", c.name, err)
	}
	if err := c.out.Decode(&a); err != nil {
		return a, fmt.Errorf("%s: %w", c.name, err)
	}
	if a.Err != "" {
		return a, fmt.Errorf("%s: %s", c.name, a.Err)
	}
	return a, nil
}

// stop ends the process, which has two seconds to do it in order.
func (c *child) stop() error {
	_ = c.in.Close()
	late := time.AfterFunc(2*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer late.Stop()
	return c.cmd.Wait()
}
