// Package vitals keeps what services say is wrong inside them: a leak of
// goroutines, a heap that grows, a lock that everybody waits for.
//
//	var b vitals.Board
//	b.Fold(batch.Logs, batch.At)           // as batches arrive
//	symptoms, changed := b.Step(now)       // each second
//
// A finding is a log record with the attribute surefoot.finding, as the
// library's package vitals sends it: again every 30 s while it holds, and once
// with surefoot.finding.state "closed". So nothing needs to be kept across a
// restart of the control plane, and a process that dies takes its findings with
// it: 90 s after the last record a finding counts as closed.
//
// Two more kinds of record are findings, though they are told only as they
// happen and never closed: a misuse that package locks has seen
// (surefoot.lock.problem) and what package pipe has refused (its alarm, "pipe:
// refused"). They are counted, and close after 10 quiet minutes.
//
// The room is pure. It does not find anything itself, and it does not say what
// follows from a finding: see alert and diagnose. Every text in a Finding comes
// from a service. It is bounded and on one line; escape it where it is shown.
package vitals

import (
	"cmp"
	"slices"
	"time"
)

// States of a Finding.
const (
	Open   = "open"
	Closed = "closed"
)

// Units of a Finding's numbers.
const (
	Count   = "count"
	Bytes   = "bytes"
	Seconds = "seconds"
	Share   = "share" // of 1
	Waiting = "s/s"   // seconds waited in a second: how many wait at any time
)

// Finding is one thing that one instance of a service has found wrong in
// itself. It is a plain value.
type Finding struct {
	ID       string     `json:"id"`     // the service's own, the same in every record of this finding
	Kind     string     `json:"kind"`   // goroutines, heap, descriptors, timers, gc, scheduler, mutex, stack, lock, pipe, or another word
	Metric   string     `json:"metric"` // the same as detect names it
	State    string     `json:"state"`  // Open or Closed
	Service  string     `json:"service"`
	Version  string     `json:"version"`
	Instance string     `json:"instance"`
	Since    time.Time  `json:"since"`    // when it began, by the service's clock
	At       time.Time  `json:"at"`       // of the last record
	ClosedAt *time.Time `json:"closedAt"` // nil while open
	Expired  bool       `json:"expired"`  // closed because nothing more was heard, not because the service said so

	Value     float64 `json:"value"`  // now, in Unit
	Before    float64 `json:"before"` // when all was well
	PerMinute float64 `json:"perMinute"`
	Limit     float64 `json:"limit"` // of Value; 0 means not known
	Unit      string  `json:"unit"`  // Count, Bytes, Seconds, Share or Waiting

	Count       int64   `json:"count"`   // of things that are too many, such as goroutines
	Created     string  `json:"created"` // file:line
	Creator     string  `json:"creator"` // function
	Blocked     string  `json:"blocked"` // file:line
	Wait        string  `json:"wait"`    // what they wait for, in the runtime's words
	WaitSeconds float64 `json:"waitSeconds"`
	Method      string  `json:"method"` // "leak profile" or "growth"
	Text        string  `json:"text"`   // one sentence
	TextZh      string  `json:"textZh"` // the same in Chinese; Text when there is none
	TraceID     string  `json:"traceId"`
}

// growth is how much is too much.
func (f *Finding) growth() float64 { return f.Value - f.Before }

// near tells whether the limit is nine tenths reached, or will be in ten
// minutes at this pace.
func (f *Finding) near() bool {
	return f.Limit > 0 && (f.Value >= .9*f.Limit || f.PerMinute > 0 && f.Value+10*f.PerMinute >= f.Limit)
}

// Board is the findings that hold, and those closed lately. The zero value is
// ready; set fields before the first Fold. Not safe for concurrent use.
//
// It is bounded: a service that has too many findings loses those it closed
// first, then is refused new ones; so is everybody when the whole is full.
// Refused counts them.
type Board struct {
	Hold       time.Duration // a finding expires so long after its last record; 0 means 90s, three of the library's 30 s
	Linger     time.Duration // the same of one that is told only as it happens; 0 means 10m
	Keep       time.Duration // closed ones are shown so long; 0 means 1h
	PerService int           // findings of one service, closed ones included; 0 means 64
	Most       int           // findings of all services; 0 means 2048, about 2 MB

	all      map[key]*entry
	services map[string]int // findings by service
	refused  uint64
	changed  []key // since the last Step
	dirty    bool
	list     []Finding
}

type key struct{ service, instance, id string }

