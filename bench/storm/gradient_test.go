package main

import (
	"sync"
	"time"
)

// gradient is Gradient2 of Netflix concurrency-limits, written from its
// published description, with its defaults: the limit follows the ratio of the
// long-term latency to that of the last second, and a queue of 4 is allowed.
// There is no port for Go that could be imported here, so this stands in for one.
type gradient struct {
	mu       sync.Mutex
	limit    float64
	min      float64
	inflight int

	long   float64 // exponential average over 600 windows, in seconds
	seen   int     // windows in it
	window time.Time
	sum    float64
	count  int
	most   int // in flight during the window
}

const (
	gradientMax       = 200
	gradientQueue     = 4
	gradientSmoothing = 0.2
	gradientTolerance = 1.5
	gradientLong      = 600
	gradientWarmup    = 10
	gradientSamples   = 10 // the fewest that make a window
)

func newGradient(start, least float64) *gradient {
	return &gradient{limit: start, min: least, window: time.Now().Add(time.Second)}
}

func (g *gradient) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inflight >= int(g.limit) {
		return false
	}
	g.inflight++
	return true
}

func (g *gradient) done(took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sum += took.Seconds()
	g.count++
	g.most = max(g.most, g.inflight)
	g.inflight--
	if now := time.Now(); now.After(g.window) && g.count >= gradientSamples {
		g.update(g.sum/float64(g.count), g.most)
		g.window, g.sum, g.count, g.most = now.Add(time.Second), 0, 0, 0
	}
}

func (g *gradient) update(short float64, inflight int) {
	if g.seen < gradientWarmup {
		g.seen++
		g.long += (short - g.long) / float64(g.seen)
	} else {
		g.long += (short - g.long) * 2 / (gradientLong + 1)
	}
	if g.long > 2*short { // the load went down: forget the time of trouble sooner
		g.long *= 0.95
	}
	if float64(inflight) < g.limit/2 {
		return // not the limit is what holds the load
	}
	ratio := max(0.5, min(1, gradientTolerance*g.long/short))
	next := g.limit*ratio + gradientQueue
	g.limit = max(g.min, min(gradientMax, g.limit*(1-gradientSmoothing)+next*gradientSmoothing))
}
