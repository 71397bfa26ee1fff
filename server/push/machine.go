package push

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/surefoot-go/surefoot/server/rollout"
)

// mostNamed is how many instances are named one by one; in a larger service
// every process tells by the share alone.
const mostNamed = 200

// Count is a number of calls, how many failed and how long they took in all.
type Count struct {
	Calls, Errors uint64
	Time          time.Duration
}

func (c *Count) add(o Count) {
	c.Calls += o.Calls
	c.Errors += o.Errors
	c.Time += o.Time
}

func (c Count) share() float64 { return float64(c.Errors) / float64(max(c.Calls, 1)) }

func (c Count) mean() time.Duration { return c.Time / time.Duration(max(c.Calls, 1)) }

// Machine takes one push from stage to stage. Make one with New or Resume. It
// is not safe for concurrent use.
type Machine struct {
	id   string
	plan Plan

	stage   Stage
	named   []string
	share   int
	first   int64     // of the push when it began
	entered time.Time // this stage, or judged anew after a restart
	runs    time.Time // since when its instances run it; zero before
	slow    time.Time // since when they are too slow; zero when not
	late    bool      // Report has passed and Force lets it go on

	rule   rollout.Machine
	told   struct{ good, bad uint64 } // of here, to rule
	before Count                      // by instances that run the old value, before and beside
	here   Count                      // this stage's, by those that run the new one
	there  Count                      // this stage's, by the others
	active map[string]bool
	end    Action // once it is Commit or Rollback
}

// New begins a push at the stage Check. before is how calls went until now, as
// far as it is known. id is the push's own, by which processes choose
// themselves.
func New(id string, p Plan, now time.Time, before Count) *Machine {
	return Resume(id, p, Check, nil, 0, now, before)
}

// Resume goes on with a push that was written down as being at a stage, by a
// judge that started anew: the stage is judged from its beginning.
func Resume(id string, p Plan, stage Stage, named []string, share int, now time.Time, before Count) *Machine {
	m := &Machine{id: id, plan: p.OrDefault(), before: before, active: make(map[string]bool)}
	m.enter(now, stage, named, share)
	return m
}

// Stage is where the push is.
func (m *Machine) Stage() Stage { return m.stage }

func (m *Machine) enter(now time.Time, stage Stage, named []string, share int) {
	m.stage, m.named, m.share, m.entered = stage, slices.Clone(named), share, now
	m.runs, m.slow, m.here, m.there = time.Time{}, time.Time{}, Count{}, Count{}
	m.late = false
	m.told.good, m.told.bad = 0, 0
	m.rule = rollout.Machine{Rule: m.plan.Rule}
}

// Step folds one second into m and says what to do. now must not run
// backwards. A Move is said once: whoever could not write it down calls Resume
// with what is written. Commit and Rollback are said again on every further
// step.
func (m *Machine) Step(now time.Time, s Sample) Action {
	if m.end.Verdict != Keep {
		return m.end
	}
	m.first = s.First
	alive := m.living(now, s)
	m.count(s)
	if a, bad := m.refused(s); bad {
		return m.finish(a)
	}
	if m.stage == Check {
		return m.check(now, s, alive)
	}
	return m.judge(now, s, alive)
}

func (m *Machine) finish(a Action) Action {
	a.Stage, a.Instances, a.Share = m.stage, m.named, m.share
	m.end = a
	return a
}

func (m *Machine) back(en, zh string) Action {
	return m.finish(Action{Verdict: Rollback, Reason: en, ReasonZh: zh})
}

func (m *Machine) keep(en, zh string) Action {
	return Action{Stage: m.stage, Instances: m.named, Share: m.share, Reason: en, ReasonZh: zh}
}

func (m *Machine) move(now time.Time, stage Stage, named []string, share int) Action {
	m.enter(now, stage, named, share)
	return Action{Verdict: Move, Stage: stage, Instances: m.named, Share: share}
}

func (m *Machine) chosen(id string) bool { return Chosen(m.id, id, m.named, m.share) }

// living are the instances heard of lately, in the order in which they are
// chosen: those that take calls first.
func (m *Machine) living(now time.Time, s Sample) []Instance {
	var out []Instance
	for _, in := range s.Instances {
		if in.Calls > 0 {
			m.active[in.ID] = true
		}
		if !in.Seen.IsZero() && now.Sub(in.Seen) < gone {
			out = append(out, in)
		}
	}
	slices.SortFunc(out, func(a, b Instance) int {
		return cmp.Or(m.idle(a)-m.idle(b), cmp.Compare(m.place(a.ID), m.place(b.ID)), cmp.Compare(a.ID, b.ID))
	})
	return out
}

func (m *Machine) idle(in Instance) int {
	if m.active[in.ID] {
		return 0
	}
	return 1
}

func (m *Machine) place(id string) int { return place(m.id, id) }

// count files the calls of this second: those of instances that run the value,
// and of those that do not. Calls of an instance that was chosen and has not
// said yet that it runs it are neither.
func (m *Machine) count(s Sample) {
	for _, in := range s.Instances {
		c := Count{in.Calls, in.Errors, in.Time}
		switch {
		case m.stage == Check || !m.chosen(in.ID):
			m.before.add(c)
			m.there.add(c)
		case in.Revision >= s.Revision || m.late:
			m.here.add(c)
		}
	}
}

// refused tells of the first instance that does not take the value.
func (m *Machine) refused(s Sample) (Action, bool) {
	for _, in := range s.Instances {
		if in.Refused >= s.First && s.First > 0 {
			en, zh := refusal(in)
			return Action{Verdict: Rollback, Reason: en, ReasonZh: zh}, true
		}
	}
	return Action{}, false
}

