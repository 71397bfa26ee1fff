package locks

import (
	"strconv"
	"sync"
	"testing"

	"github.com/puzpuzpuz/xsync/v4"
	"github.com/sasha-s/go-deadlock"

	ours "github.com/surefoot-go/surefoot/locks"
)

func BenchmarkMutex(b *testing.B) {
	table := []struct {
		name string
		make func() sync.Locker
		on   bool
	}{
		{"sync", func() sync.Locker { return new(sync.Mutex) }, false},
		{"surefoot", func() sync.Locker { return new(ours.Mutex) }, false},
		{"sync-rw-read", func() sync.Locker { return new(sync.RWMutex).RLocker() }, false},
		{"surefoot-rw-read", func() sync.Locker { return new(ours.RWMutex).RLocker() }, false},
		{"sync-rw-write", func() sync.Locker { return new(sync.RWMutex) }, false},
		{"surefoot-rw-write", func() sync.Locker { return new(ours.RWMutex) }, false},
		{"surefoot-checked", func() sync.Locker { return new(ours.Mutex) }, true},
		{"go-deadlock", func() sync.Locker { return new(deadlock.Mutex) }, false},
	}
	for _, c := range table {
		run := func(name string, fn func(b *testing.B, l sync.Locker)) {
			b.Run(name+"/"+c.name, func(b *testing.B) {
				if c.on {
					b.Cleanup(ours.Check(ours.Checks{Order: true, Report: func(ours.Problem) {}}))
				}
				fn(b, c.make())
			})
		}
		run("free", func(b *testing.B, l sync.Locker) {
			for b.Loop() {
				l.Lock()
				l.Unlock()
			}
		})
		run("contended", func(b *testing.B, l sync.Locker) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					l.Lock()
					l.Unlock()
				}
			})
		})
	}
}

// table is what the maps have in common.
type table interface {
	Load(string) (int, bool)
	Store(string, int)
}

type plain struct {
	mu sync.RWMutex
	m  map[string]int
}

func (p *plain) Load(k string) (int, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	v, ok := p.m[k]
	return v, ok
}

func (p *plain) Store(k string, v int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.m[k] = v
}

type std struct{ m sync.Map }

func (s *std) Load(k string) (int, bool) {
	v, ok := s.m.Load(k)
	n, _ := v.(int)
	return n, ok
}
func (s *std) Store(k string, v int) { s.m.Store(k, v) }

func BenchmarkMap(b *testing.B) {
	const keys = 10_000
	names := make([]string, keys)
	for i := range names {
		names[i] = "user:" + strconv.Itoa(i)
	}
	maps := []struct {
		name string
		make func() table
	}{
		{"surefoot", func() table { return new(ours.Map[string, int]) }},
		{"sync.Map", func() table { return new(std) }},
		{"RWMutex", func() table { return &plain{m: map[string]int{}} }},
		{"xsync", func() table { return xsync.NewMap[string, int]() }},
	}
	for _, mix := range []struct {
		name   string
		writes int // of 100
	}{{"reads", 0}, {"writes10", 10}, {"writes50", 50}} {
		for _, c := range maps {
			b.Run(mix.name+"/"+c.name, func(b *testing.B) {
				m := c.make()
				for i, k := range names {
					m.Store(k, i)
				}
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for i := uint32(1); pb.Next(); {
						i = i*1664525 + 1013904223
						k := names[i>>8%keys]
						if int(i>>16%100) < mix.writes {
							m.Store(k, 100000)
						} else {
							m.Load(k)
						}
					}
				})
			})
		}
	}
}
