package vitals

import (
	"cmp"
	"slices"
	"time"
)

// The spans of time of the judgement of goroutines, in beats of 2s.
const (
	stayBeats  = 15  // 30s: how long members of a leak have to have stayed
	blindBeats = 60  // 2min: how long a group has to grow when its members cannot be told apart
	lookBeats  = 2   // 4s: between two looks while there is a suspicion
	doubtBeats = 8   // 16s: the same, after suspicions that were wrong
	rareBeats  = 30  // 60s: between two looks when what grows is harmless
	wellBeats  = 300 // 10min: between two looks when all is well
	flatBeats  = 150 // 5min: how long a finding that grows no more stays open
	calmBeats  = 30  // 60s: how long a suspicion outlives growth
)

const (
	// fewest is the smallest growth of a group worth a thought.
	fewest = 20
	// stayed is how many of a leak's members have to be there still.
	stayed = 0.8
	// freshPoints of the shortest scale are enough for a suspicion, which accuses
	// nobody: a new version that leaks from its first request on has run for 12s.
	freshPoints = 6
	// snapshots of 10 minutes each are kept, so that an hour can be compared.
	snapshots = 7
	// While there is a suspicion, looking may take one two-hundredth of the time;
	// while all is well, one twenty-thousandth.
	suspectPrice = 200
	wellPrice    = 20_000
)

// crowds judges goroutines.
type crowds struct {
	scales [3]series // of a beat, ten, and a hundred and fifty: 30s, 5min and 75min in all
	well   []snapshot
	armed  bool
	slow   bool      // only the longest scale grows
	grown  time.Time // when some scale grew last
	next   time.Time // look
	nextOK time.Time // look while all is well
	leaks  time.Time // next look at the leak profile
	pause  int       // beats between two looks
	doubt  int       // beats between two looks, at least, after suspicions that were wrong

	suspects map[string]*suspect
	dumped   time.Time // when a dump was asked for last
	nextDump time.Time
	blind    bool // a dump was asked for and not given
}

// snapshot is a look taken when all was well.
type snapshot struct {
	total  int
	groups map[string]int
}

// suspect is a group that grows.
type suspect struct {
	Group
	at        time.Time // first seen
	count     int       // then
	highest   int
	ups, down int
	ids       []int64 // of its members
	idsAt     time.Time
}

func (c *crowds) begin(j *Judge, now time.Time) {
	c.nextOK = now.Add(j.beats(stayBeats))
	c.pause = lookBeats
	c.suspects = map[string]*suspect{}
}

// step takes a beat.
func (c *crowds) step(j *Judge, now time.Time, s Sample) (want Want) {
	if j.s.Goroutines < 0 {
		return 0
	}
	grows, fast := false, false
	for i, beats := range [...]int{1, 10, 150} {
		points := window
		if i == 0 {
			points = freshPoints
		}
		c.scales[i].add(now, float64(s.Goroutines), j.beats(beats))
		if 4*s.Goroutines < j.s.Goroutines {
			continue
		}
		if t, ok := c.scales[i].growing(points); ok && t.rise >= max(fewest, 0.02*float64(s.Goroutines)) {
			grows = true
			fast = fast || i < 2
		}
	}
	if grows {
		c.grown = now
		if !c.armed {
			c.armed, c.next, c.pause = true, now, lookBeats
		}
		c.slow = !fast
	} else if c.armed && now.Sub(c.grown) > j.beats(calmBeats) {
		c.calm()
	}
	holds := slices.ContainsFunc(j.open, func(h *holding) bool { return h.Kind == Goroutines })
	switch {
	case c.armed || holds:
		if now.Before(c.next) {
			return 0
		}
		if now.Before(c.leaks) {
			return WantGroups
		}
		c.leaks = now.Add(j.beats(rareBeats))
		return WantGroups | WantLeaks
	case !now.Before(c.nextOK):
		return WantGroups | WantLeaks | WantHeap
	}
	return 0
}

func (c *crowds) calm() {
	c.armed, c.slow, c.blind = false, false, false
	clear(c.suspects)
}

// base is what to compare with.
func (c *crowds) base() snapshot {
	if len(c.well) == 0 {
		return snapshot{}
	}
	if c.slow {
		return c.well[0]
	}
	return c.well[len(c.well)-1]
}

