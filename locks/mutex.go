package locks

import "sync"

// Mutex is a sync.Mutex with a name.
type Mutex struct {
	Name string // what it is called in reports; "" means the place where it was first waited for or checked
	Rank int    // locks of one Name may be held together when taken by growing Rank; 0 means they may not
	mu   sync.Mutex
}

// Lock locks m, as sync.Mutex does.
func (m *Mutex) Lock() { m.mu.Lock() }

// TryLock tries to lock m, as sync.Mutex does.
func (m *Mutex) TryLock() bool { return m.mu.TryLock() }

// Unlock unlocks m, as sync.Mutex does.
func (m *Mutex) Unlock() { m.mu.Unlock() }

// RWMutex is a sync.RWMutex with a name.
type RWMutex struct {
	Name string // as of Mutex
	Rank int    // as of Mutex
	mu   sync.RWMutex
}

// Lock locks rw for writing, as sync.RWMutex does.
func (rw *RWMutex) Lock() { rw.mu.Lock() }

// TryLock tries to lock rw for writing, as sync.RWMutex does.
func (rw *RWMutex) TryLock() bool { return rw.mu.TryLock() }

// Unlock unlocks rw for writing, as sync.RWMutex does.
func (rw *RWMutex) Unlock() { rw.mu.Unlock() }

// RLock locks rw for reading, as sync.RWMutex does.
func (rw *RWMutex) RLock() { rw.mu.RLock() }

// TryRLock tries to lock rw for reading, as sync.RWMutex does.
func (rw *RWMutex) TryRLock() bool { return rw.mu.TryRLock() }

// RUnlock undoes one RLock, as sync.RWMutex does.
func (rw *RWMutex) RUnlock() { rw.mu.RUnlock() }

// RLocker returns a Locker whose methods are those for reading of rw.
func (rw *RWMutex) RLocker() sync.Locker { return (*rlocker)(rw) }

type rlocker RWMutex

func (r *rlocker) Lock()   { (*RWMutex)(r).RLock() }
func (r *rlocker) Unlock() { (*RWMutex)(r).RUnlock() }
