package vitals

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

const (
	// again is how often a finding is told while it holds.
	again = 30 * time.Second
	// maxOpen is how many findings are open at most; one more waits until
	// another closes. There are seven kinds that have one each.
	maxOpen = 12
	// maxCrowds is how many of them are of goroutines: more have one cause.
	maxCrowds = 4
	// top is how many groups or sites a finding has.
	top = 5
)

// Judge decides what is a finding, from samples of any process. It reads no
// clock and takes no profile: its caller does both, and answers what it wants.
//
//	v := j.Step(now, sample)
//	for v.Want != 0 {
//		report(v.Report)
//		v = j.Look(now, take(v.Want))
//	}
//	report(v.Report)
//
// The zero value works. A Judge is not safe for concurrent use.
type Judge struct {
	Settings Settings
	Version  string // to say in a finding

	s      Settings // with defaults
	began  time.Time
	last   Sample
	lastAt time.Time

	crowds crowds
	heap   climb
	stack  climb
	open   []*holding
	seq    int
	report []Finding

	descriptors series
	wantFD      bool    // the groups are to be compared with the descriptors
	wellFD      float64 // when they did not grow

	share, pause, sched, mutex level

	timers    []int // of the last looks
	timersAt  time.Time
	wellHeap  map[string]Site // what was in use when it was well
	heapGrows bool
	heapPace  float64   // when the finding opened
	heapAt    time.Time // of the last look for a finding
	suspicion *Finding  // of the heap, until it is known who
	locks     []Site
}

// holding is an open finding.
type holding struct {
	Finding
	key  string
	said time.Time
	peak int       // of Count
	grew time.Time // when there was last more than ever
	from time.Time // since when members are known to have stayed
}

// beats is how long n beats are.
func (j *Judge) beats(n int) time.Duration { return time.Duration(n) * j.s.Every }

// price is a wait that was bought in real time, in that of the beats.
func (j *Judge) price(d time.Duration) time.Duration {
	return time.Duration(float64(d) * float64(j.s.Every) / float64(2*time.Second))
}

// Step takes the sample of a beat and says what it makes of it. Times must not
// go back.
func (j *Judge) Step(now time.Time, s Sample) Verdict {
	if j.began.IsZero() {
		j.s = j.Settings.orDefault()
		j.began = now
		j.crowds.begin(j, now)
		j.last, j.lastAt = s, now
	}
	want := j.crowds.step(j, now, s)
	want |= j.stepHeap(now, s)
	want |= j.stepDescriptors(now, s)
	want |= j.stepLevels(now, s)
	j.stepStack(now, s)
	j.last, j.lastAt = s, now
	return j.verdict(now, want)
}

// Look takes what the last verdict wanted; the verdict may want more. now is
// that of the Step.
func (j *Judge) Look(now time.Time, p Profile) Verdict {
	if j.began.IsZero() {
		return Verdict{}
	}
	want := j.crowds.look(j, now, p)
	j.lookDescriptors(now, p)
	j.lookHeap(now, p)
	if p.Locks != nil {
		j.locks = p.Locks
		if h := j.find(Mutex); h != nil {
			h.Sites = first(p.Locks, top)
		}
	}
	return j.verdict(now, want)
}

// Findings returns the open ones.
func (j *Judge) Findings() []Finding {
	out := make([]Finding, len(j.open))
	for i, h := range j.open {
		out[i] = h.Finding
	}
	return out
}

// End closes all findings, because the process ends, and returns them.
func (j *Judge) End(now time.Time) []Finding {
	for len(j.open) > 0 {
		j.drop(now, j.open[0].key)
	}
	return j.verdict(now, 0).Report
}

// verdict collects what is to be told.
func (j *Judge) verdict(now time.Time, want Want) Verdict {
	for _, h := range j.open {
		if now.Sub(h.said) >= again {
			h.said, h.At = now, now
			h.say()
			j.report = append(j.report, h.Finding)
		}
	}
	v := Verdict{Want: want, Armed: j.crowds.armed, Report: j.report}
	j.report = nil
	return v
}

func (j *Judge) find(key string) *holding {
	for _, h := range j.open {
		if h.key == key {
			return h
		}
	}
	return nil
}

