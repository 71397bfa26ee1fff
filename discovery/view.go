package discovery

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/surefoot-go/surefoot/resilience/balance"
)

// lately is how far back losses are counted together: leases that run out at
// once are taken off one by one.
const lately = 10 * time.Second

// few is how many instances must have been known for a mass to vanish.
const few = 3

// view is what is believed of one service. Its step is pure.
type view struct {
	listed map[string]balance.Instance // by ID, as the registry said last
	gone   map[string]absent           // that vanished lately, or are kept
	heard  time.Time                   // when the registry answered last, even with nothing
	good   time.Time                   // when it answered with something last
	sizes  []size                      // how many were listed lately, oldest first
}

// size is how many were listed, and until when.
type size struct {
	n     int
	until time.Time
}

// absent is an instance that the registry no longer names.
type absent struct {
	in   balance.Instance
	at   time.Time
	kept bool
}

// hear folds an answer of the registry. An empty one changes nothing once there
// was another: a registry that has forgotten everything is likelier than a
// service that was taken away. When fewer than half of those listed
// lately are left, and no others came in their place, the vanished are kept for
// grace.
func (v *view) hear(now time.Time, answer []balance.Instance, grace time.Duration) {
	v.heard = now
	next := make(map[string]balance.Instance, len(answer))
	for _, in := range answer {
		in.ID = cmp.Or(in.ID, in.Addr)
		if _, twice := next[in.ID]; in.ID != "" && !twice {
			next[in.ID] = in
		}
	}
	if len(next) == 0 {
		return
	}
	v.good = now
	for id := range next {
		delete(v.gone, id)
	}
	v.sizes = append(slices.DeleteFunc(v.sizes, func(s size) bool { return now.Sub(s.until) >= lately }), size{len(v.listed), now})
	peak := slices.MaxFunc(v.sizes, func(a, b size) int { return cmp.Compare(a.n, b.n) }).n
	for id, in := range v.listed {
		if _, here := next[id]; !here {
			if v.gone == nil {
				v.gone = map[string]absent{}
			}
			v.gone[id] = absent{in: in, at: now}
		}
	}
	v.listed = next
	v.expire(now, grace)
	if grace <= 0 || peak < few || 2*len(next) >= peak {
		return
	}
	for id, a := range v.gone {
		if now.Sub(a.at) < lately {
			a.kept = true
			v.gone[id] = a
		}
	}
}

// expire forgets who has been gone for long enough, and tells whether the set
// is another one now.
func (v *view) expire(now time.Time, grace time.Duration) (changed bool) {
	maps.DeleteFunc(v.gone, func(_ string, a absent) bool {
		over := !a.kept && now.Sub(a.at) >= lately || a.kept && now.Sub(a.at) >= max(grace, lately)
		changed = changed || over && a.kept
		return over
	})
	return changed
}

// set is who is believed to be there, by ID, and how many of them are kept
// although the registry no longer names them.
func (v *view) set() (all []balance.Instance, kept int) {
	all = make([]balance.Instance, 0, len(v.listed))
	for _, in := range v.listed {
		all = append(all, in)
	}
	for _, a := range v.gone {
		if a.kept {
			all = append(all, a.in)
			kept++
		}
	}
	slices.SortFunc(all, func(a, b balance.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return all, kept
}

// same tells whether two sets are equal.
func same(a, b []balance.Instance) bool {
	return slices.EqualFunc(a, b, func(a, b balance.Instance) bool {
		return a.ID == b.ID && a.Addr == b.Addr && a.Version == b.Version && a.Zone == b.Zone && a.Weight == b.Weight && maps.Equal(a.Labels, b.Labels)
	})
}

// Via is in with the address of each instance replaced by its label of that
// name, where it has one: the label "grpc" of a service that serves HTTP and
// gRPC on two ports. The slice is a new one.
func Via(label string, in []balance.Instance) []balance.Instance {
	out := slices.Clone(in)
	for i := range out {
		out[i].Addr = cmp.Or(out[i].Labels[label], out[i].Addr)
	}
	return out
}