// look takes a look at the groups.
func (c *crowds) look(j *Judge, now time.Time, p Profile) (want Want) {
	for _, g := range p.Leaks {
		before := 0
		if len(c.well) > 0 {
			before = c.well[0].groups[g.key()]
		}
		if g.Count-before >= fewest {
			c.accuse(j, now, g, ByLeakProfile, before, 0, now)
		}
	}
	if p.Groups == nil {
		return 0
	}
	groups := map[string]Group{}
	for _, g := range p.Groups {
		groups[g.key()] = g
	}
	c.follow(j, now, groups)
	holds := slices.ContainsFunc(j.open, func(h *holding) bool { return h.Kind == Goroutines })
	if !c.armed && !holds {
		c.allWell(j, now, groups, p.Cost)
		return 0
	}
	c.suspect(now, groups)
	if p.Stacks {
		c.dumped, c.blind = now, false
		c.recognise(j, now, groups)
	} else if c.dumped.Equal(now) { // it was asked for in this beat, and is not to be had
		c.blind = true
	}
	want = c.judge(j, now)
	switch {
	case len(c.suspects) == 0:
		c.pause = min(2*c.pause, rareBeats)
	case holds:
		c.pause = stayBeats
	default:
		c.pause = max(lookBeats, c.doubt)
	}
	if p.Stacks { // it is paid for by the wait for the next dump
		c.nextDump = now.Add(max(j.beats(stayBeats)-j.s.Every/2, j.price(suspectPrice*p.Cost)))
		return want
	}
	c.next = now.Add(max(j.beats(c.pause)-j.s.Every/2, j.price(suspectPrice*p.Cost)))
	return want
}

// allWell keeps a snapshot, and suspects what grew in every one of them, even if
// other goroutines left meanwhile.
func (c *crowds) allWell(j *Judge, now time.Time, groups map[string]Group, cost time.Duration) {
	c.nextOK = now.Add(max(j.beats(wellBeats), j.price(wellPrice*cost)))
	c.doubt = 0
	s := snap(groups)
	c.well = append(c.well, s)
	if len(c.well) > snapshots {
		c.well = slices.Delete(c.well, 0, 1)
	}
	if len(c.well) < snapshots || s.total < j.s.Goroutines {
		return
	}
	for k, g := range groups {
		if g.Connection || g.Count-c.well[0].groups[k] < 5*fewest {
			continue
		}
		rises := true
		for i := range c.well[1:] {
			rises = rises && c.well[i+1].groups[k] > c.well[i].groups[k]
		}
		if rises {
			c.armed, c.slow, c.grown, c.next = true, true, now, now
		}
	}
}

func snap(groups map[string]Group) snapshot {
	s := snapshot{groups: map[string]int{}}
	for k, g := range groups {
		s.total += g.Count
		if g.Count > 1 || len(groups) < 1000 { // bounded
			s.groups[k] = g.Count
		}
	}
	return s
}

// suspect brings the suspects up to date.
func (c *crowds) suspect(now time.Time, groups map[string]Group) {
	base := c.base().groups
	for k := range c.suspects {
		if g, ok := groups[k]; !ok || g.Count-base[k] < fewest {
			delete(c.suspects, k)
		}
	}
	for k, g := range groups {
		if g.Connection || g.Count-base[k] < fewest {
			continue
		}
		s := c.suspects[k]
		if s == nil {
			s = &suspect{Group: g, at: now, count: g.Count, highest: g.Count}
			c.suspects[k] = s
			continue
		}
		switch {
		case g.Count > s.Count:
			s.ups++
		case g.Count < s.Count:
			s.down++
		}
		s.highest = max(s.highest, g.Count)
		s.refresh(g)
	}
}

// refresh keeps what a cheaper look does not know.
func (s *suspect) refresh(g Group) {
	g.Created, g.Creator = cmp.Or(g.Created, s.Created), cmp.Or(g.Creator, s.Creator)
	g.Wait, g.Name, g.TraceID = cmp.Or(g.Wait, s.Wait), cmp.Or(g.Name, s.Name), cmp.Or(g.TraceID, s.TraceID)
	g.WaitFor = max(g.WaitFor, s.WaitFor)
	s.Group = g
}

// ripe says whether a suspect has grown enough, for long enough, and still does.
func (c *crowds) ripe(j *Judge, now time.Time, s *suspect, beats int) bool {
	growth := s.Count - c.base().groups[s.key()]
	need := max(fewest, j.s.Goroutines/20)
	switch {
	case c.slow:
		need = fewest
	case j.last.Goroutines <= j.s.Goroutines:
		need = j.s.Goroutines / 2
	}
	return growth >= need && now.Sub(s.at) >= j.beats(beats)-j.s.Every/2 &&
		s.Count > s.count && s.Count*20 >= s.highest*19 && s.ups > 2*s.down && s.ups > 0
}

// judge accuses what can be accused without telling members apart, or wants a
// dump for it.
func (c *crowds) judge(j *Judge, now time.Time) (want Want) {
	for k, s := range c.suspects {
		if j.find(Goroutines+" "+k) != nil {
			continue
		}
		switch {
		case c.blind:
			if c.ripe(j, now, s, blindBeats) {
				c.accuse(j, now, s.Group, ByGrowth, c.base().groups[k], s.perMinute(now), s.at)
			}
		case s.ids == nil, c.ripe(j, now, s, stayBeats) && now.Sub(s.idsAt) >= j.beats(stayBeats)-j.s.Every/2:
			want = WantStacks
		}
	}
	if want == 0 || now.Before(c.nextDump) {
		return 0
	}
	c.dumped = now
	return want
}

