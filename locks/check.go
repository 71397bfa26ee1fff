package locks

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Checks says what checked locks look for. The zero value looks for long holds and
// waits only.
type Checks struct {
	Order bool          // report orders of locking that can deadlock, and locking again what is held
	Hold  time.Duration // longest hold not worth a report; 0 means 1s, negative means any
	Wait  time.Duration // longest wait not worth a report; 0 means 1s, negative means any
	Owner bool          // report a lock unlocked by a goroutine that did not lock it; package sync allows that

	// Report is told of each problem when it is found, once for each pair of
	// places; nil writes it to slog.Default as an error. It is called by the
	// goroutine that is about to lock or has just unlocked, or by a timer,
	// several at a time, while locks are held: it should return soon and must not
	// take locks that may be held then. Locks that it takes itself are not checked.
	Report func(Problem)
}

// IsZero reports whether nothing is asked for.
func (c Checks) IsZero() bool {
	return !c.Order && !c.Owner && c.Hold == 0 && c.Wait == 0 && c.Report == nil
}

// defaults fills in what the zero fields mean.
func (c Checks) defaults() Checks {
	// A thousand times the wait after which a sync.Mutex calls itself starving.
	c.Hold = cmp.Or(c.Hold, time.Second)
	c.Wait = cmp.Or(c.Wait, time.Second)
	if c.Report == nil {
		c.Report = func(p Problem) {
			attrs := []any{slog.String("surefoot.lock.problem", p.Kind), slog.String("surefoot.lock", p.Name)}
			for _, s := range p.Stacks {
				attrs = append(attrs, slog.String(s.Text, s.Trace))
			}
			slog.Error(p.Text, attrs...)
		}
	}
	return c
}

// active is the checker of all locks, nil when they are not checked.
var active atomic.Pointer[checker]

// switches are the checks asked for, the one that counts last.
var switches struct {
	mu    sync.Mutex
	gen   uint64
	asked []*Checks
}

// Check turns checking on for all locks of the process, and returns what turns it
// off. A later Check takes over until it is stopped; then the earlier one begins
// anew. It may be called, and stopped, while locks are held and waited for: what
// is locked already is not judged.
//
// A checked lock costs microseconds where an unchecked one costs nanoseconds, most
// of it for the number and the stack of its goroutine: see docs/locks.md. What is learned is
// bounded: 20000 pairs of locks, then it is learned anew, with 8 ways to take each, 20000 steps
// of a search for a cycle, of 8 goroutines at most, and 256 problems. [Limited] counts where that was too little.
func Check(c Checks) (stop func()) {
	return check(c, false)
}

func check(c Checks, start bool) (stop func()) {
	full := c.defaults()
	asked := &full
	switches.mu.Lock()
	defer switches.mu.Unlock()
	switches.asked = append(switches.asked, asked)
	activate(start)
	return func() {
		switches.mu.Lock()
		defer switches.mu.Unlock()
		i := slices.Index(switches.asked, asked)
		if i < 0 {
			return
		}
		last := i == len(switches.asked)-1
		switches.asked = slices.Delete(switches.asked, i, i+1)
		if last {
			activate(false)
		}
	}
}

// activate puts a new checker for the last of what is asked into place.
func activate(start bool) {
	if len(switches.asked) == 0 {
		active.Store(nil)
		return
	}
	switches.gen++
	active.Store(newChecker(*switches.asked[len(switches.asked)-1], switches.gen, start))
}

// Problems returns what was found since checks were turned on, oldest first. It is nil
// when they are off.
func Problems() []Problem {
	c := active.Load()
	if c == nil {
		return nil
	}
	return c.found.list()
}

// Limited returns where checks have come to a bound since they were turned on. It is
// zero when they are off.
func Limited() Limits {
	c := active.Load()
	if c == nil {
		return Limits{}
	}
	c.graph.mu.RLock()
	defer c.graph.mu.RUnlock()
	return c.graph.limits
}
