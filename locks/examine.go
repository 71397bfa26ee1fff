package locks

import "slices"

func (w mode) wants() string {
	if w == reading {
		return "locks for reading"
	}
	return "locks"
}

// examine learns from t and reports what it makes possible.
func (c *checker) examine(t *taking) {
	if c.handedOver(t.k) {
		return
	}
	t.held = slices.DeleteFunc(t.held, func(h *hold) bool { return c.handedOver(h.k) })
	var edges []*edge
	for i, h := range t.held {
		if h.k == t.k && (t.how == writing || h.how == writing) {
			c.recursive(t, h)
			return // it says nothing about the order of others
		}
		ranked := h.k.class == t.k.class && h.k != t.k && h.k.rank != 0 && h.k.rank < t.k.rank
		if !ranked {
			edges = append(edges, &edge{taking: t, from: i})
		}
	}
	if len(edges) == 0 && !t.writes() {
		return
	}
	all, again := c.graph.known(t, edges)
	for _, p := range again {
		c.found.again(p)
	}
	if all {
		return
	}
	for _, cy := range c.graph.learn(t, edges) {
		p := c.cycle(cy)
		c.graph.mu.Lock()
		for _, e := range cy.edges {
			e.problem = p
		}
		c.graph.mu.Unlock()
	}
}

// handedOver says that another goroutine has unlocked k before: that who locked it holds
// it cannot be relied on, so it has no place in an order.
func (c *checker) handedOver(k *mark) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.gen == c.gen && k.handed
}

// recursive reports a goroutine about to wait for itself.
func (c *checker) recursive(t *taking, h *hold) {
	c.report(Problem{Kind: KindRecursive, Name: t.k.name}, func(p *Problem) {
		p.Text = t.k.name + " is locked at " + t.stack.site() + " by the goroutine that holds it since " + h.stack.site() + ": it waits for itself"
		p.Stacks = []Stack{
			{goroutineText(t.g, t.how.wants(), t.k), t.stack.String()},
			{goroutineText(t.g, h.how.verb(), t.k), h.stack.String()},
		}
	}, t.stack.site(), h.stack.site())
}

// cycle reports a possible deadlock.
func (c *checker) cycle(cy cycle) *Problem {
	e := cy.edges[0]
	p := Problem{Kind: KindOrder, Name: e.k.name, Other: e.holds().k.name}
	text := e.k.name + " is locked at " + e.stack.site() + " while " + p.Other + " is held since " + e.holds().stack.site()
	switch {
	case e.recursive():
		p.Kind, p.Other = KindRecursiveRead, ""
		text += " for reading: a writer that comes between waits for the first and is waited for by the second"
	case len(cy.edges) == 1:
		p.Kind = KindNested
		text += ", and nothing says which of them comes first"
		if e.k.rank != 0 && e.holds().k.rank != 0 {
			text += ": their ranks are " + number(uint64(e.k.rank)) + " after " + number(uint64(e.holds().k.rank))
		}
	default:
		for _, o := range cy.edges[1:] {
			text += ", and " + o.k.name + " is locked at " + o.stack.site() + " while " + o.holds().k.name + " is held"
		}
		text += ": together they can deadlock"
	}
	var sites []string
	for _, o := range cy.edges {
		sites = append(sites, o.stack.site(), o.holds().stack.site())
	}
	slices.Sort(sites)
	return c.report(p, func(p *Problem) {
		p.Text = text
		for _, o := range cy.edges {
			p.Stacks = append(p.Stacks,
				Stack{goroutineText(o.g, o.how.wants(), o.k), o.stack.String()},
				Stack{goroutineText(o.g, o.holds().how.verb(), o.holds().k), o.holds().stack.String()})
		}
		for _, w := range cy.writers {
			p.Stacks = append(p.Stacks, Stack{goroutineText(w.g, "waits between readers for", w.k), w.stack.String()})
		}
	}, sites...)
}
