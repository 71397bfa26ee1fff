package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/surefoot-go/surefoot/bench/command"
)

// usage is what a server's process has used so far.
type usage struct {
	CPU        time.Duration
	Memory     uint64 // bytes of the heap and of stacks that are in use
	Goroutines int
	Extra      map[string]float64 `json:",omitempty"` // what the server itself counts
}

// serveChild is the other process: it serves, says where, and answers each
// line of stdin with its usage, until stdin ends.
func serveChild(ctx context.Context, name, profile string, stdin io.Reader, stdout io.Writer) error {
	start, ok := servers()[name]
	if !ok {
		return command.Misuse{Err: fmt.Errorf("no server is called %q", name)}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	profiled, err := command.Profile(profile)
	if err != nil {
		return err
	}
	defer profiled()
	s, err := start(ctx, l)
	if err != nil {
		return err
	}
	defer s.stop()
	fmt.Fprintln(stdout, s.addr)
	for lines := bufio.NewScanner(stdin); lines.Scan(); {
		u := measure(lines.Text() == "gc")
		if s.count != nil {
			u.Extra = s.count()
		}
		if err := json.NewEncoder(stdout).Encode(u); err != nil {
			return err
		}
	}
	return nil
}

func measure(collect bool) usage {
	if collect {
		runtime.GC()
	}
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{
		CPU:        time.Duration(r.Utime.Nano() + r.Stime.Nano()),
		Memory:     m.HeapInuse + m.StackInuse,
		Goroutines: runtime.NumGoroutine(),
	}
}

// child is a server's process seen from here.
type child struct {
	addr string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

// spawn starts this program again as the server called name. The caller must
// call stop.
func spawn(ctx context.Context, name string, env ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-serve", name)
	cmd.Env, cmd.Stderr = append(os.Environ(), env...), os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, in: in, out: bufio.NewReader(out)}
	addr, err := c.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("%s does not start: %w", name, errors.Join(err, c.stop()))
	}
	c.addr = strings.TrimSpace(addr)
	return c, nil
}

// usage asks the process; with gc it collects its garbage first.
func (c *child) usage(gc bool) (u usage, err error) {
	word := "\n"
	if gc {
		word = "gc\n"
	}
	if _, err := io.WriteString(c.in, word); err != nil {
		return u, err
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return u, err
	}
	return u, json.Unmarshal(line, &u)
}

// stop ends the process, which has two seconds to do it in order.
func (c *child) stop() error {
	_ = c.in.Close()
	late := time.AfterFunc(2*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer late.Stop()
	return c.cmd.Wait()
}
