// Package knee finds how many calls at once a target does well: its knee,
// beyond which more calls only wait inside it.
//
//	var f knee.Finder
//	f.Start(64, 1, 10000)
//	for each call that ended {
//		f.Done(now, took, good)
//	}
//	f.Limit() // is in force
//
// It is pure: time and outcomes go in, a limit comes out. Packages limit and
// shed both learn with it. It keeps nobody out: they do.
package knee

import (
	"math"
	"time"
)

// Finder learns one target's knee. Start it before use. Not safe for concurrent
// use: its owner holds a lock. Times are nanoseconds on any one clock.
//
// It compares the mean latency at two limits, one just above and one just below
// what it takes for the knee. Below the knee latency does not depend on the
// limit; above it, by Little's law, it grows in proportion. So the elasticity
//
//	e = ln(high latency / low latency) / ln(high limit / low limit)
//
// is 0 when the knee is above both, 1 when it is below both, and in between it
// says where the knee is. Nothing older than the last cycle counts, so a target
// that becomes slower, or faster, is not mistaken for a full one. A dip below
// the knee costs throughput; it is short, and rare when it brings no news.
type Finder struct {
	min, max int
	knee     float64 // the estimate
	limit    int     // in force
	goal     int     // what the limit rises to, step by step
	base     int     // from here
	rise     int64   // since then
	high     int     // limit while working
	low      int     // limit while dipping

	stage  stage
	sure   int   // cycles in a row without news: dips become rare
	streak int   // cycles in a row that say "higher" (positive) or "lower"
	vain   bool  // most calls failed when it was last looked at
	fast   int   // since then, calls in a row that took far less than the mean
	blocks int   // measured in this working stage
	from   int64 // when measuring begins: calls under the last limit have left by then
	until  int64 // when it may end

	n       int     // calls that ended in success while measuring
	late    int     // calls that failed for lack of capacity
	blocked int     // calls that did not find room at once
	sum     float64 // latency of both, ns
	mean    float64 // the last measured latency, ns; 0 before the first
	work    float64 // at the high limit
	dip     float64 // at the low limit
	noise   float64 // variance of ln latency between blocks at the high limit
}

// stage is what a Finder measures.
type stage uint8

const (
	working stage = iota // at the high limit
	dipping              // at the low limit
	after                // at the high limit again, to tell a trend from an effect
)

const (
	above    = 1.12 // the high limit over the knee: keeps the target busy when calls end unevenly
	below    = 0.90 // the low limit
	stride   = 2.0  // either, while the knee seems to be far away
	deepest  = 4.0  // the high limit over the low one, at most
	holdMost = 80   // length of a working stage in mean latencies, at most
	hurry    = 2    // cycles of one opinion after which the knee seems to be far away
	most     = 0.25 // noise counts as no more than this (standard deviation)
	news     = 0.35 // change of ln latency at the same limit that ends a working stage
)

// Limit is how many calls at once are to be let in now.
func (f *Finder) Limit() int { return f.limit }

// Mean is the mean latency of the last measurement; 0 before the first.
func (f *Finder) Mean() time.Duration { return time.Duration(f.mean) }

// Start sets a first limit and its bounds, and forgets what was learned.
func (f *Finder) Start(start, lo, hi int) {
	*f = Finder{streak: hurry}
	f.Bound(lo, hi)
	f.knee = float64(start) / stride
	f.aim()
	f.limit, f.goal = f.high, f.high
}

// Bound changes the bounds; what was learned stays.
func (f *Finder) Bound(lo, hi int) {
	f.min, f.max = lo, hi
	if f.knee > 0 {
		f.aim()
		f.begin(f.from, working)
	}
}

// Cut says that most calls fail for lack of capacity while the limit is not
// reached, with n calls at once: then the knee is below n.
func (f *Finder) Cut(now int64, n int) {
	if float64(n) < f.knee {
		f.knee = float64(n)
		f.sure, f.streak, f.vain, f.fast = 0, -hurry, true, 0
		f.aim()
		f.begin(now, working)
	}
}

// aim sets the two limits around the knee.
func (f *Finder) aim() {
	noise := min(math.Sqrt(f.noise), most)
	up, down := above+noise, below
	if f.streak >= hurry {
		up = max(up, stride)
	}
	if f.streak <= -hurry {
		down = 1 / stride
	}
	f.knee = min(max(f.knee, float64(f.min)), float64(f.max))
	f.high = min(max(int(math.Ceil(f.knee*up)), int(f.knee)+1), f.max)
	f.low = f.dipTo(f.knee * down)
}

func (f *Finder) dipTo(v float64) int { return max(min(int(v), f.high-1), f.min) }

// begin enters a stage. A lower limit is in force at once. A higher one is
// reached in the time a call takes: calls let in at the same moment would end at
// the same moment for ever after, and the few above the knee wait for all the
// others.
func (f *Finder) begin(now int64, st stage) {
	f.stage, f.goal = st, f.high
	if st == dipping {
		f.goal = f.low
	}
	settle := f.mean
	if f.goal < f.limit {
		settle *= 1.7
	}
	if f.goal > f.limit {
		settle += f.mean * float64(f.goal) / float64(max(f.limit, 1))
	}
	f.base, f.rise = f.limit, now
	f.limit = max(min(f.limit, f.goal), f.min)
	if st == working {
		f.blocks, f.work = 0, 0
	}
	f.measure(now + int64(settle))
}

