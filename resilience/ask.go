package resilience

import "time"

// HasMethods says whether the policy in force has Methods, and so whether the
// name of a call matters.
func (g *Guard) HasMethods() bool { return len(g.plan.Load().methods) > 0 }

// Timeout is how long a call with that name may take in all, not positive if
// there is no bound: for those who hand a value on that outlives Do, see Hold.
func (g *Guard) Timeout(method string) time.Duration { return g.plan.Load().find(method).timeout }
