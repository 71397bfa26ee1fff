package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// child is a client in a process of its own.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// start runs this program again as a client.
func start(ctx context.Context, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, args...)}
	c.cmd.Env = append(os.Environ(), "CENTRE_CHILD=1")
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewScanner(out)
	return c, c.cmd.Start()
}

// line reads a line of words.
func (c *child) line() ([]string, error) {
	if !c.out.Scan() {
		return nil, fmt.Errorf("a client ended: %w", c.out.Err())
	}
	return strings.Fields(c.out.Text()), nil
}

// expect reads a line whose first word is given, and returns the numbers after it.
func (c *child) expect(word string) ([]float64, error) {
	words, err := c.line()
	if err != nil {
		return nil, err
	}
	if len(words) == 0 || words[0] != word {
		return nil, fmt.Errorf("a client said %q where %q was expected", words, word)
	}
	var out []float64
	for _, w := range words[1:] {
		n, err := strconv.ParseFloat(w, 64)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// tell writes a line.
func (c *child) tell(line string) error {
	_, err := io.WriteString(c.in, line+"\n")
	return err
}

// end kills a client: it has said all that counts.
func (c *child) end() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait() // it was killed
}

// used is the processor time of this process so far, in seconds.
func used() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// weight is the live heap and the resident memory of this process, in MB.
func weight() (heap, resident float64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b, err := os.ReadFile("/proc/self/statm")
	if f := strings.Fields(string(b)); err == nil && len(f) > 1 {
		pages, _ := strconv.ParseFloat(f[1], 64)
		resident = pages * float64(os.Getpagesize()) / 1e6
	}
	return float64(m.HeapAlloc) / 1e6, resident
}
