package locks

import (
	"sync"
	"sync/atomic"
	"time"
)

// Mutex is a sync.Mutex with a name. Set the fields before the first use and do
// not copy it afterwards. Its Lock falls back on that of package sync, so it is
// as fair.
type Mutex struct {
	Name string // what it is called in reports; "" means the place where it was first waited for or checked
	Rank int    // locks of one Name may be held together when taken by growing Rank; 0 means they may not

	mu   sync.Mutex
	mark atomic.Pointer[mark]
}

// Lock locks m, as sync.Mutex does.
func (m *Mutex) Lock() {
	if active.Load() == nil && m.mu.TryLock() {
		return
	}
	lockSlow(marked(&m.mark, m.Name, m.Rank, false), writing, &m.mu)
}

// TryLock tries to lock m, as sync.Mutex does.
func (m *Mutex) TryLock() bool {
	if !m.mu.TryLock() {
		return false
	}
	if c := active.Load(); c != nil {
		c.tried(marked(&m.mark, m.Name, m.Rank, false), writing)
	}
	return true
}

// Unlock unlocks m, as sync.Mutex does.
func (m *Mutex) Unlock() {
	if c := active.Load(); c != nil {
		c.unlock(marked(&m.mark, m.Name, m.Rank, false), writing, &m.mu)
		return
	}
	m.mu.Unlock()
}

// RWMutex is a sync.RWMutex with a name. Set the fields before the first use and
// do not copy it afterwards.
type RWMutex struct {
	Name string // as of Mutex
	Rank int    // as of Mutex

	mu   sync.RWMutex
	mark atomic.Pointer[mark]
}

// Lock locks rw for writing, as sync.RWMutex does.
func (rw *RWMutex) Lock() {
	if active.Load() == nil && rw.mu.TryLock() {
		return
	}
	lockSlow(marked(&rw.mark, rw.Name, rw.Rank, true), writing, &rw.mu)
}

// TryLock tries to lock rw for writing, as sync.RWMutex does.
func (rw *RWMutex) TryLock() bool {
	if !rw.mu.TryLock() {
		return false
	}
	if c := active.Load(); c != nil {
		c.tried(marked(&rw.mark, rw.Name, rw.Rank, true), writing)
	}
	return true
}

// Unlock unlocks rw for writing, as sync.RWMutex does.
func (rw *RWMutex) Unlock() {
	if c := active.Load(); c != nil {
		c.unlock(marked(&rw.mark, rw.Name, rw.Rank, true), writing, &rw.mu)
		return
	}
	rw.mu.Unlock()
}

// RLock locks rw for reading, as sync.RWMutex does.
func (rw *RWMutex) RLock() {
	if active.Load() == nil && rw.mu.TryRLock() {
		return
	}
	lockSlow(marked(&rw.mark, rw.Name, rw.Rank, true), reading, (*reader)(&rw.mu))
}

// TryRLock tries to lock rw for reading, as sync.RWMutex does.
func (rw *RWMutex) TryRLock() bool {
	if !rw.mu.TryRLock() {
		return false
	}
	if c := active.Load(); c != nil {
		c.tried(marked(&rw.mark, rw.Name, rw.Rank, true), reading)
	}
	return true
}

// RUnlock undoes one RLock, as sync.RWMutex does.
func (rw *RWMutex) RUnlock() {
	if c := active.Load(); c != nil {
		c.unlock(marked(&rw.mark, rw.Name, rw.Rank, true), reading, (*reader)(&rw.mu))
		return
	}
	rw.mu.RUnlock()
}

// RLocker returns a Locker whose methods are those for reading of rw.
func (rw *RWMutex) RLocker() sync.Locker { return (*rlocker)(rw) }

type rlocker RWMutex

func (r *rlocker) Lock()   { (*RWMutex)(r).RLock() }
func (r *rlocker) Unlock() { (*RWMutex)(r).RUnlock() }

// reader is the side for reading of an RWMutex.
type reader sync.RWMutex

func (r *reader) Lock()         { (*sync.RWMutex)(r).RLock() }
func (r *reader) TryLock() bool { return (*sync.RWMutex)(r).TryRLock() }
func (r *reader) Unlock()       { (*sync.RWMutex)(r).RUnlock() }

// under is the lock of package sync below one of ours.
type under interface {
	sync.Locker
	TryLock() bool
}

// lockSlow locks a lock that is checked, or could not be had at once.
func lockSlow(k *mark, w mode, l under) {
	if c := active.Load(); c != nil {
		c.lock(k, w, l)
		return
	}
	start := time.Now()
	l.Lock()
	k.count.waited(time.Since(start))
}
