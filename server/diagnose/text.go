package diagnose

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/detect"
)

// lang is one language's words of a report.
type lang struct {
	zh                                                                bool
	what, since, feel, whose, first, todo, unknown, nobody, noRunbook string
	impact, impactHead, evidence, suspects, timeline, trace, foot     string
	colon                                                             string
}

var (
	en = lang{
		what: "What is broken", since: "Since", feel: "Users feel", whose: "Whose it is", first: "First aid", todo: "What to do",
		unknown: "nothing in the spans read explains it yet", nobody: "nobody is named in the catalog",
		noRunbook: "there is no runbook for it; start with the evidence below",
		impact:    "Impact", impactHead: "| Service | Requests | Failed | Failed before | p99 | p99 before |",
		evidence: "Evidence", suspects: "Other suspects", timeline: "Timeline", trace: "trace", colon: ": ",
		foot: "A first diagnosis, made by rules from spans and logs; a person decides.",
	}
	zh = lang{
		zh: true, what: "故障点", since: "开始于", feel: "用户感受", whose: "负责人", first: "先做", todo: "处理办法",
		unknown: "读到的链路尚不能解释原因", nobody: "目录中没有登记",
		noRunbook: "没有对应的应急手册；请先看下面的证据",
		impact:    "影响", impactHead: "| 服务 | 请求数 | 失败 | 此前失败 | p99 | 此前 p99 |",
		evidence: "证据", suspects: "其他嫌疑", timeline: "时间线", trace: "链路", colon: "：",
		foot: "这是根据链路和日志按规则得出的初步诊断；请由人判断。",
	}
)

func (l lang) pick(en, zh string) string {
	if l.zh {
		return zh
	}
	return en
}

// headline says in a few words what is broken.
func headline(o Candidate, inc alert.Incident) (en, zh string) {
	name := o.Name
	if o.Version != "" {
		name += " " + o.Version
	}
	switch {
	case o.Name == "" || o.Score < .3:
		return "Cause not clear: " + inc.Title, "原因未明：" + inc.TitleZh
	case o.Slow:
		en, zh = name+" is slow", name+" 变慢"
	default:
		en, zh = name+" is failing", name+" 出现故障"
	}
	if o.Finding != "" {
		e, z := detect.Complaint(o.Finding)
		if alone(inc) {
			return name + " " + e, name + " " + z
		}
		en, zh = en+" and "+e, zh+"，且"+z
	}
	return en, zh
}

// markdown writes the report. What comes from spans, logs and names is escaped;
// the runbook is its author's own Markdown.
func markdown(r Report, inc alert.Incident, l lang) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# %s", escape(l.pick(r.Title, r.TitleZh)))
	line("")
	what := l.unknown
	if o := r.Origin; o.Name != "" {
		name := o.Name
		if o.Version != "" {
			name += " " + o.Version
		}
		what = fmt.Sprintf("%s (%s)%s%s", escape(name), l.pick(o.Kind, kindZh(o.Kind)), l.colon, escape(l.pick(o.Why, o.WhyZh)))
	}
	line("- **%s**%s%s", l.what, l.colon, what)
	line("- **%s**%s%s UTC (%s)", l.since, l.colon, r.Since.UTC().Format("2006-01-02 15:04:05"), ago(r.At.Sub(r.Since), l))
	if f := feeling(r.Impact, l); f != "" {
		line("- **%s**%s%s", l.feel, l.colon, f)
	}
	line("- **%s**%s%s", l.whose, l.colon, or(escape(r.Owner), l.nobody))
	if aid := firstAid(r.Origin, found(inc), l); aid != "" {
		line("- **%s**%s%s", l.first, l.colon, aid)
	}
	todo := l.noRunbook
	if r.Runbook.Body != "" {
		todo = l.pick("runbook section “", "应急手册“") + escape(r.Runbook.Title) + l.pick("”, next", "”，见下")
	}
	line("- **%s**%s%s", l.todo, l.colon, todo)
	if r.Runbook.Body != "" {
		line("\n## %s%s%s\n", l.todo, l.colon, escape(r.Runbook.Title))
		line("%s", r.Runbook.Body)
	}
	if len(r.Impact) > 0 {
		line("\n## %s\n\n%s\n|---|---:|---:|---:|---:|---:|", l.impact, l.impactHead)
		for _, i := range r.Impact[:min(len(r.Impact), 15)] {
			line("| %s | %d | %s | %s | %s | %s |", escape(i.Service), i.Requests, percent(i.ErrorShare), percent(i.ErrorShareBefore), millis(i.P99), millis(i.P99Before))
		}
	}
	if len(r.Evidence) > 0 {
		line("\n## %s\n", l.evidence)
		for n, e := range r.Evidence {
			tail := ""
			if !e.At.IsZero() {
				tail = e.At.Format("15:04:05.000")
			}
			if e.TraceID != "" {
				tail = strings.TrimPrefix(tail+", "+l.trace+" `"+e.TraceID+"`", ", ")
			}
			if tail != "" {
				tail = " (" + tail + ")"
			}
			line("%d. %s%s", n+1, escape(l.pick(e.Text, e.TextZh)), tail)
		}
	}
	if len(r.Candidates) > 1 {
		line("\n## %s\n", l.suspects)
		for _, c := range r.Candidates[1:] {
			line("- %s (%.2f)%s%s", escape(strings.TrimSpace(c.Name+" "+c.Version)), c.Score, l.colon, escape(l.pick(c.Why, c.WhyZh)))
		}
	}
	if len(inc.Timeline) > 0 {
		line("\n## %s\n", l.timeline)
		for _, e := range inc.Timeline {
			line("- %s %s", e.At.UTC().Format("15:04:05"), escape(l.pick(e.Text, e.TextZh)))
		}
	}
	line("\n---\n\n%s · %s · %s UTC", escape(r.Incident), l.foot, r.At.Format("2006-01-02 15:04:05"))
	return b.String()
}

