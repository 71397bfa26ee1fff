package server

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/surefoot-go/surefoot/server/api"
	"github.com/surefoot-go/surefoot/server/catalog"
	"github.com/surefoot-go/surefoot/server/topology"
	"github.com/surefoot-go/surefoot/server/vitals"
)

// live is what the API reads: the picture of the last second, replaced whole
// each second by the loop that draws it.
type live struct {
	ready    atomic.Bool
	picture  atomic.Pointer[topology.Topology]
	findings atomic.Pointer[[]vitals.Finding]
	counts   func() api.Ingest // totals; SpansPerSecond is ours
	speed    speed
}

func newLive(counts func() api.Ingest) *live {
	l := &live{counts: counts}
	l.picture.Store(&topology.Topology{Nodes: []topology.Node{}, Edges: []topology.Edge{}})
	l.findings.Store(&[]vitals.Finding{})
	return l
}

// Ready tells whether telemetry is taken and questions are answered.
func (l *live) Ready() bool { return l.ready.Load() }

// Topology is the map of the last second.
func (l *live) Topology() topology.Topology { return *l.picture.Load() }

// Findings are what a service has found in itself: open ones, then those
// closed lately; never nil.
func (l *live) Findings(service string) []vitals.Finding {
	out := []vitals.Finding{}
	for _, f := range *l.findings.Load() {
		if f.Service == service {
			out = append(out, f)
		}
	}
	return out
}

// open counts the open findings of each service.
func (l *live) open() map[string]int {
	n := map[string]int{}
	for _, f := range *l.findings.Load() {
		if f.State == vitals.Open {
			n[f.Service]++
		}
	}
	return n
}

// Ingest is what has come in so far.
func (l *live) Ingest() api.Ingest {
	in := l.counts()
	in.SpansPerSecond = l.speed.value()
	return in
}

// tick notes the totals of this second.
func (l *live) tick(now time.Time) { l.speed.note(now, l.counts().Spans) }

// speed is the slope of a total over the last ten notes.
type speed struct {
	mu    sync.Mutex
	notes []speedNote // oldest first
}

type speedNote struct {
	at    time.Time
	total int64
}

func (s *speed) note(now time.Time, total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, speedNote{now, total})
	if len(s.notes) > 11 {
		s.notes = append(s.notes[:0], s.notes[1:]...)
	}
}

func (s *speed) value() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.notes) < 2 {
		return 0
	}
	first, last := s.notes[0], s.notes[len(s.notes)-1]
	length := last.at.Sub(first.at).Seconds()
	if length <= 0 {
		return 0
	}
	return float64(last.total-first.total) / length
}

// shelf holds the catalog as last read; another one takes its place when the
// folder has changed.
type shelf struct {
	now atomic.Pointer[catalog.Catalog]
}

func (s *shelf) Entry(name string) (catalog.Entry, bool) { return s.now.Load().Entry(name) }

func (s *shelf) Owner(name string) string { return s.now.Load().Owner(name) }

func (s *shelf) Section(name string, symptoms ...string) (title, body string, ok bool) {
	return s.now.Load().Section(name, symptoms...)
}
