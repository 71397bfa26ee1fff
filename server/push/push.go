// Package push judges a push of settings while it goes through a service: it
// is handed, second by second, what each instance says it runs and how its
// calls go, and says who is to run the new value next, or that it goes back.
//
//	m := push.New("9f3c", push.Plan{}, now) // one instance, then 25 %, then all, 30 s each
//	for each second {
//		a := m.Step(now, push.Sample{Revision: rev, Instances: seen})
//		switch a.Verdict {
//		case push.Move: write a.Stage, a.Instances and a.Share beside the value
//		case push.Commit: make it the value
//		case push.Rollback: take it away, because of a.Reason
//		}
//	}
//
// It is pure: it reads no clock, starts no goroutine and opens no connection.
// It does not know what a value means: whether one is allowed is asked before,
// and every process checks for itself.
package push

import (
	"hash/fnv"
	"slices"
	"time"

	"github.com/surefoot-go/surefoot/server/rollout"
)

// Plan is how a push goes and when it goes back. The zero value is its
// documented defaults.
type Plan struct {
	Share int // percent of the instances that run it after the first one; 0 means 25
	// For is how long each stage is judged once its instances run the value, and
	// up to Report longer while instances that took calls before show too few to
	// judge by; 0 means 30s, negative means one look.
	For time.Duration
	// Rule is the error share at which it goes back, by the calls of those that
	// run the value together. A zero For means a third of the stage's and at
	// least 3s; when a stage ends, all its calls are judged at once. Where the
	// others, or the same calls before the push, fail as often, it is not the
	// push's doing and the push goes on.
	Rule rollout.Rule
	// MaxLatency is how many times as slow as the others, or as before the push,
	// calls may be on average; over it and 5 ms more for a third of For, the push
	// goes back. 0 means 1.5, negative means never.
	MaxLatency float64
	// Report is how long instances may take to say that they have checked the
	// value, or run it; 0 means 20s.
	Report time.Duration
	Force  bool // go on where no instance reports, after Report
}

const (
	defaultShare   = 25
	defaultFor     = 30 * time.Second
	defaultLatency = 1.5
	defaultReport  = 20 * time.Second
	leastSlower    = 5 * time.Millisecond // less is noise on any machine
	leastCalls     = 20                   // of either side, to compare latency
	asBad          = 1.5                  // times the others' error share that it takes to be worse
	gone           = 15 * time.Second     // without a report, an instance is gone; less than Report, so that one that goes away holds nothing up
)

// OrDefault returns p with its defaults written out.
func (p Plan) OrDefault() Plan {
	if p.Share <= 0 || p.Share > 100 {
		p.Share = defaultShare
	}
	if p.For == 0 {
		p.For = defaultFor
	}
	p.For = max(p.For, 0)
	if p.MaxLatency == 0 {
		p.MaxLatency = defaultLatency
	}
	if p.Report <= 0 {
		p.Report = defaultReport
	}
	if p.Rule.For == 0 {
		p.Rule.For = max(p.For/3, 3*time.Second)
	}
	p.Rule = p.Rule.OrDefault()
	return p
}

// Stage is how far a push has come.
type Stage string

// The stages, in order.
const (
	Check Stage = "check" // every process checks the value, nobody runs it
	One   Stage = "one"   // one instance runs it
	Share Stage = "share" // Plan.Share percent run it
	All   Stage = "all"   // everybody runs it
)

// Verdict is what to do.
type Verdict uint8

// What a step can say.
const (
	Keep     Verdict = iota // leave the push where it is
	Move                    // write down the stage
	Commit                  // make the value the one for all
	Rollback                // take the push away
)

// String returns "keep", "move", "commit" or "rollback".
func (v Verdict) String() string {
	return [...]string{"keep", "move", "commit", "rollback"}[min(v, Rollback)]
}

// Instance is what is known of one process of the service.
type Instance struct {
	ID       string
	Seen     time.Time // its newest report on the key; zero for none ever
	Revision int64     // of the value it runs
	Checked  int64     // highest revision that passed its checks
	Refused  int64     // newest revision it refused; 0 for none
	Calls    uint64    // answered since the step before
	Errors   uint64    // of which failed
	Time     time.Duration
	// Why is its own reason for a refusal, if it is known.
	Why string
}

// Sample is one second. Revision is that of the push as it was written last;
// First that of the push when it was written for the first time.
type Sample struct {
	First, Revision int64
	Instances       []Instance
}

// Action is the answer to one step. Instances and Share belong to Stage.
type Action struct {
	Verdict          Verdict
	Stage            Stage
	Instances        []string
	Share            int // percent
	Reason, ReasonZh string
}

// Chosen tells whether an instance is to run a push, as every process tells by
// itself: it is named, or its place by FNV-1a of id and instance is below the
// share.
func Chosen(id, instance string, named []string, share int) bool {
	return slices.Contains(named, instance) || place(id, instance) < share
}

func place(id, instance string) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id + "/" + instance)) // it never fails
	return int(h.Sum64() % 100)
}
