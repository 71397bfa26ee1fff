// Package drivertest is what package config expects of a driver, as tests, and a
// driver in memory that passes them.
//
//	func TestDriver(t *testing.T) {
//		drivertest.Run(t, func(t *testing.T) drivertest.Lab { return drivertest.Lab{Driver: …, Put: …, Delete: …} })
//	}
package drivertest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/errs"
)

// Memory is a store of settings in memory, for tests. The zero value is empty
// and ready; it is safe for concurrent use and must not be copied.
type Memory struct {
	mu       sync.Mutex
	items    map[string]driver.Item
	revision int64
	away     bool
	changed  chan struct{} // closed at the next change
}

var _ driver.Writer = (*Memory)(nil)

func (m *Memory) change() {
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// Commit makes all changes at once: values by key, nil to remove one.
func (m *Memory) Commit(values map[string][]byte) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commit(values)
}

func (m *Memory) commit(values map[string][]byte) int64 {
	if m.items == nil {
		m.items = map[string]driver.Item{}
	}
	m.revision++
	for key, v := range values {
		if v == nil {
			delete(m.items, key)
		} else {
			m.items[key] = driver.Item{Key: key, Value: slices.Clone(v), Revision: m.revision}
		}
	}
	m.change()
	return m.revision
}

// Away stops the store from answering, until it is called with false.
func (m *Memory) Away(yes bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = yes
	m.change()
}

// Wipe loses everything, and begins to count revisions anew: a store that comes
// back without its disk.
func (m *Memory) Wipe() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.items, m.revision = nil, 1
	m.change()
}

// Put implements driver.Writer.
func (m *Memory) Put(_ context.Context, key string, value []byte, rev int64) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(key, rev); err != nil {
		return 0, err
	}
	return m.commit(map[string][]byte{key: append([]byte{}, value...)}), nil
}

// Delete implements driver.Writer.
func (m *Memory) Delete(_ context.Context, key string, rev int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(key, rev); err != nil {
		return err
	}
	m.commit(map[string][]byte{key: nil})
	return nil
}

func (m *Memory) check(key string, rev int64) error {
	switch {
	case m.away:
		return errs.New(errs.Unavailable, "drivertest.Memory", "the store is away")
	case rev != driver.Any && m.items[key].Revision != rev:
		return errs.New(errs.Conflict, "drivertest.Memory", "the value was changed by somebody else; read it again")
	}
	return nil
}

// Watch implements driver.Driver.
func (m *Memory) Watch(ctx context.Context, prefix string, fn func(driver.Snapshot)) error {
	again := time.NewTicker(5 * time.Second)
	defer again.Stop()
	for {
		if ctx.Err() != nil {
			return errs.Wrap(ctx.Err(), "drivertest.Memory.Watch")
		}
		m.mu.Lock()
		if m.changed == nil {
			m.changed = make(chan struct{})
		}
		changed, away := m.changed, m.away
		snap := driver.Snapshot{Revision: m.revision}
		for key, it := range m.items {
			if strings.HasPrefix(key, prefix) {
				it.Value = slices.Clone(it.Value)
				snap.Items = append(snap.Items, it)
			}
		}
		m.mu.Unlock()
		if !away {
			slices.SortFunc(snap.Items, func(a, b driver.Item) int { return cmp.Compare(a.Key, b.Key) })
			fn(snap)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-again.C:
		}
	}
}
