package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/safe"
)

// A child is one process of the system, its output in a file of its own.
type child struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when the process has ended
	err  error         // valid once done is closed

	retired bool // asked to end while the others go on; under children.mu
}

// children are the processes a demo owns. None outlives it: they get SIGTERM
// in the reverse order of their start, then SIGKILL, and on Linux the kernel
// kills them should the demo itself be killed.
type children struct {
	exe  string
	logs string

	mu   sync.Mutex
	all  []*child
	died chan *child // a child that ended without being asked; holds one
	stop bool
}

func newChildren(exe, logs string) *children {
	return &children{exe: exe, logs: logs, died: make(chan *child, 1)}
}

// start runs exe with args and returns as soon as the process exists.
func (c *children) start(name string, args ...string) (*child, error) {
	const op = "e2e.start"
	path := filepath.Join(c.logs, name+".log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, errs.New(errs.FailedPrecondition, op, "cannot write "+path).Because(err)
	}
	defer func() { _ = f.Close() }() // the child holds its own descriptor
	cmd := exec.Command(c.exe, args...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = apart()
	if err := cmd.Start(); err != nil {
		return nil, errs.New(errs.Internal, op, "cannot start "+name).Because(err)
	}
	ch := &child{name: name, cmd: cmd, log: path, done: make(chan struct{})}
	c.mu.Lock()
	c.all = append(c.all, ch)
	c.mu.Unlock()
	safe.Go(context.Background(), "e2e.wait."+name, func(context.Context) error {
		ch.err = cmd.Wait()
		close(ch.done)
		c.mu.Lock()
		asked := c.stop || ch.retired
		c.mu.Unlock()
		if !asked {
			select {
			case c.died <- ch:
			default: // one death is enough to end the story
			}
		}
		return nil
	})
	return ch, nil
}

// retire stops one child, within limit, while the others go on.
func (c *children) retire(name string, limit time.Duration) {
	c.mu.Lock()
	i := slices.IndexFunc(c.all, func(ch *child) bool { return ch.name == name })
	var ch *child
	if i >= 0 {
		ch = c.all[i]
		ch.retired = true
		c.all = slices.Delete(c.all, i, i+1)
	}
	c.mu.Unlock()
	if ch != nil {
		ch.end(limit)
	}
}

// end stops every child, last started first, each within limit.
func (c *children) end(limit time.Duration) {
	c.mu.Lock()
	c.stop = true
	all := append([]*child(nil), c.all...)
	c.mu.Unlock()
	for i := len(all) - 1; i >= 0; i-- {
		all[i].end(limit)
	}
}

func (ch *child) end(limit time.Duration) {
	select {
	case <-ch.done:
		return
	default:
	}
	terminate(ch.cmd.Process)
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-ch.done:
	case <-t.C:
		_ = ch.cmd.Process.Kill()
		<-ch.done
	}
}

// death says how a child ended, with the last lines it wrote.
func (ch *child) death() error {
	return errs.New(errs.Internal, "e2e", fmt.Sprintf("%s ended by itself (%v); its last lines:\n%s", ch.name, ch.err, tail(ch.log, 12)))
}

// tail returns the last n lines of a file, indented.
func tail(path string, n int) string {
	f, err := os.Open(path)
	if err != nil {
		return "  (no log: " + err.Error() + ")"
	}
	defer func() { _ = f.Close() }()
	const most = 64 << 10
	if st, err := f.Stat(); err == nil && st.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd)
	}
	b, _ := io.ReadAll(f)
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return "  " + strings.Join(lines, "\n  ")
}

// memory adds up the resident memory of the demo itself and its children, in
// bytes; see resident.
func (c *children) memory() (total int64, each map[string]int64) {
	each = map[string]int64{"demo": resident(os.Getpid())}
	c.mu.Lock()
	for _, ch := range c.all {
		each[ch.name] = resident(ch.cmd.Process.Pid)
	}
	c.mu.Unlock()
	for _, n := range each {
		total += n
	}
	return total, each
}

// resident is what a process costs the machine, in bytes: its own pages, and of
// those it shares its part (Pss). Where the system does not tell that, it is all
// it can touch (VmRSS), and where it does not tell that either, 0. The
// difference is large here: all of ours run one binary, whose code VmRSS counts
// again for each.
func resident(pid int) int64 {
	for _, from := range []struct{ file, key string }{{"smaps_rollup", "\nPss:"}, {"status", "\nVmRSS:"}} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, from.file))
		if err != nil {
			continue
		}
		_, rest, _ := bytes.Cut(b, []byte(from.key))
		var kb int64
		if _, err := fmt.Sscan(string(rest), &kb); err == nil && kb > 0 {
			return kb << 10
		}
	}
	return 0
}
