package push_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/push"
)

var update = flag.Bool("update", false, "write what is said into testdata")

var start = time.Date(2026, 11, 24, 4, 5, 6, 0, time.UTC)

// TestStories runs testdata/*.txt: what happens, ----, what the judge says and
// when. See world.do for the commands.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(raw), "----\n")
			w := world{t: t}
			for line := range strings.Lines(script) {
				if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
					w.do(f[0], f[1:])
				}
			}
			if got := w.out.String(); got != want {
				if *update {
					if err := os.WriteFile(file, []byte(script+"----\n"+got), 0o644); err != nil {
						t.Fatal(err)
					}
					return
				}
				t.Errorf("it says\n%s\nnot\n%s", got, want)
			}
		})
	}
}

// world is a service whose processes do as they are told.
type world struct {
	t       *testing.T
	out     strings.Builder
	plan    push.Plan
	m       *push.Machine
	second  int
	all     []*process
	named   []string
	stage   push.Stage
	share   int
	rev     int64
	said    string
	over    bool
	stopped bool // the judge is away
	every   int  // seconds between looks; 0 means 1
}

type process struct {
	push.Instance
	rate, bad, worse       int           // calls a second, of which fail without and with the value
	wait, slower           time.Duration // a call takes without and with the value
	dead, mute, deaf, lame bool          // gone; says nothing; does not apply; does not even check
	refuses                string
}

// do carries out one command:
//
//	plan share=50 for=10s force            the plan; before begin
//	instances a b c                        start processes: 10 calls/s of 10ms each
//	set a rate=5 bad=1 worse=2 wait=20ms slower=50ms dead mute deaf lame refuses=why
//	begin                                  the push begins; its item has revision 100
//	run 30                                 seconds go by
//	every 4                                seconds between looks from now on
//	away 5                                 seconds without a judge, then another one resumes
func (w *world) do(name string, args []string) {
	switch name {
	case "plan":
		for _, a := range args {
			k, v, _ := strings.Cut(a, "=")
			switch k {
			case "share":
				w.plan.Share = w.number(v)
			case "for":
				w.plan.For = w.length(v)
			case "latency":
				w.plan.MaxLatency = float64(w.number(v))
			case "force":
				w.plan.Force = true
			default:
				w.t.Fatalf("plan %s?", a)
			}
		}
	case "instances":
		for _, id := range args {
			p := &process{rate: 10, wait: 10 * time.Millisecond, slower: 10 * time.Millisecond}
			p.ID = id
			w.all = append(w.all, p)
		}
	case "set":
		w.set(args[0], args[1:])
	case "begin":
		w.rev, w.stage = 100, push.Check
		w.m = push.New("p1", w.plan, w.now(), push.Count{})
	case "run":
		for range w.number(args[0]) {
			w.tick()
		}
	case "every":
		w.every = w.number(args[0])
	case "away":
		w.stopped = true
		for range w.number(args[0]) {
			w.tick()
		}
		w.stopped = false
		w.m = push.Resume("p1", w.plan, w.stage, w.named, w.share, w.now(), push.Count{})
		w.say("another judge goes on at " + string(w.m.Stage()))
	default:
		w.t.Fatalf("%s?", name)
	}
}

func (w *world) set(id string, args []string) {
	i := slices.IndexFunc(w.all, func(p *process) bool { return p.ID == id })
	if i < 0 {
		w.t.Fatalf("no instance %s", id)
	}
	p := w.all[i]
	for _, a := range args {
		k, v, _ := strings.Cut(a, "=")
		switch k {
		case "rate":
			p.rate = w.number(v)
		case "bad":
			p.bad, p.worse = w.number(v), w.number(v)
		case "worse":
			p.worse = w.number(v)
		case "wait":
			p.wait, p.slower = w.length(v), w.length(v)
		case "slower":
			p.slower = w.length(v)
		case "dead":
			p.dead = true
		case "mute":
			p.mute = true
		case "deaf":
			p.deaf = true
		case "lame":
			p.lame = true
		case "refuses":
			p.refuses = v
		default:
			w.t.Fatalf("set %s?", a)
		}
	}
}

