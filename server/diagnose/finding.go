package diagnose

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/detect"
)

// How much a finding weighs. Goroutines that Go's own profile calls leaked can
// never run again; what only grows might yet stop. Beside a candidate that the
// spans name, a finding takes a third of the doubt away; alone, it weighs less
// than the deepest symptom: that a service leaks does not say that it fails.
const (
	proven     = .9
	grown      = .8
	confirming = .3
	beside     = .15
)

// findings are an incident's symptoms that services found in themselves, those
// that explain the others first.
type findings []symptom

func found(inc alert.Incident) (f findings) {
	for _, s := range inc.Symptoms {
		if s.Found() {
			f = append(f, s)
		}
	}
	slices.SortStableFunc(f, func(a, b symptom) int {
		switch {
		case detect.Deeper(a.Metric, b.Metric):
			return -1
		case detect.Deeper(b.Metric, a.Metric):
			return 1
		}
		return 0
	})
	return f
}

// alone tells whether nothing but findings is known of an incident.
func alone(inc alert.Incident) bool { return len(inc.Symptoms) > 0 && !inc.Felt() }

// felt is inc without its findings, which may have begun long before.
func felt(inc alert.Incident) alert.Incident {
	inc.Symptoms = slices.DeleteFunc(slices.Clone(inc.Symptoms), func(s symptom) bool { return s.Found() })
	if len(inc.Symptoms) > 0 {
		inc.OpenedAt = inc.Symptoms[0].Since
	}
	return inc
}

// join ranks the findings among the candidates that the spans name; nil when
// the incident is findings alone, for then there is nothing else to explain.
func (f findings) join(spans []Candidate) []Candidate {
	out := slices.Clone(spans)
	for _, s := range f {
		k := slices.IndexFunc(out, func(c Candidate) bool {
			return c.Name == s.Target && (c.Version == "" || c.Version == s.Finding.Version)
		})
		if k >= 0 && out[k].Finding != "" {
			continue // the deepest one speaks
		}
		if k >= 0 {
			c := &out[k]
			c.Finding = s.Metric
			c.Score = math.Round(min(c.Score+confirming*(1-c.Score), .99)*100) / 100
			c.Why += "; it says of itself: " + s.Finding.Text
			c.WhyZh += "；其自身报告：" + s.Finding.TextZh
			continue
		}
		c := Candidate{Name: s.Target, Kind: s.Kind, Version: s.Finding.Version, Score: beside, Finding: s.Metric, Why: s.Finding.Text, WhyZh: s.Finding.TextZh}
		if spans == nil {
			c.Score = grown
			if s.Finding.Method == "leak profile" {
				c.Score = proven
			}
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b Candidate) int { return cmp.Compare(b.Score, a.Score) })
	if out == nil {
		out = []Candidate{}
	}
	return out[:min(len(out), mostSuspect)]
}

// concerned are the impacts to show of findings that nobody has felt yet: the
// service itself, and where users come in.
func (f findings) concerned(all []Impact) []Impact {
	return slices.DeleteFunc(all, func(i Impact) bool {
		return !i.Entry && !slices.ContainsFunc(f, func(s symptom) bool { return s.Target == i.Service })
	})
}

// evidence is what the findings say, at most four.
func (f findings) evidence() []Evidence {
	out := []Evidence{}
	for _, s := range f[:min(len(f), 4)] {
		name := s.Target
		if s.Finding.Version != "" {
			name += " " + s.Finding.Version
		}
		e := Evidence{
			Text: name + " says of itself: " + s.Finding.Text, TextZh: name + " 自身报告：" + s.Finding.TextZh,
			TraceID: s.Finding.TraceID, At: s.At,
		}
		if n := s.Finding.Instances; n > 1 {
			e.Text += fmt.Sprintf(" (the worst of %d instances: %s)", n, s.Finding.Instance)
			e.TextZh += fmt.Sprintf("（%d 个实例中最严重的是 %s）", n, s.Finding.Instance)
		}
		if m := s.Finding.Method; m != "" {
			e.Text += "; found by " + m
			e.TextZh += "；判定依据：" + methodZh(m)
		}
		if s.ClearedAt != nil {
			e.Text += "; it is over since " + s.ClearedAt.UTC().Format("15:04:05")
			e.TextZh += "；已于 " + s.ClearedAt.UTC().Format("15:04:05") + " 消失"
		}
		out = append(out, e)
	}
	return out
}

func methodZh(m string) string {
	switch m {
	case "leak profile":
		return "Go 泄漏分析"
	case "growth":
		return "持续增长"
	case "level":
		return "持续超过界限"
	}
	return m
}

// firstAid is what helps before anybody knows more. Nothing in it can hurt.
func firstAid(o Candidate, f findings, l lang) string {
	k := slices.IndexFunc(f, func(s symptom) bool { return s.Target == o.Name && s.Metric == o.Finding })
	if o.Finding == "" || k < 0 {
		return ""
	}
	s := f[k].Finding
	name := escape(o.Name)
	switch o.Finding {
	case detect.LockProblem:
		return l.pick("the log of "+name+" has the stacks of those who take part (surefoot.lock.stack)", name+" 的日志中有相关协程的堆栈（surefoot.lock.stack）")
	case detect.PipeRefusal:
		return l.pick("what is forged, replayed or not allowed was not let in; find out who sends it", "伪造、重放或未授权的内容已被挡在门外；请查明是谁在发送")
	}
	what := l.pick("a restart", "重启")
	switch o.Finding {
	case detect.LockContention, detect.GCPressure, detect.SchedulerLatency, detect.OtherFinding:
		what = l.pick("more instances", "增加实例") // a restart would only bring it back
	}
	out := l.pick(what+" of "+name+" will gain time", "对 "+name+what+"可以争取时间")
	if s.Version != "" {
		v := escape(s.Version)
		out = l.pick(
			fmt.Sprintf("if %s %s is the new version, take it off traffic (route weight 0); %s will gain time, no more", name, v, what),
			fmt.Sprintf("如果 %s %s 是新版本，先把它从流量中摘除（路由权重设为 0）；%s只能争取时间", name, v, what))
	}
	if s.Created != "" {
		c := escape(s.Created)
		out += l.pick("; then mend "+c, "；然后修复 "+c)
	}
	return out
}
