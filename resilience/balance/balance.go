// Package balance chooses which instance of a target gets the next call: the
// one that is quick and idle, and none that keeps failing.
//
//	var bank balance.Balancer // the zero value works
//	bank.Set([]balance.Instance{{ID: "a", Addr: "10.0.0.7:8080"}, {ID: "b", Addr: "10.0.0.8:8080"}})
//	pick, err := bank.Pick()
//	...
//	err = call(pick.Instance().Addr)
//	pick.Done(outcome(err), pick.Elapsed()) // exactly once, however the call ends
//
// It takes two instances at random, by their weights, and prefers the one with
// the smaller product of calls under way and latency ("The Power of Two Choices
// in Randomized Load Balancing", Mitzenmacher, 2001; latencies as in Finagle's
// peak EWMA). An instance that fails several times in a row, or much more often
// than the others, is ejected for a while and comes back gradually.
//
// A Balancer is safe for concurrent use and starts no goroutine; Pick and Done
// allocate nothing. It finds no instances (whoever does calls Set), makes no
// calls and does not try again: see packages httpx and grpcx.
package balance

import (
	"cmp"
	"errors"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrNone says that no instance is known: Set has not been called yet.
var ErrNone = errors.New("balance: no instance is known")

// Instance is one process that serves the target. It is plain data.
type Instance struct {
	ID      string            `json:"id"`                // "" means Addr
	Addr    string            `json:"addr"`              // host:port
	Version string            `json:"version,omitempty"` // service.version; what PickVersion chooses by
	Zone    string            `json:"zone,omitempty"`    // where it runs; for people, it steers nothing
	Weight  int               `json:"weight,omitempty"`  // its share beside the others'; 0 means 1, negative means no calls
	Labels  map[string]string `json:"labels,omitempty"`  // whatever else is known; for people, and for those who call
}

// Balancer chooses among the instances of one target. The zero value follows
// the zero Settings and knows no instance. It must not be copied.
type Balancer struct {
	// Rand draws 64 random bits; nil means math/rand/v2. With another one, safe
	// for concurrent use, choices can be repeated. Set it before the first call.
	Rand func() uint64

	settings atomic.Pointer[Settings]
	now      atomic.Pointer[set]
	mu       sync.Mutex // for Set and ejections
}

// set is what is known at one moment. Only the states behind it change.
type set struct {
	base  time.Time // times are durations since then: cheaper, and monotonic
	all   group
	lanes map[string]*group // by version; nil if there is one only
	mean  *average          // latency of all instances
}

// clock is the time since s.base, never 0.
func (s *set) clock() time.Duration { return time.Since(s.base) + 1 }

// group is some members of a set, in the order given.
type group struct {
	members []*member
	upTo    []uint64 // running sums of weights; nil if all are equal
}

type member struct {
	instance Instance
	weight   float64 // 1 on average
	*state
}

// New returns a Balancer that follows s.
func New(s Settings) *Balancer {
	b := new(Balancer)
	b.Tune(s)
	return b
}

// Tune replaces the settings; what is known about the instances stays.
func (b *Balancer) Tune(s Settings) {
	s = s.OrDefault()
	b.settings.Store(&s)
}

// Settings are the settings in force, defaults filled in.
func (b *Balancer) Settings() Settings { return *b.rules() }

var defaults = Settings{}.OrDefault()

func (b *Balancer) rules() *Settings {
	if s := b.settings.Load(); s != nil {
		return s
	}
	return &defaults
}

// Set replaces the instances and reports whether it did: an empty set never
// replaces a good one, since it is a registry's failure more often than a
// target's end. An instance of the same ID and Addr keeps what is known about
// it; one that joins others gets its share step by step over Settings.Ramp. Of
// two with the same ID the first counts. Calls under way are not disturbed.
// b keeps the Labels; they must not be changed any more.
func (b *Balancer) Set(instances []Instance) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.now.Load()
	next := &set{base: time.Now(), mean: new(average)}
	known := map[string]*member{}
	if old != nil {
		next.base, next.mean = old.base, old.mean
		for _, m := range old.all.members {
			known[m.instance.ID] = m
		}
	}
	taken := map[string]bool{}
	var joined []*state
	for _, i := range instances {
		i.ID, i.Weight = cmp.Or(i.ID, i.Addr), cmp.Or(i.Weight, 1)
		if i.Weight < 0 || i.ID == "" || taken[i.ID] {
			continue
		}
		taken[i.ID] = true
		m := &member{instance: i}
		if was := known[i.ID]; was != nil && was.instance.Addr == i.Addr {
			m.state = was.state
		} else {
			m.state = new(state)
			joined = append(joined, m.state)
		}
		next.all.members = append(next.all.members, m)
	}
	if len(next.all.members) == 0 {
		return false
	}
	now := next.clock()
	if 2*len(joined) <= len(next.all.members) { // or the few that stayed would get all the traffic
		for _, s := range joined {
			s.from.Store(int64(now))
		}
	}
	next.all.weigh()
	next.split()
	next.pardon(now, b.rules())
	b.now.Store(next)
	return true
}

