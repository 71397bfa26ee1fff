package alert

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/topology"
)

// Book keeps incidents. The zero value is ready. Not safe for concurrent use.
type Book struct {
	Hold  time.Duration // how long all symptoms must be gone before an incident resolves; 0 means 10s
	Grace time.Duration // how long after Load a symptom may be missing, for the detector starts anew; 0 means 60s
	Keep  int           // resolved incidents to keep, newest first; 0 means 200

	incidents []*Incident
	count     int
	loaded    bool            // Load brought open incidents, Step was not called yet
	loadedAt  time.Time       // first Step after that
	graceEnd  time.Time       // no symptom of theirs clears before
	heard     map[string]bool // findings told again since then: these may clear
}

const (
	mostSymptoms = 64
	mostEntries  = 200
)

// pageShare is the error share from which an incident pages.
const pageShare = 0.1

// Load takes in the incidents of an earlier run in any order, before the first
// Step. Open ones stay open until Grace and Hold have passed without their symptoms.
func (b *Book) Load(incidents []Incident) {
	for _, i := range incidents {
		c := i.clone()
		b.incidents = append(b.incidents, &c)
		b.loaded = b.loaded || c.State == Open
		if n, err := strconv.Atoi(i.ID[strings.LastIndexByte(i.ID, '-')+1:]); err == nil {
			b.count = max(b.count, n)
		}
	}
	slices.SortStableFunc(b.incidents, func(x, y *Incident) int { return x.OpenedAt.Compare(y.OpenedAt) })
}

// Step takes in the active symptoms as of now and the graph they live in, and
// returns what changed, at most one event for each incident.
//
// A symptom joins an open incident when that has a symptom of the same node,
// or of one from which calls lead to it or to which calls lead from it: that
// is the way failures travel. So one cause makes one incident, and two causes
// that meet in the same caller make one as well. What a service has found in
// itself has not travelled: it joins, and is joined by, symptoms of its own
// service only.
func (b *Book) Step(now time.Time, active []detect.Symptom, t topology.Topology) []Event {
	now = now.UTC().Truncate(time.Millisecond)
	if b.loaded {
		b.loaded = false
		b.loadedAt = now
		b.graceEnd = now.Add(cmp.Or(b.Grace, time.Minute))
		b.heard = map[string]bool{}
	}
	s := step{book: b, now: now, graph: newGraph(t), what: map[*Incident]Kind{}}
	s.gather(active)
	s.clear(active)
	return s.finish()
}

// step is one Step at work.
type step struct {
	book  *Book
	now   time.Time
	graph graph
	what  map[*Incident]Kind
}

func (s *step) mark(i *Incident, k Kind) {
	if s.what[i] != Opened {
		s.what[i] = k
	}
}

// gather gives every active symptom a place: where it already is, in a related
// incident, or in a new one. A new one is opened only when nothing else fits,
// so that the order of the symptoms does not decide.
func (s *step) gather(active []detect.Symptom) {
	var homeless []detect.Symptom
	for _, sym := range active {
		if !s.refresh(sym) {
			homeless = append(homeless, sym)
		}
	}
	for len(homeless) > 0 {
		at := -1
		var home *Incident
		for k, sym := range homeless {
			if home = s.related(sym); home != nil {
				at = k
				break
			}
		}
		if home == nil {
			at, home = 0, s.open()
		}
		s.add(home, homeless[at])
		homeless = slices.Delete(homeless, at, at+1)
	}
}

// refresh finds a symptom that is in an open incident already.
func (s *step) refresh(sym detect.Symptom) bool {
	for _, i := range s.book.incidents {
		if i.State != Open {
			continue
		}
		for k := range i.Symptoms {
			old := &i.Symptoms[k]
			if old.Target != sym.Target || old.Metric != sym.Metric {
				continue
			}
			if sym.Found() && s.spared(i) {
				s.book.heard[sym.Target+" "+sym.Metric] = true
			}
			if old.ClearedAt != nil {
				old.ClearedAt = nil
				s.say(i, describe(sym, "again: ", "再次："))
			}
			if worse(sym, old.Symptom) {
				if sym.Found() {
					s.say(i, describe(sym, "", ""))
				}
				since := old.Since
				old.Symptom = sym
				old.Since = since
				s.escalate(i, sym)
				if sym.Found() && !i.HasReport {
					s.guess(i)
				}
			}
			return true
		}
	}
	return false
}

