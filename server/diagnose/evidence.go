package diagnose

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/store"
)

type symptom = alert.Symptom

const mostEvidence = 12

// evidence lists what was seen of the origin, the strongest first.
func (c *caseFile) evidence(o Candidate) []Evidence {
	out := []Evidence{}
	n := c.nodes[o.Name]
	if n == nil {
		return out
	}
	for _, from := range c.callers(o.Name)[:min(3, len(n.callers))] {
		e := n.callers[from]
		if e.n[present] == 0 {
			continue
		}
		ex := n.example(from)
		out = append(out, Evidence{
			Text: fmt.Sprintf("%s → %s: %d of %d calls failed (%d of %d the minute before), p99 %s (%s)", from, o.Name,
				e.failed[present], e.n[present], e.failed[past], e.n[past], millis(e.p99(present)), millis(e.p99(past))),
			TextZh: fmt.Sprintf("%s → %s：%d 次调用中有 %d 次失败（前一分钟 %d 次中有 %d 次），p99 %s（%s）", from, o.Name,
				e.n[present], e.failed[present], e.n[past], e.failed[past], millis(e.p99(present)), millis(e.p99(past))),
			TraceID: ex.id(), At: ex.when(),
		})
	}
	if o.Version != "" || len(n.versions) > 1 {
		for _, v := range keys(n.versions) {
			if k := n.versions[v]; k.n[present] > 0 {
				out = append(out, Evidence{
					Text:   fmt.Sprintf("%s %s: %d of %d requests failed (%d of %d the minute before)", o.Name, v, k.failed[present], k.n[present], k.failed[past], k.n[past]),
					TextZh: fmt.Sprintf("%s %s：%d 次请求中有 %d 次失败（前一分钟 %d 次中有 %d 次）", o.Name, v, k.n[present], k.failed[present], k.n[past], k.failed[past]),
				})
			}
		}
	}
	said := make([]*example, 0, len(n.seen))
	for _, k := range keys(n.seen) {
		said = append(said, n.seen[k])
	}
	slices.SortStableFunc(said, func(a, b *example) int { return cmp.Compare(b.count, a.count) })
	for _, e := range said[:min(3, len(said))] {
		text := cmp.Or(e.text, "(no message)")
		out = append(out, Evidence{
			Text:    fmt.Sprintf("seen by %s ×%d: %s", e.caller, e.count, text),
			TextZh:  fmt.Sprintf("%s 看到 ×%d：%s", e.caller, e.count, text),
			TraceID: e.id(), At: e.when(),
		})
	}
	if s := &n.slowest; o.Slow && s.ns > 0 {
		out = append(out, Evidence{
			Text:    fmt.Sprintf("the longest wait for %s itself: %s in %q, seen by %s", o.Name, millis(s.ns), s.text, s.caller),
			TextZh:  fmt.Sprintf("%s 自身最长耗时：%s，操作 %q，由 %s 看到", o.Name, millis(s.ns), s.text, s.caller),
			TraceID: s.id(), At: s.when(),
		})
	}
	if n.refused[present] > 0 {
		out = append(out, Evidence{
			Text:   fmt.Sprintf("open breakers refused %d calls to %s (%d the minute before)", n.refused[present]*c.scale, o.Name, n.refused[past]*c.scale),
			TextZh: fmt.Sprintf("熔断器拒绝了 %d 次对 %s 的调用（前一分钟 %d 次）", n.refused[present]*c.scale, o.Name, n.refused[past]*c.scale),
		})
	}
	if c.scale > 1 {
		out = append(out, Evidence{
			Text:   fmt.Sprintf("there were too many spans to read all: the counts are of one trace in %d", c.scale),
			TextZh: fmt.Sprintf("链路过多，未全部读取：以上计数取自每 %d 条链路中的 1 条", c.scale),
		})
	}
	return out[:min(len(out), mostEvidence-4)]
}

// example returns a failing trace seen by a caller, or any.
func (n *node) example(from string) *example {
	var best *example
	for _, k := range keys(n.seen) {
		e := n.seen[k]
		if e.caller == from && (best == nil || e.count > best.count) {
			best = e
		}
	}
	if best == nil && n.slowest.caller == from {
		best = &n.slowest
	}
	return best
}

func (e *example) id() string {
	if e == nil {
		return ""
	}
	return e.trace.String()
}

func (e *example) when() time.Time {
	if e == nil {
		return time.Time{}
	}
	return time.Unix(0, e.at).UTC().Truncate(time.Millisecond)
}

// logs adds up to four log records: the breakers' changes for the origin, and
// warnings on the example traces.
func (d Doctor) logs(ctx context.Context, o Candidate, shown []Evidence, from, to time.Time) (out []Evidence) {
	if d.Logs == nil {
		return nil
	}
	add := func(l store.Log) {
		if len(out) < 4 {
			trace := ""
			if !l.TraceID.IsZero() {
				trace = l.TraceID.String()
			}
			text := fmt.Sprintf("%s logs: %s", l.Service, clip(l.Body, 300))
			zh := fmt.Sprintf("%s 日志：%s", l.Service, clip(l.Body, 300))
			if e := cmp.Or(l.Attrs["error"], l.Attrs["err"]); e != "" {
				text, zh = text+" ("+clip(e, 200)+")", zh+"（"+clip(e, 200)+"）"
			}
			if t := l.Attrs["target"]; t != "" {
				text, zh = text+" → "+clip(t, 100), zh+" → "+clip(t, 100)
			}
			out = append(out, Evidence{Text: text, TextZh: zh, TraceID: trace, At: l.At.UTC().Truncate(time.Millisecond)})
		}
	}
	found, err := d.Logs.Search(ctx, store.LogQuery{Contains: "breaker", From: from, To: to, Limit: 200})
	if err == nil {
		slices.SortStableFunc(found, func(a, b store.Log) int { return a.At.Compare(b.At) })
		n := 0
		for _, l := range found {
			if t := cmp.Or(l.Attrs["target"], l.Attrs["surefoot.target"]); t == o.Name && n < 2 {
				add(l)
				n++
			}
		}
	}
	asked := map[string]bool{}
	for _, e := range shown {
		id, ok := parseTrace(e.TraceID)
		if !ok || asked[e.TraceID] || len(asked) == 3 {
			continue
		}
		asked[e.TraceID] = true
		found, err := d.Logs.Search(ctx, store.LogQuery{TraceID: id, MinSeverity: 13, Limit: 3})
		if err != nil {
			continue
		}
		for _, l := range found {
			if !strings.HasPrefix(l.Body, "breaker ") {
				add(l)
				break
			}
		}
	}
	return out
}

func parseTrace(s string) (id store.TraceID, ok bool) {
	if len(s) != 2*len(id) {
		return id, false
	}
	for i := range id {
		hi, lo := strings.IndexByte("0123456789abcdef", s[2*i]), strings.IndexByte("0123456789abcdef", s[2*i+1])
		if hi < 0 || lo < 0 {
			return id, false
		}
		id[i] = byte(hi<<4 | lo)
	}
	return id, true
}

// clip bounds a text that comes from outside.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