// recognise compares the members of a suspect with those of a dump before.
func (c *crowds) recognise(j *Judge, now time.Time, groups map[string]Group) {
	list := make([]*suspect, 0, len(c.suspects))
	for _, s := range c.suspects {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *suspect) int { return cmp.Compare(b.Count, a.Count) })
	for _, s := range list {
		ids := groups[s.key()].IDs
		switch {
		case s.ids == nil:
			s.ids, s.idsAt = ids, now
		case now.Sub(s.idsAt) < j.beats(stayBeats)-j.s.Every/2 || !c.ripe(j, now, s, stayBeats):
		case share(s.ids, ids) >= stayed:
			c.accuse(j, now, s.Group, ByGrowth, c.base().groups[s.key()], s.perMinute(now), s.idsAt)
		default: // they leave, so it is load; it has to grow anew
			s.ids, s.idsAt, s.at, s.count, s.ups, s.down = ids, now, now, s.Count, 0, 0
			c.doubt = min(max(lookBeats, 2*c.doubt), doubtBeats)
		}
	}
}

// share is how many of before are in now; both are in order.
func share(before, now []int64) float64 {
	if len(before) == 0 {
		return 0
	}
	n, i := 0, 0
	for _, id := range before {
		for i < len(now) && now[i] < id {
			i++
		}
		if i < len(now) && now[i] == id {
			n++
		}
	}
	return float64(n) / float64(len(before))
}

func (s *suspect) perMinute(now time.Time) float64 {
	if d := now.Sub(s.at).Minutes(); d > 0 {
		return float64(s.Count-s.count) / d
	}
	return 0
}

// accuse makes a finding of a group.
func (c *crowds) accuse(j *Judge, now time.Time, g Group, method string, before int, perMinute float64, from time.Time) {
	key := Goroutines + " " + g.key()
	if j.find(key) == nil {
		n := 0
		for _, h := range j.open {
			if h.Kind == Goroutines {
				n++
			}
		}
		if n >= maxCrowds {
			return
		}
	}
	g.Before = before
	g.Created = cmp.Or(g.Created, g.started)
	f := Finding{
		Kind: Goroutines, Unit: "goroutines", Method: method,
		Value: float64(j.last.Goroutines), Before: float64(c.base().total), PerMinute: perMinute,
		Count: g.Count - before, Created: g.Created, Creator: g.Creator, Blocked: g.Blocked, Wait: g.Wait,
		WaitFor: max(g.WaitFor, now.Sub(from)).Truncate(time.Second), TraceID: g.TraceID, Groups: c.most(g),
	}
	if h := j.find(key); h != nil && h.Method == ByLeakProfile {
		f.Method = ByLeakProfile // what is proven stays so
	}
	if h := j.raise(now, key, f); h != nil && from.Before(h.from) {
		h.from = from
	}
}

// most is g and the suspects that grew most besides.
func (c *crowds) most(g Group) []Group {
	base := c.base().groups
	out := []Group{g}
	for k, s := range c.suspects {
		if k != g.key() {
			o := s.Group
			o.Before = base[k]
			out = append(out, o)
		}
	}
	slices.SortFunc(out[1:], func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Count-b.Before, a.Count-a.Before), cmp.Compare(a.key(), b.key()))
	})
	out = out[:min(len(out), top)]
	for i := range out {
		out[i].IDs = nil
	}
	return out
}

// follow brings findings up to date and closes those that are over.
func (c *crowds) follow(j *Judge, now time.Time, groups map[string]Group) {
	for _, h := range slices.Clone(j.open) {
		if h.Kind != Goroutines {
			continue
		}
		was := h.Groups[0]
		g := groups[was.key()]
		count := g.Count - was.Before
		if count > h.peak {
			h.peak, h.grew = count, now
		}
		if 5*count < h.peak { // they went
			j.drop(now, h.key)
			continue
		}
		h.Count, h.Value = count, float64(j.last.Goroutines)
		h.Groups[0].Count = g.Count
		h.WaitFor = max(g.WaitFor, now.Sub(h.from)).Truncate(time.Second)
		if h.TraceID == "" {
			h.TraceID, h.Groups[0].TraceID = g.TraceID, g.TraceID
		}
		if now.Sub(h.grew) > j.beats(flatBeats) { // it is as it is
			j.drop(now, h.key)
			c.well = append(c.well[:0], snap(groups))
			clear(c.suspects)
		}
	}
}
