package diagnose

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/topology"
)

// What counts as something to explain.
const (
	fewFailures = 3    // failed traces more than the minute before would have had
	slowerBy    = 20.0 // milliseconds of a trace, and half as much again as before
	mostSuspect = 5
)

// candidates ranks the nodes. A node's score is the share of the additional
// failures, or else of the additional time, that leads to it: where both grew,
// failures count four fifths. One failure is always taken to have another cause,
// so that few failures make nobody certain. A breaker that refuses calls to it adds a tenth
// of the doubt. Without spans that show anything the deepest symptom is all
// there is, and scores 0.2.
func (c *caseFile) candidates() []Candidate {
	ratio := 1.0 // the past is a minute, the present may be longer or shorter
	if c.traces[past] > 0 {
		ratio = float64(c.traces[present]) / float64(c.traces[past])
	}
	failures := max(c.failing[present]-ratio*c.failing[past], 0)
	time, allPast := 0.0, 0.0
	grew := map[string]float64{}
	for _, name := range keys(c.nodes) {
		n := c.nodes[name]
		allPast += n.own[past]
		if g := n.own[present] - ratio*n.own[past]; g > 0 && c.traces[past] > 0 {
			grew[name] = g
			time += g
		}
	}
	perTrace := time / float64(max(c.traces[present], 1))
	slow := perTrace >= slowerBy && perTrace >= allPast/float64(max(c.traces[past], 1))/2
	failed := failures >= fewFailures

	var out []Candidate
	for _, name := range keys(c.nodes) {
		n := c.nodes[name]
		byError, byTime := 0.0, 0.0
		if failed {
			byError = max(n.blamed[present]-ratio*n.blamed[past], 0) / (failures + 1)
		}
		if slow {
			byTime = grew[name] / time
		}
		score := byError
		switch {
		case failed && slow:
			score = .8*byError + .2*byTime
		case slow:
			score = byTime
		}
		if score > 0 && n.refused[present] > n.refused[past] {
			score += .1 * (1 - score)
		}
		if score < .05 {
			continue
		}
		cand := Candidate{Name: name, Kind: n.kind, Score: math.Round(min(score, 1)*100) / 100}
		cand.Version = c.release(n)
		cand.Slow = byError == 0 || n.lostTime > .5*n.blamed[present]
		cand.Why, cand.WhyZh = c.why(n, cand)
		out = append(out, cand)
	}
	slices.SortStableFunc(out, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(btoi(c.symptomatic(b.Name)), btoi(c.symptomatic(a.Name))))
	})
	if len(out) == 0 && c.inc.Origin != "" {
		slow := !slices.ContainsFunc(c.inc.Symptoms, func(s symptom) bool { return s.Target == c.inc.Origin && s.Metric == detect.ErrorShare })
		out = []Candidate{{
			Name: c.inc.Origin, Kind: c.inc.OriginKind, Score: .2, Slow: slow,
			Why:   "no other symptom explains it; the spans read show nothing more",
			WhyZh: "没有其他症状能解释它；读到的链路中没有更多线索",
		}}
	}
	if out == nil {
		out = []Candidate{}
	}
	return out[:min(len(out), mostSuspect)]
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// release returns the one version that nine tenths of the blame falls on,
// while another version of the same service does well.
func (c *caseFile) release(n *node) string {
	if n.kind != topology.Service {
		return ""
	}
	total := 0.0
	for _, w := range n.byRelease {
		total += w
	}
	for _, v := range keys(n.byRelease) {
		if v == "" || n.byRelease[v] < .9*total || n.versions[v] == nil {
			continue
		}
		bad := n.versions[v].share(present)
		for _, other := range keys(n.versions) {
			o := n.versions[other]
			if other != v && o.n[present] >= 5 && o.share(present) < bad/4 {
				return v
			}
		}
	}
	return ""
}

// why says in a sentence what speaks against a candidate.
func (c *caseFile) why(n *node, k Candidate) (en, zh string) {
	if k.Version != "" {
		v := n.versions[k.Version]
		rest := calls{}
		for _, name := range keys(n.versions) {
			if name != k.Version {
				rest.n[present] += n.versions[name].n[present]
				rest.failed[present] += n.versions[name].failed[present]
			}
		}
		return fmt.Sprintf("%d of %d requests to version %s failed, of its other versions %d of %d",
				v.failed[present], v.n[present], k.Version, rest.failed[present], rest.n[present]),
			fmt.Sprintf("版本 %s 的 %d 次请求中有 %d 次失败，其他版本 %d 次中有 %d 次",
				k.Version, v.n[present], v.failed[present], rest.n[present], rest.failed[present])
	}
	if k.Slow {
		now, then := n.own[present]/float64(max(n.n[present], 1)), n.own[past]/float64(max(n.n[past], 1))
		en = fmt.Sprintf("it takes %s itself for each request, %s the minute before", millis(now), millis(then))
		zh = fmt.Sprintf("它自身每次请求耗时 %s，前一分钟为 %s", millis(now), millis(then))
		if n.failed[present] > 0 && n.lostTime > 0 {
			en += fmt.Sprintf("; %d of %d calls ran out of time or failed", n.failed[present], n.n[present])
			zh += fmt.Sprintf("；%d 次调用中有 %d 次超时或失败", n.n[present], n.failed[present])
		}
		return en, zh
	}
	share := 100 * n.blamed[present] / max(c.failing[present], 1)
	en = fmt.Sprintf("%.0f %% of the failed requests end here: %d of %d calls failed, the minute before %d of %d",
		share, n.failed[present], n.n[present], n.failed[past], n.n[past])
	zh = fmt.Sprintf("%.0f%% 的失败请求止于此：%d 次调用中有 %d 次失败，前一分钟 %d 次中有 %d 次",
		share, n.n[present], n.failed[present], n.n[past], n.failed[past])
	return en, zh
}

func round4(x float64) float64 { return math.Round(x*1e4) / 1e4 }
func round1(x float64) float64 { return math.Round(x*10) / 10 }