// worse tells whether a symptom is to be noted again. A leak grows all the
// time: that is worth a line when it has grown by half.
func worse(now, old detect.Symptom) bool {
	if now.Found() {
		grown := now.Value - now.Baseline
		return grown > 0 && grown >= 1.5*(old.Value-old.Baseline) || now.Finding.Near && !old.Finding.Near
	}
	return now.Value > old.Value
}

// related finds the incident that a symptom belongs to. What was felt goes
// where something felt leads, before it goes to a finding of the same node.
func (s *step) related(sym detect.Symptom) (home *Incident) {
	name := s.graph.node(sym.Target)
	for _, i := range s.book.incidents {
		if i.State != Open {
			continue
		}
		for _, old := range i.Symptoms {
			node := s.graph.node(old.Target)
			switch {
			case !sym.Found() && !old.Found():
				if s.graph.connected(node, name) {
					return i
				}
			case node == name && home == nil:
				home = i
			}
		}
	}
	return home
}

func (s *step) open() *Incident {
	s.book.count++
	i := &Incident{
		ID:    "inc-" + s.now.Format("20060102-150405") + "-" + strconv.Itoa(s.book.count),
		State: Open, Severity: Warn, OpenedAt: s.now,
		Symptoms: []Symptom{}, Services: []string{}, Timeline: []Entry{},
	}
	s.book.incidents = append(s.book.incidents, i)
	s.mark(i, Opened)
	return i
}

func (s *step) add(i *Incident, sym detect.Symptom) {
	if len(i.Symptoms) == mostSymptoms {
		k := slices.IndexFunc(i.Symptoms, func(x Symptom) bool { return x.ClearedAt != nil })
		if k < 0 {
			return // an incident of 64 symptoms does not need one more
		}
		i.Symptoms = slices.Delete(i.Symptoms, k, k+1)
	}
	i.Symptoms = append(i.Symptoms, Symptom{Symptom: sym})
	s.say(i, describe(sym, "", ""))
	s.escalate(i, sym)
	for _, name := range s.graph.affected(sym) {
		if k, ok := slices.BinarySearch(i.Services, name); !ok {
			i.Services = slices.Insert(i.Services, k, name)
		}
	}
	if !i.HasReport {
		s.guess(i)
	}
}

// escalate raises the severity when a symptom asks for it.
func (s *step) escalate(i *Incident, sym detect.Symptom) {
	version := s.graph.node(sym.Target) != sym.Target
	fails := sym.Metric == detect.ErrorShare && sym.Value >= pageShare && !version
	if i.Severity == Page || !fails && !sym.Finding.Near {
		return
	}
	i.Severity = Page
	s.mark(i, Updated)
}

// guess names the node that no other symptom explains: from which no calls
// lead to another with a symptom.
func (s *step) guess(i *Incident) {
	best := -1
	for k, x := range i.Symptoms {
		deepest := true
		for _, y := range i.Symptoms {
			a, b := s.graph.node(x.Target), s.graph.node(y.Target)
			if a != b && !y.Found() && s.graph.leads(a, b) && !s.graph.leads(b, a) {
				deepest = false
			}
		}
		if !deepest {
			continue
		}
		if best < 0 || weight(x.Symptom) > weight(i.Symptoms[best].Symptom) {
			best = k
		}
	}
	if best < 0 {
		return
	}
	sym := i.Symptoms[best]
	i.Origin, i.OriginKind = s.graph.node(sym.Target), sym.Kind
	i.Title, i.TitleZh = title(sym.Symptom)
}

// weight orders symptoms of equal depth: failures before a limit that is near
// before slowness before what nobody has felt yet.
func weight(s detect.Symptom) float64 {
	switch {
	case s.Metric == detect.ErrorShare:
		return 1 + s.Value
	case s.Finding.Near:
		return .5
	case s.Found():
		return -1
	}
	return 0
}

// clear notes which symptoms are gone.
func (s *step) clear(active []detect.Symptom) {
	is := map[string]bool{}
	for _, sym := range active {
		is[sym.Target+" "+sym.Metric] = true
	}
	for _, i := range s.book.incidents {
		if i.State != Open {
			continue
		}
		for k := range i.Symptoms {
			sym := &i.Symptoms[k]
			name := sym.Target + " " + sym.Metric
			if sym.ClearedAt != nil || is[name] || s.spared(i) && !s.book.heard[name] {
				continue
			}
			at := s.now
			sym.ClearedAt = &at
			s.say(i, recovered(sym.Symptom))
		}
	}
}