func (m *Machine) check(now time.Time, s Sample, alive []Instance) Action {
	waited := now.Sub(m.entered)
	if len(alive) == 0 {
		switch {
		case waited < m.plan.Report:
			return m.keep(waiting(0, 0))
		case !m.plan.Force:
			return m.back(nobody(m.plan.Report))
		}
		return m.move(now, Share, nil, m.plan.Share)
	}
	done := 0
	silent := ""
	for _, in := range alive {
		if in.Checked >= s.First {
			done++
		} else if silent == "" {
			silent = in.ID
		}
	}
	switch {
	case done == len(alive):
	case waited < m.plan.Report:
		return m.keep(waiting(done, len(alive)))
	case !m.plan.Force:
		return m.back(unchecked(silent, done, len(alive), m.plan.Report))
	}
	return m.move(now, One, []string{alive[0].ID}, 0)
}

// judge is a second of the stages in which somebody runs the value.
func (m *Machine) judge(now time.Time, s Sample, alive []Instance) Action {
	running, want := 0, 0
	silent := ""
	for _, in := range alive {
		switch {
		case !m.chosen(in.ID):
		case in.Revision >= s.Revision:
			want, running = want+1, running+1
		default:
			want++
			silent = cmp.Or(silent, in.ID)
		}
	}
	lost := 0
	for _, id := range m.named {
		if !slices.ContainsFunc(alive, func(in Instance) bool { return in.ID == id }) {
			lost++
		}
	}
	if lost > 0 && 2*lost > len(m.named) {
		return m.back(vanished(lost, len(m.named)))
	}
	ended := !m.runs.IsZero() && now.Sub(m.runs) >= m.plan.For
	if a, bad := m.worse(now, ended); bad {
		return a
	}
	if m.runs.IsZero() {
		waited := now.Sub(m.entered)
		switch {
		case running > 0 && running == want:
		case waited < m.plan.Report:
			return m.keep(applying(running, want))
		case !m.plan.Force:
			return m.back(unapplied(silent, running, want, m.plan.Report))
		default:
			m.late = true
		}
		m.runs = now
	}
	if now.Sub(m.runs) < m.plan.For {
		return m.keep("", "")
	}
	if m.here.Calls < uint64(m.plan.Rule.MinSamples) && m.busy(alive) && now.Sub(m.runs) < m.plan.For+m.plan.Report {
		return m.keep(blind()) // calls were seen before: telemetry may be late
	}
	switch m.stage {
	case One:
		if named, share := m.widen(alive); len(named) > len(m.named) || share > 0 {
			return m.move(now, Share, named, share)
		}
		return m.move(now, All, nil, 100)
	case Share:
		return m.move(now, All, nil, 100)
	}
	en, zh := committed(m.here)
	return m.finish(Action{Verdict: Commit, Reason: en, ReasonZh: zh})
}

// widen names those that run the value as a share, the one that does already
// among them.
func (m *Machine) widen(alive []Instance) (named []string, share int) {
	if len(alive) > mostNamed {
		return m.named, m.plan.Share
	}
	n := int(math.Ceil(float64(len(alive)) * float64(m.plan.Share) / 100))
	named = slices.Clone(m.named)
	for _, in := range alive {
		if len(named) < n && !slices.Contains(named, in.ID) {
			named = append(named, in.ID)
		}
	}
	return named, 0
}

// busy tells whether one of those that run the value has taken calls since the
// push began.
func (m *Machine) busy(alive []Instance) bool {
	return slices.ContainsFunc(alive, func(in Instance) bool { return m.active[in.ID] && m.chosen(in.ID) })
}

// plainly tells whether more of this stage's calls failed than the rule allows,
// with one failure taken away.
func (m *Machine) plainly() bool {
	limit := m.plan.Rule.MaxErrorShare
	return limit >= 0 && m.here.Calls >= uint64(m.plan.Rule.MinSamples) && float64(m.here.Errors)-1 > limit*float64(m.here.Calls)
}

// worse tells whether those that run the value do worse than the rule allows,
// and than those that do not. At the end of a stage all of it counts, however
// late its telemetry came.
func (m *Machine) worse(now time.Time, ended bool) (Action, bool) {
	ref, beside := m.there, true
	if m.stage == All || ref.Calls < leastCalls {
		ref, beside = m.before, false
	}
	good := m.here.Calls - m.here.Errors
	verdict := m.rule.Step(now, rollout.Sample{Version: m.id, Good: int(good - m.told.good), Bad: int(m.here.Errors - m.told.bad)})
	m.told.good, m.told.bad = good, m.here.Errors
	if (verdict.Verdict == rollout.Rollback || ended && m.plainly()) && (ref.Calls < leastCalls || m.here.share() > asBad*ref.share()) {
		return m.back(failing(m.here, ref, beside, m.plan.Rule.MaxErrorShare)), true
	}
	if m.plan.MaxLatency < 0 || m.here.Calls < leastCalls || ref.Calls < leastCalls ||
		float64(m.here.mean()) <= m.plan.MaxLatency*float64(ref.mean()) || m.here.mean() < ref.mean()+leastSlower {
		m.slow = time.Time{}
		return Action{}, false
	}
	if m.slow.IsZero() {
		m.slow = now
	}
	if !ended && now.Sub(m.slow) < m.plan.For/3 {
		return Action{}, false
	}
	return m.back(slower(m.here, ref, beside, m.plan.MaxLatency)), true
}