// entry is a Finding and what only the Board needs.
type entry struct {
	Finding
	heard time.Time // by our clock
	told  float64   // growth when it was last told of
}

// most is the highest number a finding has.
const most = 1e15

const mostChanged = 64 // findings that one Step tells of

// Refused counts records of findings for which there was no room.
func (b *Board) Refused() uint64 { return b.refused }

// Findings returns all: open ones first, then newest first; never nil. The
// slice is the same until something changes: read it, do not change it.
func (b *Board) Findings() []Finding {
	if !b.dirty && b.list != nil {
		return b.list
	}
	b.dirty = false
	b.list = make([]Finding, 0, len(b.all))
	for _, e := range b.all {
		b.list = append(b.list, e.Finding)
	}
	slices.SortFunc(b.list, func(x, y Finding) int {
		if x.State != y.State {
			return -cmp.Compare(x.State, y.State)
		}
		if x.State == Closed {
			if c := y.ClosedAt.Compare(*x.ClosedAt); c != 0 {
				return c
			}
		}
		return cmp.Or(y.Since.Compare(x.Since), cmp.Compare(x.Service, y.Service), cmp.Compare(x.Instance, y.Instance), cmp.Compare(x.ID, y.ID))
	})
	return b.list
}

// note takes in one record.
func (b *Board) note(f Finding, now time.Time) {
	k := key{f.Service, f.Instance, f.ID}
	e := b.all[k]
	switch {
	case e == nil && f.State == Closed:
		return // its opening was never heard, or long ago
	case e == nil:
		if e = b.room(k); e == nil {
			b.refused++
			return
		}
	case happens[f.Kind]:
		if e.State == Open {
			f.Since, f.Count = e.Since, min(f.Count+e.Count, most)
			f.Value = float64(f.Count)
		}
	case f.At.Before(e.At) && now.Sub(e.heard) < b.hold(f.Kind):
		return // overtaken by a later record
	case e.State == Closed && f.State == Closed:
		return
	}
	turned := e.State != f.State
	e.heard, b.dirty = now, true
	if f.State == Closed { // what it was is worth more than what is left
		was := e.Finding
		was.State, was.At = Closed, f.At
		at := now
		was.ClosedAt, was.Expired = &at, false
		e.Finding = was
	} else {
		e.Finding = f
	}
	if turned || e.growth() >= 1.5*e.told && e.told > 0 {
		e.told = e.growth()
		b.tell(k)
	}
}

// room makes an entry, or nil when there is none left.
func (b *Board) room(k key) *entry {
	if b.all == nil {
		b.all, b.services = map[key]*entry{}, map[string]int{}
	}
	if b.services[k.service] >= cmp.Or(b.PerService, 64) && !b.evict(k.service) ||
		len(b.all) >= cmp.Or(b.Most, 2048) && !b.evict("") {
		return nil
	}
	e := &entry{}
	b.all[k] = e
	b.services[k.service]++
	return e
}

// evict forgets the finding that was closed first, of one service or of all.
func (b *Board) evict(service string) bool {
	var first key
	var at time.Time
	for k, e := range b.all {
		if e.State == Closed && (service == "" || k.service == service) && (at.IsZero() || e.ClosedAt.Before(at)) {
			first, at = k, *e.ClosedAt
		}
	}
	if at.IsZero() {
		return false
	}
	b.forget(first)
	return true
}

func (b *Board) forget(k key) {
	delete(b.all, k)
	if b.services[k.service]--; b.services[k.service] == 0 {
		delete(b.services, k.service)
	}
	b.dirty = true
}

func (b *Board) tell(k key) {
	if len(b.changed) < mostChanged && !slices.Contains(b.changed, k) {
		b.changed = append(b.changed, k)
	}
}

func (b *Board) hold(kind string) time.Duration {
	if happens[kind] {
		return cmp.Or(b.Linger, 10*time.Minute)
	}
	return cmp.Or(b.Hold, 90*time.Second)
}

// expire closes what was not heard of any more and forgets what was closed
// long ago.
func (b *Board) expire(now time.Time) {
	keep := cmp.Or(b.Keep, time.Hour)
	for k, e := range b.all {
		switch {
		case e.State == Open && now.Sub(e.heard) >= b.hold(e.Kind):
			at := now
			e.State, e.ClosedAt, e.Expired = Closed, &at, true
			b.dirty = true
			b.tell(k)
		case e.State == Closed && now.Sub(*e.ClosedAt) >= keep:
			b.forget(k)
		}
	}
}
