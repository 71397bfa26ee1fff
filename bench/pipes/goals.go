package main

import "fmt"

// goal bounds a value of ours.
type goal struct {
	what    string
	atLeast float64 // 0 if there is no such bound
	below   float64 // 0 if there is no such bound
	print   func(float64) string
	value   func(*figures) (v float64, ok bool) // ok is false if it was not measured
	why     string                              // it is missed, where that has a reason beyond our speed
}

func (g goal) holds(v float64) bool {
	return v >= g.atLeast && (g.below == 0 || v < g.below)
}

func (g goal) bound() string {
	if g.below > 0 {
		return "< " + g.print(g.below)
	}
	return "≥ " + g.print(g.atLeast)
}

// goals are the plan's, in the order of the document.
func goals() []goal {
	ratio := func(v float64) string { return fmt.Sprintf("%.2f", v) }
	all := []goal{
		{what: "64 KiB with TLS and sealing, of crypto/tls alone", atLeast: 0.6, print: ratio, value: ofTLS(nameBoth, 64<<10)},
		{what: "64 B with TLS and sealing, messages/s", atLeast: 1e6, print: count, value: rate(nameBoth, 64)},
		{what: "64 B sealed without TLS, messages/s", atLeast: 1e6, print: count, value: rate(nameSeal, 64)},
		{what: "64 KiB sealed without TLS, of AES-256-GCM in memory on both cores", atLeast: 0.85, print: ratio, value: ofLimit, why: limitWhy},
	}
	for _, size := range []int{64, 1 << 10, 64 << 10} {
		all = append(all, goal{what: fmt.Sprintf("p99 of %s with TLS and sealing at half of its own most", bytesWord(size)),
			below: 200e3, print: duration, value: p99(nameBoth, size)})
	}
	return append(all, goal{what: "10,000 idle channels over one connection with TLS and sealing: memory of both processes, MB", below: 200, print: count, value: idleMemory})
}

func ofTLS(name string, size int) func(*figures) (float64, bool) {
	return func(all *figures) (float64, bool) {
		v := median(all.floods[point{name, size}], flood.share)
		return v, v > 0
	}
}

func rate(name string, size int) func(*figures) (float64, bool) {
	return func(all *figures) (float64, bool) {
		v := median(all.floods[point{name, size}], flood.rate)
		return v, v > 0
	}
}

func ofLimit(all *figures) (float64, bool) {
	v := all.bytes(nameSeal, 64<<10)
	return v / all.limits[64<<10].both, v > 0
}

func p99(name string, size int) func(*figures) (float64, bool) {
	return func(all *figures) (float64, bool) {
		some := all.paces[paced{point{name, size}, atHalf}]
		return median(some, pace.high), len(some) > 0
	}
}

// idleMemory is known only if so many were held.
func idleMemory(all *figures) (float64, bool) {
	for _, i := range all.idle {
		if i.wire == nameBoth && i.links == 1 && i.channels >= 10000 {
			return float64(i.sender+i.receiver) / 1e6, true
		}
	}
	return 0, false
}
