package vitals

import "time"

// The spans of time of the judgement of memory, in beats of 2s.
const (
	warmBeats    = 60   // 2min: after a start, caches and pools fill
	spanBeats    = 10   // 20s: of a point of a series
	heapBeats    = 150  // 5min: between two looks at the heap while it is a finding
	ceilingBeats = 3600 // 2h: how long a height that was reached and left counts as usual
)

// steadiness is how fast the later half of a window has to grow beside the
// earlier: of a cache that fills at random, with four fifths of it full within a
// quarter of an hour, the later half grows 0.75 times as fast.
const steadiness = 0.75

// climb tells growth from what comes back down and from what flattens.
type climb struct {
	series
	peak, trough float64
	usual        float64 // the height of the last wave
	usualAt      time.Time
	pace         float64 // the fastest growth, fading: by half in 35 points
}

// push takes a value, with the growth in a minute that matters, and says
// whether there is a new point.
func (c *climb) push(now time.Time, v float64, span time.Duration, matters float64) bool {
	if !c.add(now, v, span) {
		return false
	}
	p := c.points[window-1].v
	if c.n == 1 {
		c.peak, c.trough = p, p
	}
	c.peak = max(c.peak, p)
	if rise := c.peak - c.trough; rise > matters && c.peak-p > rise/2 {
		c.usual, c.usualAt = max(c.usual, c.peak), now
		c.peak, c.trough = p, p
	}
	c.trough = min(c.trough, p)
	return true
}

// steady says that it grows by more than limit in a minute, not ever slower,
// and to where it has not been before. It is asked once for each point, and needs 5 minutes and 6 points: a
// collection comes each 2 minutes at least.
func (c *climb) steady(now time.Time, limit float64, span, usual time.Duration) (trend, bool) {
	all := c.all()
	if len(all) < 6 || all[len(all)-1].at.Sub(all[0].at) < (window-2)*span {
		return trend{}, false
	}
	t := trendOf(all)
	if now.Sub(c.usualAt) > usual {
		c.usual = 0
	}
	c.pace = max(0.98*c.pace, t.perMinute)
	half := (len(all) + 1) / 2
	early, late := trendOf(all[:half]), trendOf(all[len(all)-half:])
	return t, t.perMinute > limit && t.up >= mostly && late.perMinute >= steadiness*early.perMinute && late.perMinute > limit/2 &&
		t.perMinute >= steadiness*c.pace &&
		all[len(all)-1].v > 1.1*c.usual
}

// stepHeap judges the live heap, at each collection.
func (j *Judge) stepHeap(now time.Time, s Sample) (want Want) {
	limit := float64(j.s.HeapPerMinute)
	if limit < 0 || s.GCs == j.last.GCs || now.Sub(j.began) < j.beats(warmBeats) {
		return 0
	}
	if !j.heap.push(now, float64(s.LiveHeap), j.beats(spanBeats), limit) {
		return 0
	}
	t, ok := j.heap.steady(now, limit, j.beats(spanBeats), j.beats(ceilingBeats))
	j.heapGrows = ok || t.perMinute > limit/3
	h := j.find(Heap)
	switch {
	case ok && h == nil, ok && now.Sub(j.heapAt) >= j.beats(heapBeats):
		f := Finding{Kind: Heap, Unit: "bytes", Method: ByGrowth, Value: float64(s.LiveHeap), Before: j.heap.all()[0].v, PerMinute: t.perMinute}
		if h != nil {
			f.Before = h.Before
		}
		if h == nil {
			j.heapPace = t.perMinute
		}
		j.heapAt, j.suspicion = now, &f
		want = WantHeap // to say who
	case h == nil:
	case t.perMinute < max(limit/3, j.heapPace/2) || float64(s.LiveHeap) < h.Before:
		j.drop(now, Heap)
	default:
		h.Value, h.PerMinute = float64(s.LiveHeap), t.perMinute
	}
	return want
}

// lookHeap takes what is in use.
func (j *Judge) lookHeap(now time.Time, p Profile) {
	if p.Heap != nil && j.suspicion == nil && !j.heapGrows {
		j.wellHeap = make(map[string]Site, len(p.Heap))
		for _, s := range p.Heap {
			j.wellHeap[s.Place] = s
		}
	}
	if p.Heap != nil && j.s.Timers > 0 {
		j.lookTimers(now, p.Timers)
	}
	if j.suspicion == nil {
		return
	}
	f := *j.suspicion
	j.suspicion = nil
	f.Sites = growth(p.Heap, j.wellHeap)
	if len(f.Sites) > 0 {
		f.Created, f.Creator = f.Sites[0].Place, f.Sites[0].Function
		f.Count = int(f.Sites[0].Count - j.wellHeap[f.Created].Count)
	}
	j.raise(now, Heap, f)
}