// weigh works out the weights of the members.
func (g *group) weigh() {
	var sum uint64
	equal := true
	for _, m := range g.members {
		sum += uint64(m.instance.Weight)
		g.upTo = append(g.upTo, sum)
		equal = equal && m.instance.Weight == g.members[0].instance.Weight
	}
	for _, m := range g.members {
		if m.weight == 0 { // once, by the whole set
			m.weight = float64(m.instance.Weight) * float64(len(g.members)) / float64(sum)
		}
	}
	if equal {
		g.upTo = nil
	}
}

// split groups the members by version.
func (s *set) split() {
	lanes := map[string]*group{}
	for _, m := range s.all.members {
		g := lanes[m.instance.Version]
		if g == nil {
			g = new(group)
			lanes[m.instance.Version] = g
		}
		g.members = append(g.members, m)
	}
	if len(lanes) < 2 {
		return
	}
	for _, g := range lanes {
		g.weigh()
	}
	s.lanes = lanes
}

// pardon ends ejections, the oldest first, until no more are out than may be:
// the set may have lost its healthy half.
func (s *set) pardon(now time.Duration, rules *Settings) {
	var out []*state
	for _, m := range s.all.members {
		if m.out(now) {
			out = append(out, m.state)
		}
	}
	slices.SortFunc(out, func(a, b *state) int { return cmp.Compare(a.from.Load(), b.from.Load()) })
	for len(out) > rules.mostOut(len(s.all.members)) {
		out[0].from.Store(int64(now))
		out = out[1:]
	}
}

// Pick is one choice. Hand it back with Done exactly once, when the call is
// over. A zero Pick may be handed back too.
type Pick struct {
	b  *Balancer
	s  *set
	m  *member
	at time.Duration
}

// Instance is whom to call.
func (p Pick) Instance() Instance {
	if p.m == nil {
		return Instance{}
	}
	return p.m.instance
}

// Elapsed is the time since the choice, for those who call at once and so need
// no clock of their own.
func (p Pick) Elapsed() time.Duration {
	if p.m == nil {
		return 0
	}
	return p.s.clock() - p.at
}

// Done tells how the call ended and how long the instance took to answer; a
// negative latency is not known, as of a stream, whose length says nothing. It
// reports whether the instance was ejected because of it.
func (p Pick) Done(o Outcome, latency time.Duration) (ejected bool) {
	if p.m == nil {
		return false
	}
	rules := p.b.rules()
	p.m.calls.Add(-1)
	if o != Failure && latency >= 0 {
		p.m.done(p.at+latency, rules, p.s.mean, o, latency)
		return false
	}
	now := p.s.clock()
	return p.m.done(now, rules, p.s.mean, o, latency) && p.b.eject(p.m.state, now, rules)
}

// eject takes s out if the rules and the others allow it.
func (b *Balancer) eject(s *state, now time.Duration, rules *Settings) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.now.Load().all.members
	out, good, bad, here := 0, 0.0, 0.0, false
	for _, m := range all {
		switch {
		case m.state == s:
			here = true
		case m.out(now):
			out++
		default:
			g, f := m.tally(now, rules)
			good, bad = good+g, bad+f
		}
	}
	if !here || s.out(now) || out+1 > rules.mostOut(len(all)) {
		return false
	}
	return s.eject(now, rules, good, bad, b.unit())
}

