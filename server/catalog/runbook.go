package catalog

import (
	"bytes"
	"slices"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// Runbook is a runbook.md: front matter between two lines "---", then Markdown.
//
//	---
//	title: When payment is in trouble
//	symptoms: [error_share, latency_p99]
//	---
//
//	## The bank is down
//
//	Symptoms: bank, breaker
//
//	1. Nothing is lost: ...
type Runbook struct {
	Title    string    // of the front matter, or the first "# " heading
	Symptoms []string  // of the front matter: what the runbook as a whole is for
	Sections []Section // in order
	Text     string    // the whole file without its front matter
	Meta     yaml.Node // the front matter with the fields this package does not know; zero when there is none
}

// Section is the part of a runbook under one "## " heading.
type Section struct {
	Title    string
	Symptoms []string // of a first line "Symptoms: a, b"
	Body     string   // Markdown, without the heading
	Line     int      // of the heading in the file, from 1
}

type matter struct {
	Title    string    `yaml:"title"`
	Symptoms yaml.Node `yaml:"symptoms"`
}

// ParseRunbook reads a runbook. Front matter that is not understood is a
// *Problem with its line and without a file's name; the Markdown behind it is
// still returned, unless the front matter never ends or the file is not UTF-8,
// where the Runbook is nil.
func ParseRunbook(raw []byte) (*Runbook, error) {
	raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
	if !validText(raw) {
		return nil, &Problem{Text: "is not UTF-8 text"}
	}
	lines := strings.Split(strings.ReplaceAll(string(raw), "\r\n", "\n"), "\n")
	r := &Runbook{}
	var bad error
	start := 0
	if strings.TrimRight(lines[0], " \t") == "---" {
		end := slices.IndexFunc(lines[1:], func(l string) bool {
			l = strings.TrimRight(l, " \t")
			return l == "---" || l == "..."
		})
		if end < 0 {
			return nil, &Problem{Line: 1, Text: "front matter begins here and never ends: a line --- is missing"}
		}
		start = end + 2
		bad = r.front(strings.Join(lines[1:end+1], "\n"))
	}
	r.sections(lines, start)
	r.Text = strings.TrimLeft(strings.Join(lines[start:], "\n"), "\n")
	return r, bad
}

func validText(raw []byte) bool {
	return bytes.IndexByte(raw, 0) < 0 && len(bytes.ToValidUTF8(raw, nil)) == len(raw)
}

func (r *Runbook) front(text string) error {
	fail := func(line int, err error) error {
		var l loader
		l.yamlProblem("", line, err)
		p := l.problems[0].(*Problem)
		p.Line++ // the line --- is the first
		return p
	}
	if err := decode(yaml.NewDecoder(strings.NewReader(text)), &r.Meta); err != nil {
		if strings.TrimSpace(text) == "" || err.Error() == "EOF" {
			return nil
		}
		return fail(0, err)
	}
	var m matter
	if err := decode(&r.Meta, &m); err != nil {
		return fail(0, err)
	}
	r.Title = strings.TrimSpace(m.Title)
	switch m.Symptoms.Kind {
	case 0:
	case yaml.ScalarNode:
		r.Symptoms = split(m.Symptoms.Value)
	default:
		if err := decode(&m.Symptoms, &r.Symptoms); err != nil {
			return fail(m.Symptoms.Line, err)
		}
	}
	return nil
}

func split(s string) (out []string) {
	for _, p := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(",;，、；", r) }) {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// sections cuts the lines from start on at "## " headings outside code fences.
func (r *Runbook) sections(lines []string, start int) {
	fence := ""
	var body []string
	flush := func() {
		if n := len(r.Sections); n > 0 {
			s := &r.Sections[n-1]
			for k, l := range body {
				low := strings.ToLower(strings.TrimSpace(l))
				for _, pre := range []string{"symptoms:", "症状：", "症状:"} {
					if strings.HasPrefix(low, pre) && s.Symptoms == nil {
						s.Symptoms = split(strings.TrimSpace(l)[len(pre):])
						body = slices.Delete(body, k, k+1)
					}
				}
				if low != "" {
					break
				}
			}
			s.Body = strings.Trim(strings.Join(body, "\n"), "\n \t")
		}
		body = nil
	}
	for k := start; k < len(lines); k++ {
		l := lines[k]
		mark := fenceOf(l)
		switch {
		case fence == "" && mark != "":
			fence = mark
		case fence != "" && strings.HasPrefix(mark, fence) && strings.Trim(l, " \t`~") == "":
			fence = ""
		case fence == "" && strings.HasPrefix(l, "## "):
			flush()
			r.Sections = append(r.Sections, Section{Title: strings.Trim(l[3:], " \t#"), Line: k + 1})
			continue
		case fence == "" && strings.HasPrefix(l, "# ") && r.Title == "":
			r.Title = strings.Trim(l[2:], " \t#")
		}
		body = append(body, l)
	}
	flush()
}

// fenceOf returns the marks that open or close a code block, if l does.
func fenceOf(l string) string {
	l = strings.TrimLeft(l, " ")
	n := 0
	for n < len(l) && (l[n] == '`' || l[n] == '~') && l[n] == l[0] {
		n++
	}
	if n < 3 {
		return ""
	}
	return l[:n]
}

// kin are words that mean the same to who writes a runbook and who measures.
var kin = map[string][]string{
	"error_share":       {"error", "fail", "down", "outage", "unavailable", "refused", "5xx", "unreachable", "故障", "失败", "不可用", "宕机", "出错", "错误", "中断"},
	"latency_p99":       {"latency", "slow", "timeout", "timed out", "hang", "变慢", "缓慢", "很慢", "慢", "延迟", "超时"},
	"version":           {"version", "release", "rollback", "roll back", "canary", "deploy", "版本", "发布", "回滚", "灰度", "金丝雀"},
	"goroutine_leak":    {"goroutine", "leak", "协程", "泄漏"},
	"heap_growth":       {"heap", "memory", "oom", "内存", "堆"},
	"descriptor_leak":   {"descriptor", "too many open files", "socket", "文件描述符", "句柄"},
	"timer_growth":      {"timer", "ticker", "定时器"},
	"stack_growth":      {"stack", "memory", "栈", "内存"},
	"gc_pressure":       {"gc", "garbage", "memory", "垃圾回收", "内存"},
	"scheduler_latency": {"scheduler", "cpu", "processor", "调度", "处理器"},
	"lock_problem":      {"deadlock", "lock", "mutex", "死锁", "锁"},
	"pipe_refusal":      {"pipe", "forged", "replay", "certificate", "key", "伪造", "重放", "证书", "密钥"},
	"lock_contention":   {"lock", "mutex", "contention", "deadlock", "锁", "死锁"},
	"breaker":           {"breaker", "circuit", "fallback", "熔断", "降级"},
}

// Match returns the section that fits the symptoms best: detect's metrics,
// those of findings, "version", "breaker", or any word, the first the most important. A word in a
// section's title or Symptoms line counts four times one in its body; English
// and Chinese words of the same meaning count as one. Of equals the first
// wins; when nothing fits, the first section is better than none. ok is false
// when there are no sections. The nil Runbook has none.
func (r *Runbook) Match(symptoms ...string) (best Section, ok bool) {
	if r == nil || len(r.Sections) == 0 {
		return Section{}, false
	}
	top := -1
	for _, s := range r.Sections {
		head := strings.ToLower(s.Title + "\n" + strings.Join(s.Symptoms, "\n"))
		body := strings.ToLower(s.Body)
		score := 0
		for k, sym := range symptoms {
			sym = strings.ToLower(sym)
			if sym == "" {
				continue
			}
			words := append([]string{sym}, kin[sym]...)
			weight := max(len(symptoms)-k, 1)
			switch {
			case containsAny(head, words):
				score += 4 * weight
			case containsAny(body, words):
				score += weight
			}
		}
		if score > top {
			best, top = s, score
		}
	}
	return best, true
}

// containsAny tells whether one of the words begins a word of s; Chinese, which
// does not separate words, may stand anywhere.
func containsAny(s string, words []string) bool {
	for _, w := range words {
		for from := 0; ; {
			k := strings.Index(s[from:], w)
			if k < 0 {
				break
			}
			k += from
			before := ' '
			for _, r := range s[max(0, k-4):k] {
				before = r
			}
			if k == 0 || w[0] >= 0x80 || !unicode.IsLetter(before) && !unicode.IsDigit(before) {
				return true
			}
			from = k + len(w)
		}
	}
	return false
}