// Climb raises the limit towards its goal, as time allows: what a call does
// that says nothing about capacity. It reports whether the limit changed.
func (f *Finder) Climb(now int64) bool {
	if f.limit >= f.goal {
		return false
	}
	part := 1.0
	if f.mean > 0 {
		part = min(float64(now-f.rise)/f.mean, 1)
	}
	old := f.limit
	f.limit = max(f.limit, f.base+int(part*float64(f.goal-f.base)))
	return f.limit != old
}

// measure starts a measurement at the given time.
func (f *Finder) measure(from int64) {
	f.from = from
	f.until = from + int64(f.mean)
	f.n, f.late, f.blocked, f.sum = 0, 0, 0, 0
}

// Blocked counts n calls that did not find room at once.
func (f *Finder) Blocked(n int) { f.blocked += n }

// Done takes a call that ended now after the given time: good, or failed for
// lack of capacity. It reports whether the limit changed.
func (f *Finder) Done(now int64, took time.Duration, good bool) bool {
	old := f.limit
	f.Climb(now)
	f.learn(now, took, good)
	return f.limit != old
}

func (f *Finder) learn(now int64, took time.Duration, good bool) {
	if f.mean == 0 { // the first latency ever: now stages have a length
		f.mean = max(float64(took), 1)
		f.dip = f.mean
		f.begin(now, working)
		return
	}
	if f.vain && f.over(took, good) {
		f.mean = max(float64(took), 1)
		f.sure, f.streak = 0, hurry
		f.aim()
		f.begin(now, working)
		return
	}
	if now < f.from {
		return
	}
	f.sum += float64(took)
	if good {
		f.n++
	} else {
		f.late++
	}
	if now >= f.until && f.n+f.late >= f.enough() {
		f.turn(now)
	}
}

// over says that a time in which most calls failed has ended: then their latency
// is no measure any more, neither of how long to look nor of the way to go.
func (f *Finder) over(took time.Duration, good bool) bool {
	f.fast++
	if !good || float64(took) > f.mean/8 {
		f.fast = 0
	}
	f.vain = f.fast < 8
	return !f.vain
}

// enough is how many calls make a measurement.
func (f *Finder) enough() int { return min(max(2*f.limit, 16), 40) }

// turn ends a measurement.
func (f *Finder) turn(now int64) {
	seen := f.sum / float64(f.n+f.late)
	slower := seen > 1.3*f.mean
	f.mean = max(seen, 1)
	mean := f.sum / max(float64(f.n), 0.5)
	switch {
	case f.blocked*10 < f.n: // latency at a limit that is not reached says nothing about it
		f.begin(now, working)
	case f.late > f.n: // most of what it does is in vain
		f.knee *= 0.7
		f.sure, f.vain, f.fast = 0, true, 0
		f.aim()
		f.begin(now, working)
	case f.stage == working:
		f.worked(now, mean, slower)
	case f.stage == dipping:
		if slower {
			f.begin(now, dipping)
			return
		}
		f.dip = mean
		if f.far() {
			f.decide()
			f.begin(now, working)
			return
		}
		f.begin(now, after)
	default:
		f.work = (f.work + mean) / 2
		f.decide()
		f.begin(now, working)
	}
}

// worked ends a block at the high limit.
func (f *Finder) worked(now int64, mean float64, slower bool) {
	dev := 0.0
	if f.work > 0 {
		dev = math.Abs(math.Log(mean / f.work))
		f.noise += (min(dev*dev, most*most) - f.noise) / 8
	}
	if dev > max(news, 3*math.Sqrt(f.noise)) || f.work == 0 && slower {
		f.sure = 0 // not the target it was
		f.begin(now, working)
		f.work = mean
		return
	}
	f.blocks++
	if f.work == 0 {
		f.work = mean
	}
	f.work += (mean - f.work) / float64(min(f.blocks, 4))
	if !f.far() && float64(now-f.rise) < f.mean*float64(min(4+4*f.sure, holdMost)) {
		f.measure(now)
		return
	}
	// As far down as the last dip's latency says the knee may be.
	f.low = min(f.low, f.dipTo(max(float64(f.high)*f.dip/f.work*below, float64(f.high)/deepest)))
	if f.low >= f.high {
		f.begin(now, working)
		return
	}
	f.begin(now, dipping)
}

// far says that the knee seems to be far away.
func (f *Finder) far() bool { return f.streak >= hurry || f.streak <= -hurry }

// decide moves the knee after a cycle.
func (f *Finder) decide() {
	d := math.Log(float64(f.high) / float64(f.low))
	e := math.Log(f.work/f.dip) / d
	switch {
	case e > 0.9:
		f.streak = min(f.streak, 0) - 1
	case e < 0.1, e < 0.3 && f.streak >= hurry:
		f.streak = max(f.streak, 0) + 1
	default:
		f.streak = 0
	}
	f.sure++
	if f.streak != 0 {
		f.sure = 0
	}
	step := math.Log(float64(f.high)/f.knee) - min(max(e, -0.5), 1.5)*d
	if !f.far() {
		step /= 2 + 10*math.Sqrt(f.noise) // one small dip is not much of a proof
	}
	f.knee *= math.Exp(step)
	f.aim()
}
