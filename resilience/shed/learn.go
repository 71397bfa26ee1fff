package shed

import (
	"math"
	"time"
)

// learner finds how many calls at once a target does well: its knee, beyond
// which more calls only wait inside it. It is pure: time and outcomes go in, a
// limit comes out.
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
type learner struct {
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

// stage is what the learner measures.
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

// begins sets a first limit.
func (l *learner) begins(start, lo, hi int) {
	*l = learner{streak: hurry}
	l.bound(lo, hi)
	l.knee = float64(start) / stride
	l.aim()
	l.limit, l.goal = l.high, l.high
}

// bound changes the bounds; what was learned stays.
func (l *learner) bound(lo, hi int) {
	l.min, l.max = lo, hi
	if l.knee > 0 {
		l.aim()
		l.begin(l.from, working)
	}
}

// aim sets the two limits around the knee.
func (l *learner) aim() {
	noise := min(math.Sqrt(l.noise), most)
	up, down := above+noise, below
	if l.streak >= hurry {
		up = max(up, stride)
	}
	if l.streak <= -hurry {
		down = 1 / stride
	}
	l.knee = min(max(l.knee, float64(l.min)), float64(l.max))
	l.high = min(max(int(math.Ceil(l.knee*up)), int(l.knee)+1), l.max)
	l.low = l.dipTo(l.knee * down)
}

func (l *learner) dipTo(v float64) int { return max(min(int(v), l.high-1), l.min) }

// begin enters a stage. A lower limit is in force at once. A higher one is
// reached in the time a call takes: calls let in at the same moment would end at
// the same moment for ever after, and the few above the knee wait for all the
// others.
func (l *learner) begin(now int64, st stage) {
	l.stage, l.goal = st, l.high
	if st == dipping {
		l.goal = l.low
	}
	settle := l.mean
	if l.goal < l.limit {
		settle *= 1.7
	}
	if l.goal > l.limit {
		settle += l.mean * float64(l.goal) / float64(max(l.limit, 1))
	}
	l.base, l.rise = l.limit, now
	l.limit = max(min(l.limit, l.goal), l.min)
	if st == working {
		l.blocks, l.work = 0, 0
	}
	l.measure(now + int64(settle))
}

// climb raises the limit towards its goal.
func (l *learner) climb(now int64) {
	if l.limit >= l.goal {
		return
	}
	part := 1.0
	if l.mean > 0 {
		part = min(float64(now-l.rise)/l.mean, 1)
	}
	l.limit = max(l.limit, l.base+int(part*float64(l.goal-l.base)))
}

// measure starts a measurement at the given time.
func (l *learner) measure(from int64) {
	l.from = from
	l.until = from + int64(l.mean)
	l.n, l.late, l.blocked, l.sum = 0, 0, 0, 0
}

// block counts a call that did not find room at once.
func (l *learner) block() { l.blocked++ }

// done takes a call that ended now after the given time. It reports whether
// the limit changed.
func (l *learner) done(now int64, took time.Duration, o Outcome) bool {
	old := l.limit
	l.climb(now)
	if o != Ignored {
		l.learn(now, took, o)
	}
	return l.limit != old
}

func (l *learner) learn(now int64, took time.Duration, o Outcome) {
	if l.mean == 0 { // the first latency ever: now stages have a length
		l.mean = max(float64(took), 1)
		l.dip = l.mean
		l.begin(now, working)
		return
	}
	if now < l.from {
		return
	}
	l.sum += float64(took)
	if o == Success {
		l.n++
	} else {
		l.late++
	}
	if now >= l.until && l.n+l.late >= l.enough() {
		l.turn(now)
	}
}

// enough is how many calls make a measurement.
func (l *learner) enough() int { return min(max(2*l.limit, 16), 40) }

// turn ends a measurement.
func (l *learner) turn(now int64) {
	seen := l.sum / float64(l.n+l.late)
	slower := seen > 1.3*l.mean
	l.mean = max(seen, 1)
	mean := l.sum / max(float64(l.n), 0.5)
	switch {
	case l.blocked*10 < l.n: // latency at a limit that is not reached says nothing about it
		l.begin(now, working)
	case l.late > l.n: // most of what it does is in vain
		l.knee *= 0.7
		l.sure = 0
		l.aim()
		l.begin(now, working)
	case l.stage == working:
		l.worked(now, mean, slower)
	case l.stage == dipping:
		if slower {
			l.begin(now, dipping)
			return
		}
		l.dip = mean
		if l.far() {
			l.decide()
			l.begin(now, working)
			return
		}
		l.begin(now, after)
	default:
		l.work = (l.work + mean) / 2
		l.decide()
		l.begin(now, working)
	}
}

// worked ends a block at the high limit.
func (l *learner) worked(now int64, mean float64, slower bool) {
	dev := 0.0
	if l.work > 0 {
		dev = math.Abs(math.Log(mean / l.work))
		l.noise += (min(dev*dev, most*most) - l.noise) / 8
	}
	if dev > max(news, 3*math.Sqrt(l.noise)) || l.work == 0 && slower {
		l.sure = 0 // not the target it was
		l.begin(now, working)
		l.work = mean
		return
	}
	l.blocks++
	if l.work == 0 {
		l.work = mean
	}
	l.work += (mean - l.work) / float64(min(l.blocks, 4))
	if !l.far() && float64(now-l.rise) < l.mean*float64(min(4+4*l.sure, holdMost)) {
		l.measure(now)
		return
	}
	// As far down as the last dip's latency says the knee may be.
	l.low = min(l.low, l.dipTo(max(float64(l.high)*l.dip/l.work*below, float64(l.high)/deepest)))
	if l.low >= l.high {
		l.begin(now, working)
		return
	}
	l.begin(now, dipping)
}

// far says that the knee seems to be far away.
func (l *learner) far() bool { return l.streak >= hurry || l.streak <= -hurry }

// decide moves the knee after a cycle.
func (l *learner) decide() {
	d := math.Log(float64(l.high) / float64(l.low))
	e := math.Log(l.work/l.dip) / d
	switch {
	case e > 0.9:
		l.streak = min(l.streak, 0) - 1
	case e < 0.1, e < 0.3 && l.streak >= hurry:
		l.streak = max(l.streak, 0) + 1
	default:
		l.streak = 0
	}
	l.sure++
	if l.streak != 0 {
		l.sure = 0
	}
	step := math.Log(float64(l.high)/l.knee) - min(max(e, -0.5), 1.5)*d
	if !l.far() {
		step /= 2 + 10*math.Sqrt(l.noise) // one small dip is not much of a proof
	}
	l.knee *= math.Exp(step)
	l.aim()
}