func (w *world) tick() {
	w.second++
	s := push.Sample{First: 100, Revision: w.rev}
	for _, p := range w.all {
		if w.looks(w.second - 1) {
			p.Calls, p.Errors, p.Time = 0, 0, 0
		}
		if !p.dead {
			w.live(p)
		}
		s.Instances = append(s.Instances, p.Instance)
	}
	if w.stopped || w.over || w.m == nil || !w.looks(w.second) {
		return
	}
	a := w.m.Step(w.now(), s)
	line := fmt.Sprintf("%s %s %s %v %d", a.Verdict, a.Stage, a.Reason, a.Instances, a.Share)
	if line != w.said && (a.Verdict != push.Keep || a.Reason != "") {
		text := a.Verdict.String()
		if a.Verdict == push.Move {
			text += fmt.Sprintf(" to %s, named %v, share %d", a.Stage, a.Instances, a.Share)
		}
		if a.Reason != "" {
			text += ": " + a.Reason + "\n    " + a.ReasonZh
		}
		w.say(text)
	}
	w.said = line
	switch a.Verdict {
	case push.Move:
		w.rev++
		w.stage, w.named, w.share = a.Stage, a.Instances, a.Share
	case push.Commit, push.Rollback:
		w.over = true
		if again := w.m.Step(w.now(), push.Sample{}); again.Verdict != a.Verdict {
			w.t.Errorf("%v is not said again", a.Verdict)
		}
	}
}

// live is a second in the life of a process.
func (w *world) live(p *process) {
	runs := p.Revision >= 100
	bad, wait := p.bad, p.wait
	if runs {
		bad, wait = p.worse, p.slower
	}
	p.Calls += uint64(p.rate)
	p.Errors += uint64(bad)
	p.Time += time.Duration(p.rate) * wait
	if p.mute {
		return
	}
	p.Seen = w.now()
	switch {
	case w.rev == 0:
		p.Revision, p.Checked = 7, 7
	case p.lame:
	case p.refuses != "":
		p.Refused, p.Why = w.rev, p.refuses
	default:
		p.Checked = w.rev
		if !p.deaf && push.Chosen("p1", p.ID, w.named, w.share) {
			p.Revision = w.rev
		}
	}
}

func (w *world) looks(second int) bool { return second%max(w.every, 1) == 0 }

func (w *world) now() time.Time { return start.Add(time.Duration(w.second) * time.Second) }

func (w *world) say(text string) { fmt.Fprintf(&w.out, "%ds %s\n", w.second, text) }

func (w *world) number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *world) length(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func TestDefaultsAreTheOnesDocumented(t *testing.T) {
	p := push.Plan{}.OrDefault()
	if p.Share != 25 || p.For != 30*time.Second || p.MaxLatency != 1.5 || p.Report != 20*time.Second || p.Rule.MaxErrorShare != 0.03 || p.Rule.For != 10*time.Second || (push.Plan{For: time.Second}).OrDefault().Rule.For != 3*time.Second {
		t.Errorf("%+v", p)
	}
	if p := (push.Plan{For: -1, Share: 101}).OrDefault(); p.For != 0 || p.Share != 25 {
		t.Errorf("%+v", p)
	}
}

// Who is chosen stays chosen when the share grows.
func TestSharesGrow(t *testing.T) {
	for _, share := range []int{0, 1, 25, 50, 99, 100} {
		n := 0
		for i := range 1000 {
			id := "order-" + strconv.Itoa(i)
			if push.Chosen("p1", id, nil, share) {
				n++
				if !push.Chosen("p1", id, nil, min(share+1, 100)) {
					t.Errorf("%s is chosen at %d %% and not at one more", id, share)
				}
			}
		}
		if n < 10*share-60 || n > 10*share+60 {
			t.Errorf("%d of 1000 at %d %%", n, share)
		}
	}
	if !push.Chosen("p1", "a", []string{"b", "a"}, 0) {
		t.Error("who is named is chosen")
	}
}
