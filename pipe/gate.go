package pipe

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Gate bounds what strangers may cost before they have proved to hold a key.
// The zero value bounds by the defaults. It is plain data.
type Gate struct {
	Handshakes int           // at once; 0 means 256. One address has at most half of them
	Rate       float64       // new connections per second from one address (IPv6: one /64); 0 means 100, negative means unbounded
	Burst      int           // and as many at once; 0 means 200
	Timeout    time.Duration // of a handshake, TLS and seal together; 0 means 5s
}

// Defaults of Gate, see there.
const (
	defaultHandshakes = 256
	defaultRate       = 100
	defaultBurst      = 200
	defaultTimeout    = 5 * time.Second
)

func (g Gate) orDefault() Gate {
	if g.Handshakes <= 0 {
		g.Handshakes = defaultHandshakes
	}
	if g.Rate == 0 {
		g.Rate = defaultRate
	}
	if g.Burst <= 0 {
		g.Burst = defaultBurst
	}
	if g.Timeout <= 0 {
		g.Timeout = defaultTimeout
	}
	return g
}

// maxAddresses bounds the table of addresses. Those that find no place in it
// share one entry.
const maxAddresses = 4096

// gate counts handshakes under way and new connections, by address.
type gate struct {
	Gate
	mu     sync.Mutex
	all    int
	byAddr map[netip.Prefix]*visitor
	swept  time.Time
}

type visitor struct {
	inside int
	tokens float64
	last   time.Time
}

func newGate(g Gate) *gate {
	return &gate{Gate: g.orDefault(), byAddr: map[netip.Prefix]*visitor{}}
}

// enter lets a connection from addr begin its handshake, or not. When it does,
// leave must follow.
func (g *gate) enter(addr net.Addr, now time.Time) bool {
	at := prefix(addr)
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.visitor(at, now)
	if g.Rate > 0 {
		v.tokens = min(v.tokens+now.Sub(v.last).Seconds()*g.Rate, float64(g.Burst))
		v.last = now
		if v.tokens < 1 {
			return false
		}
		v.tokens--
	}
	if g.all >= g.Handshakes || v.inside >= max(g.Handshakes/2, 1) {
		return false
	}
	g.all++
	v.inside++
	return true
}

// leave ends what enter began.
func (g *gate) leave(addr net.Addr) {
	at := prefix(addr)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	v := g.byAddr[at]
	if v == nil || v.inside == 0 {
		v = g.byAddr[netip.Prefix{}]
	}
	if v != nil && v.inside > 0 {
		v.inside--
	}
}

// visitor returns the entry of an address.
func (g *gate) visitor(at netip.Prefix, now time.Time) *visitor {
	if v := g.byAddr[at]; v != nil {
		return v
	}
	if len(g.byAddr) >= maxAddresses && now.Sub(g.swept) > time.Second {
		g.swept = now
		for k, v := range g.byAddr {
			if v.inside == 0 && (g.Rate <= 0 || v.tokens+now.Sub(v.last).Seconds()*g.Rate >= float64(g.Burst)) {
				delete(g.byAddr, k) // as if it had never come
			}
		}
	}
	if len(g.byAddr) >= maxAddresses {
		if at = (netip.Prefix{}); g.byAddr[at] != nil {
			return g.byAddr[at]
		}
	}
	v := &visitor{tokens: float64(g.Burst), last: now}
	g.byAddr[at] = v
	return v
}

// prefix returns what of an address one person can be expected to have: an
// IPv4 address, an IPv6 /64. What is no IP address is one and the same.
func prefix(addr net.Addr) netip.Prefix {
	if addr == nil {
		return netip.Prefix{}
	}
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip, bits := ap.Addr().Unmap().WithZone(""), 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}
