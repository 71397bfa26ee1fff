package pipe

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
)

// Peer is who is at the other end of a connection.
type Peer struct {
	Identity string   // its name; empty if it has none
	Proof    Proof    // what vouches for the name
	KeyID    string   // the pre-shared key that both sides used
	Addr     net.Addr // where it, or a proxy in between, is
	TLS      bool     // the connection is TLS at our end, too
}

// Proof is what vouches for a peer's name.
type Proof string

// From the strongest: a key that its holder may use under certain names only
// vouches from end to end; a certificate for the end of the TLS connection,
// which may be a proxy; and a name that any holder of the key may claim for
// nothing but that he holds the key.
const (
	ByKey         Proof = "key"
	ByCertificate Proof = "certificate"
	ByClaim       Proof = "claim"
)

// Rule lets some peers use some topics. A pattern is a name, or the beginning
// of one followed by `*`; `*` alone is any name but the empty one.
type Rule struct {
	Identity string   // pattern
	Topics   []string // patterns; empty means none
	Claimed  bool     // a name that is merely claimed will do; see ByClaim
}

// Policy is who may use what, as plain data. What no rule allows is refused:
// the zero value refuses everybody.
type Policy struct{ Rules []Rule }

// Allows says whether p may use topic.
func (y Policy) Allows(p Peer, topic string) bool {
	for _, r := range y.Rules {
		if r.speaksOf(p) {
			for _, t := range r.Topics {
				if match(t, topic) {
					return true
				}
			}
		}
	}
	return false
}

// knows says whether there is a rule for p at all.
func (y Policy) knows(p Peer) bool {
	for _, r := range y.Rules {
		if len(r.Topics) > 0 && r.speaksOf(p) {
			return true
		}
	}
	return false
}

func (r Rule) speaksOf(p Peer) bool {
	return (r.Claimed || p.Proof != ByClaim) && match(r.Identity, p.Identity)
}

func match(pattern, name string) bool {
	if begin, ok := strings.CutSuffix(pattern, "*"); ok {
		return name != "" && strings.HasPrefix(name, begin)
	}
	return name != "" && name == pattern
}

// check finds patterns that do not mean what they look like.
func (y Policy) check() error {
	for i, r := range y.Rules {
		for _, p := range append([]string{r.Identity}, r.Topics...) {
			if p == "" || strings.Contains(strings.TrimSuffix(p, "*"), "*") {
				return fmt.Errorf("pipe: rule %d: pattern %q: want a name, or its beginning and *", i, p)
			}
		}
	}
	return nil
}

// Allow holds the Policy that is in force. It can be replaced while
// connections run and holds from the next message on. Safe for concurrent use;
// the zero value refuses everybody.
type Allow struct{ policy atomic.Pointer[Policy] }

// NewAllow returns an Allow of y, or says what is wrong with it.
func NewAllow(y Policy) (*Allow, error) {
	a := new(Allow)
	return a, a.Set(y)
}

// Set replaces the policy. When something is wrong with it it says so and
// keeps the one before.
func (a *Allow) Set(y Policy) error {
	if err := y.check(); err != nil {
		return err
	}
	rules := make([]Rule, len(y.Rules))
	for i, r := range y.Rules {
		r.Topics = append([]string(nil), r.Topics...)
		rules[i] = r
	}
	a.policy.Store(&Policy{rules})
	return nil
}

// Policy returns the policy in force; it must not be changed.
func (a *Allow) Policy() Policy {
	if y := a.policy.Load(); y != nil {
		return *y
	}
	return Policy{}
}