// Pick chooses an instance for one call. One whose ID is in avoid is chosen
// only if there is no other: a further try of the same call goes elsewhere. The
// error is nil or ErrNone.
func (b *Balancer) Pick(avoid ...string) (Pick, error) {
	s := b.now.Load()
	if s == nil {
		return Pick{}, ErrNone
	}
	return b.pick(s, &s.all, avoid)
}

// PickVersion is Pick among the instances of one version. If there is none, or
// all are ejected or to be avoided, it is Pick: somebody answers. Compare
// Pick.Instance().Version.
func (b *Balancer) PickVersion(version string, avoid ...string) (Pick, error) {
	s := b.now.Load()
	if s == nil {
		return Pick{}, ErrNone
	}
	if g := s.lanes[version]; g != nil {
		now := s.clock()
		for _, m := range g.members {
			if !m.out(now) && !slices.Contains(avoid, m.instance.ID) {
				return b.pick(s, g, avoid)
			}
		}
	}
	return b.pick(s, &s.all, avoid)
}

func (b *Balancer) pick(s *set, g *group, avoid []string) (Pick, error) {
	now, rules := s.clock(), b.rules()
	m := b.draw(g, now, rules, avoid)
	if other := b.other(g, m, now, rules, avoid); other != nil {
		// One step of Metropolis: whatever the weights are, equal instances get
		// exactly their shares, and a better one nearly all of the worse one's
		// (at twice the cost a sixteenth of the calls stays).
		r := m.cost(now, rules, s.mean) / other.cost(now, rules, s.mean)
		r *= r
		if odds := r * r * other.weight / m.weight; odds >= 1 || b.unit() < odds {
			m = other
		}
	}
	m.calls.Add(1)
	return Pick{b, s, m, now}, nil
}

// draw takes a member by weight, in the proportion that its ramp allows.
func (b *Balancer) draw(g *group, now time.Duration, rules *Settings, avoid []string) *member {
	n := uint64(len(g.members))
	if n == 1 {
		return g.members[0]
	}
	for range 8 {
		m := g.at(b.bits())
		if b.may(m, now, rules, avoid) {
			return m
		}
	}
	// Few are left. Begin anywhere, or the neighbour of an ejected one gets its
	// traffic too.
	start := below(b.bits(), n)
	var second *member
	for i := range n {
		m := g.members[(start+i)%n]
		switch {
		case m.out(now):
		case !slices.Contains(avoid, m.instance.ID):
			return m
		case second == nil:
			second = m
		}
	}
	if second != nil {
		return second
	}
	return g.members[start]
}

// may says whether m may have this call: as often as its ramp allows.
func (b *Balancer) may(m *member, now time.Duration, rules *Settings, avoid []string) bool {
	if m.out(now) || slices.Contains(avoid, m.instance.ID) {
		return false
	}
	r := m.ramp(now, rules)
	return r == 1 || b.unit() < r
}

// other takes a second member, each with the same chance but for its ramp; nil
// if none is found.
func (b *Balancer) other(g *group, m *member, now time.Duration, rules *Settings, avoid []string) *member {
	n := uint64(len(g.members))
	if n == 1 {
		return nil
	}
	for range 4 {
		o := g.members[below(b.bits(), n)]
		if n == 2 && o == m { // no need to wait for luck
			o = g.members[0]
			if o == m {
				o = g.members[1]
			}
		}
		if o == m {
			continue
		}
		if b.may(o, now, rules, avoid) {
			return o
		}
		if !o.out(now) {
			return nil // it is not its turn; to look for yet another would favour that
		}
	}
	return nil
}

// at is the member that random bits point to.
func (g *group) at(r uint64) *member {
	if g.upTo == nil {
		return g.members[below(r, uint64(len(g.members)))]
	}
	x := below(r, g.upTo[len(g.upTo)-1])
	i, found := slices.BinarySearch(g.upTo, x)
	if found {
		i++
	}
	return g.members[i]
}

func (b *Balancer) bits() uint64 {
	if b.Rand != nil {
		return b.Rand()
	}
	return rand.Uint64()
}

// unit is a random number from 0 to less than 1.
func (b *Balancer) unit() float64 { return float64(b.bits()>>11) / (1 << 53) }

// below maps random bits to 0..n-1.
func below(r, n uint64) uint64 {
	hi, _ := bits.Mul64(r, n)
	return hi
}