func kindZh(kind string) string {
	switch kind {
	case "service":
		return "服务"
	case "external":
		return "外部依赖"
	case "database":
		return "数据库"
	}
	return kind
}

// feeling is what the services where requests enter answered.
func feeling(impact []Impact, l lang) string {
	var parts []string
	for _, i := range impact {
		if !i.Entry || len(parts) == 3 {
			continue
		}
		failed := int(i.ErrorShare*float64(i.Requests) + .5)
		parts = append(parts, l.pick(
			fmt.Sprintf("%d of %d requests to %s failed, p99 %s (before: %s failed, p99 %s)", failed, i.Requests, escape(i.Service), millis(i.P99), percent(i.ErrorShareBefore), millis(i.P99Before)),
			fmt.Sprintf("%s 的 %d 次请求中有 %d 次失败，p99 %s（此前失败 %s，p99 %s）", escape(i.Service), i.Requests, failed, millis(i.P99), percent(i.ErrorShareBefore), millis(i.P99Before))))
	}
	return strings.Join(parts, "; ")
}

func ago(d time.Duration, l lang) string {
	d = max(d, 0).Round(time.Second)
	if !l.zh {
		return d.String() + " before this report"
	}
	s := int(d / time.Second)
	if s >= 60 {
		return fmt.Sprintf("报告生成前 %d 分 %d 秒", s/60, s%60)
	}
	return fmt.Sprintf("报告生成前 %d 秒", s)
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func percent(share float64) string {
	if share > 0 && share < .0995 {
		return fmt.Sprintf("%.1f %%", 100*share)
	}
	return fmt.Sprintf("%.0f %%", 100*share)
}

// millis writes milliseconds as a person reads them.
func millis(ms float64) string {
	switch {
	case ms >= 10_000:
		return fmt.Sprintf("%.0f s", ms/1000)
	case ms >= 1000:
		return fmt.Sprintf("%.1f s", ms/1000)
	case ms >= 10:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f ms", ms)
}

// escape makes a text from outside plain in Markdown and in the HTML it may
// become: one line, no links, no code, no emphasis, no tags, nothing that turns
// the direction of reading.
func escape(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			b.WriteByte(' ')
		case unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar:
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '&':
			b.WriteString("&amp;")
		case strings.HasPrefix(s[i:], "://"):
			b.WriteString("&#58;")
		case r == '.' && i >= 3 && strings.EqualFold(s[i-3:i], "www"):
			b.WriteString("&#46;")
		case r == '_' && inWord(s, i):
			b.WriteByte('_')
		case strings.ContainsRune("\\`*_[]|~#$", r) || i == 0 && strings.ContainsRune("-+=", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case i > 0 && (r == '.' || r == ')') && strings.Trim(s[:i], "0123456789") == "":
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// inWord tells whether the byte at i stands between two letters or digits,
// where an underscore means nothing.
func inWord(s string, i int) bool {
	is := func(k int) bool {
		return k >= 0 && k < len(s) && (s[k] >= '0' && s[k] <= '9' || s[k] >= 'a' && s[k] <= 'z' || s[k] >= 'A' && s[k] <= 'Z')
	}
	return is(i-1) && is(i+1)
}