// lookTimers judges the timers at each look at the heap.
func (j *Judge) lookTimers(now time.Time, timers int) {
	if n := len(j.timers); n > 0 && now.Sub(j.timersAt) < j.beats(wellBeats/2) {
		return
	}
	j.timersAt = now
	j.timers = append(j.timers, timers)
	if len(j.timers) > 4 {
		j.timers = j.timers[1:]
	}
	t := j.timers
	grows := len(t) == 4 && t[3] > t[2] && t[2] > t[1] && t[1] > t[0]
	switch {
	case grows && timers > j.s.Timers:
		j.raise(now, Timers, Finding{Kind: Timers, Unit: "timers", Method: ByGrowth, Value: float64(timers), Before: float64(t[0]),
			PerMinute: float64(t[3]-t[2]) / j.beats(wellBeats).Minutes()})
	case !grows:
		j.drop(now, Timers)
	}
}

// stackSlack is how many bytes of stacks are nothing to speak of, and stackEach
// how many for each goroutine.
const (
	stackSlack = 256 << 20
	stackEach  = 64 << 10
)

// stepStack judges the memory of stacks.
func (j *Judge) stepStack(now time.Time, s Sample) {
	limit := float64(j.s.StackPerMinute)
	if limit < 0 || !j.stack.push(now, float64(s.Stack), j.beats(spanBeats), limit) {
		return
	}
	t, ok := j.stack.steady(now, limit, j.beats(spanBeats), j.beats(ceilingBeats))
	h := j.find(Stack)
	switch {
	case ok && s.Stack > stackSlack && s.Stack > stackEach*int64(s.Goroutines):
		f := Finding{Kind: Stack, Unit: "bytes", Method: ByGrowth, Value: float64(s.Stack), Before: j.stack.all()[0].v, PerMinute: t.perMinute}
		if h != nil {
			f.Before = h.Before
		}
		j.raise(now, Stack, f)
	case h != nil && (t.perMinute < limit/3 || s.Stack < stackSlack):
		j.drop(now, Stack)
	}
}

// stepDescriptors judges open files and sockets.
func (j *Judge) stepDescriptors(now time.Time, s Sample) (want Want) {
	if j.s.Descriptors < 0 || s.Descriptors == 0 {
		return 0
	}
	fresh := j.descriptors.add(now, float64(s.Descriptors), j.beats(spanBeats))
	limit := float64(s.DescriptorLimit)
	n := float64(s.Descriptors)
	h := j.find(Descriptors)
	if limit > 0 && n > 0.8*limit {
		t := trendOf(j.descriptors.all())
		f := Finding{Kind: Descriptors, Unit: "descriptors", Method: ByLevel, Value: n, Before: j.wellFD, PerMinute: t.perMinute, Limit: limit}
		if h != nil {
			f.Method, f.Before = h.Method, h.Before
		}
		j.raise(now, Descriptors, f)
		return 0
	}
	if !fresh {
		return 0
	}
	t, grows := j.descriptors.growing(window)
	switch {
	case grows && s.Descriptors > j.s.Descriptors && t.rise >= 0.1*n:
		j.wantFD = true // connections may explain it
		want = WantGroups
	case !grows && h != nil:
		j.drop(now, Descriptors)
	case !grows:
		j.wellFD = n
	}
	return want
}

// lookDescriptors takes off what waiting connections explain.
func (j *Judge) lookDescriptors(now time.Time, p Profile) {
	if !j.wantFD || p.Groups == nil {
		return
	}
	j.wantFD = false
	conns := 0
	for _, g := range p.Groups {
		if g.Connection {
			conns += g.Count
		}
	}
	if j.last.Descriptors-conns <= j.s.Descriptors {
		j.drop(now, Descriptors)
		return
	}
	t := trendOf(j.descriptors.all())
	f := Finding{Kind: Descriptors, Unit: "descriptors", Method: ByGrowth, Value: float64(j.last.Descriptors),
		Before: j.descriptors.all()[0].v, PerMinute: t.perMinute, Limit: float64(j.last.DescriptorLimit)}
	if h := j.find(Descriptors); h != nil {
		f.Before = h.Before
	}
	j.raise(now, Descriptors, f)
}