// spared tells whether i is of an earlier run, whose symptoms a detector that
// has just begun to learn cannot see yet. A finding that was told again is not
// a matter of learning.
func (s *step) spared(i *Incident) bool {
	return s.now.Before(s.book.graceEnd) && i.OpenedAt.Before(s.book.loadedAt)
}

// finish resolves what has been quiet for long enough and returns the events.
func (s *step) finish() []Event {
	hold := cmp.Or(s.book.Hold, 10*time.Second)
	var out []Event
	for _, i := range s.book.incidents {
		if i.State == Open && (!s.spared(i) || !i.Felt()) && quietSince(i, s.now) >= hold {
			at := s.now
			i.State, i.ResolvedAt = Ended, &at
			s.say(i, Entry{
				Text:   fmt.Sprintf("resolved: all symptoms gone for %s; it lasted %s", long(hold), long(at.Sub(i.Since()))),
				TextZh: fmt.Sprintf("已恢复：所有症状消失已 %s；持续 %s", longZh(hold), longZh(at.Sub(i.Since()))),
			})
			s.what[i] = Resolved
		}
		if k, ok := s.what[i]; ok {
			out = append(out, Event{Kind: k, Incident: i.clone()})
		}
	}
	s.book.prune()
	return out
}

// quietSince returns how long all symptoms have been gone, -1 when some is not.
func quietSince(i *Incident, now time.Time) time.Duration {
	last := time.Time{}
	for _, sym := range i.Symptoms {
		if sym.ClearedAt == nil {
			return -1
		}
		if sym.ClearedAt.After(last) {
			last = *sym.ClearedAt
		}
	}
	return now.Sub(last)
}

// prune forgets the oldest resolved incidents.
func (b *Book) prune() {
	keep := cmp.Or(b.Keep, 200)
	ended := 0
	for k := len(b.incidents) - 1; k >= 0; k-- {
		if b.incidents[k].State == Ended {
			if ended++; ended > keep {
				b.incidents = slices.Delete(b.incidents, k, k+1)
			}
		}
	}
}

func (s *step) say(i *Incident, e Entry) {
	e.At = s.now
	i.say(e)
	s.mark(i, Updated)
}

// say adds a line; of a history that is too long the middle goes, for how it
// began and how it ended is what is read.
func (i *Incident) say(e Entry) {
	if len(i.Timeline) == mostEntries {
		i.Timeline = slices.Delete(i.Timeline, mostEntries/2, mostEntries/2+1)
	}
	i.Timeline = append(i.Timeline, e)
}

// Explain writes a diagnosis' answer into an incident and marks its report. It
// returns false when there is no such incident. Called again it replaces the
// answer, and adds to the timeline only when the answer is another one.
func (b *Book) Explain(now time.Time, id string, o Origin) (Event, bool) {
	i := b.find(id)
	if i == nil {
		return Event{}, false
	}
	if o.Name != "" {
		another := !i.HasReport || i.Origin != o.Name
		i.Origin, i.OriginKind = o.Name, o.Kind
		i.Owner = cmp.Or(o.Owner, i.Owner)
		i.Title, i.TitleZh = explained(i, o)
		if another {
			i.say(Entry{At: now.UTC().Truncate(time.Millisecond),
				Text: "diagnosis: " + named(o) + " is the origin; " + o.Why, TextZh: "诊断：根源是 " + named(o) + "；" + o.WhyZh})
		}
	}
	i.HasReport = true
	return Event{Kind: Updated, Incident: i.clone()}, true
}

// Note adds a line to an incident's timeline: a breaker that opened, a rollback,
// what a person did. It returns false when there is no such incident.
func (b *Book) Note(now time.Time, id, text, textZh string) (Event, bool) {
	i := b.find(id)
	if i == nil {
		return Event{}, false
	}
	i.say(Entry{At: now.UTC().Truncate(time.Millisecond), Text: text, TextZh: textZh})
	return Event{Kind: Updated, Incident: i.clone()}, true
}

func (b *Book) find(id string) *Incident {
	for _, i := range b.incidents {
		if i.ID == id {
			return i
		}
	}
	return nil
}