// raise opens a finding or brings one that is open up to date.
func (j *Judge) raise(now time.Time, key string, f Finding) *holding {
	h := j.find(key)
	if h == nil {
		if len(j.open) >= maxOpen {
			return nil
		}
		j.seq++
		h = &holding{key: key, said: now, grew: now, peak: f.Count, from: now}
		f.ID, f.Since = f.Kind+"-"+strconv.Itoa(j.seq), now
		j.open = append(j.open, h)
		defer func() { j.report = append(j.report, h.Finding) }()
	} else {
		f.ID, f.Since = h.ID, h.Since
	}
	f.State, f.At, f.Version = Open, now, j.Version
	h.Finding = f
	h.say()
	return h
}

// drop closes a finding if it is open.
func (j *Judge) drop(now time.Time, key string) {
	i := slices.IndexFunc(j.open, func(h *holding) bool { return h.key == key })
	if i < 0 {
		return
	}
	h := j.open[i]
	j.open = slices.Delete(j.open, i, i+1)
	h.State, h.At = Closed, now
	h.say()
	j.report = append(j.report, h.Finding)
}

// level holds when a limit was passed in most of the last 30 beats, a minute.
type level struct {
	bits uint32
	n    int
	open bool
}

const levelBeats = 30

// add takes a beat and says whether it holds: from 24 of 30 on, until 6.
func (l *level) add(over bool) bool {
	l.bits = l.bits << 1 & (1<<levelBeats - 1)
	if over {
		l.bits |= 1
	}
	l.n = min(l.n+1, levelBeats)
	count := 0
	for b := l.bits; b != 0; b &= b - 1 {
		count++
	}
	switch {
	case l.n == levelBeats && count >= levelBeats*4/5:
		l.open = true
	case count <= levelBeats/5:
		l.open = false
	}
	return l.open
}

// hold opens, keeps or closes a finding that is a level.
func (j *Judge) hold(now time.Time, l *level, key string, over bool, f Finding) {
	was := l.open
	switch h := j.find(key); {
	case l.add(over) && h == nil:
		f.Method = ByLevel
		j.raise(now, key, f)
	case l.open && over && h != nil: // told when it is its time
		h.Value, h.At = f.Value, now
	case was && !l.open:
		j.drop(now, key)
	}
}

// stepLevels judges what is a level.
func (j *Judge) stepLevels(now time.Time, s Sample) (want Want) {
	if j.s.GCShare > 0 {
		j.hold(now, &j.share, GC, s.GCShare > j.s.GCShare, Finding{Kind: GC, Unit: "share", Value: s.GCShare, Before: j.s.GCShare})
	}
	if j.s.GCPause > 0 {
		j.hold(now, &j.pause, GC+" pause", s.GCPause > j.s.GCPause,
			Finding{Kind: GC, Unit: "s", Value: s.GCPause.Seconds(), Before: j.s.GCPause.Seconds()})
	}
	if j.s.SchedWait > 0 {
		j.hold(now, &j.sched, Scheduler, s.SchedWait > j.s.SchedWait,
			Finding{Kind: Scheduler, Unit: "s", Value: s.SchedWait.Seconds(), Before: j.s.SchedWait.Seconds()})
	}
	if j.s.MutexWait > 0 {
		rate := 0.0
		if d := now.Sub(j.lastAt); d > 0 {
			rate = max(0, (s.MutexWait-j.last.MutexWait).Seconds()/d.Seconds())
		}
		j.hold(now, &j.mutex, Mutex, rate > j.s.MutexWait, Finding{Kind: Mutex, Unit: "s/s", Value: rate, Before: j.s.MutexWait, Sites: first(j.locks, top)})
		if h := j.find(Mutex); h != nil && now.Sub(h.said) >= again-j.s.Every {
			want |= WantLocks
		}
	}
	return want
}

// first is the first n of list.
func first[T any](list []T, n int) []T { return slices.Clone(list[:min(n, len(list))]) }

// growth puts sites that grew first.
func growth(now []Site, well map[string]Site) []Site {
	out := make([]Site, 0, len(now))
	for _, s := range now {
		s.Before = well[s.Place].Value
		if s.Value > s.Before {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Site) int {
		return cmp.Or(cmp.Compare(b.Value-b.Before, a.Value-a.Before), cmp.Compare(a.Place, b.Place))
	})
	return first(out, top)
}
