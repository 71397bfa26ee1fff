package alert

import (
	"fmt"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/server/detect"
)

// pretty writes service@version as a person says it.
func pretty(target string) string {
	if name, version, ok := detect.Split(target); ok && version != "" && !strings.Contains(name, "/") {
		return name + " " + version
	}
	return target
}

func percent(share float64) string {
	if share > 0 && share < 0.0095 {
		return fmt.Sprintf("%.1f", 100*share)
	}
	return fmt.Sprintf("%.0f", 100*share)
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

func describe(s detect.Symptom, pre, preZh string) Entry {
	n := pretty(s.Target)
	if s.Found() {
		if s.Finding.Near {
			pre, preZh = pre+"near its limit: ", preZh+"接近上限："
		}
		return Entry{Text: pre + n + ": " + s.Finding.Text, TextZh: preZh + n + "：" + s.Finding.TextZh}
	}
	if s.Metric == detect.ErrorShare {
		return Entry{
			Text:   fmt.Sprintf("%s%s: %s %% of calls fail, usually %s %%", pre, n, percent(s.Value), percent(s.Baseline)),
			TextZh: fmt.Sprintf("%s%s：%s%% 的调用失败，平时 %s%%", preZh, n, percent(s.Value), percent(s.Baseline)),
		}
	}
	return Entry{
		Text:   fmt.Sprintf("%s%s: p99 latency %s, usually %s", pre, n, millis(s.Value), millis(s.Baseline)),
		TextZh: fmt.Sprintf("%s%s：p99 延迟 %s，平时 %s", preZh, n, millis(s.Value), millis(s.Baseline)),
	}
}

func recovered(s detect.Symptom) Entry {
	n := pretty(s.Target)
	if s.Found() {
		en, zh := detect.Complaint(s.Metric)
		return Entry{Text: n + " no longer " + en, TextZh: n + " 已不再出现：" + zh}
	}
	if s.Metric == detect.ErrorShare {
		return Entry{Text: n + ": calls succeed again", TextZh: n + "：调用恢复成功"}
	}
	return Entry{Text: n + ": latency is back to usual", TextZh: n + "：延迟恢复正常"}
}

func title(s detect.Symptom) (en, zh string) {
	n := pretty(s.Target)
	if s.Found() {
		if v := s.Finding.Version; v != "" && !strings.HasSuffix(n, " "+v) {
			n += " " + v
		}
		en, zh = detect.Complaint(s.Metric)
		if c := s.Finding.Created; c != "" {
			return n + " " + en + ": " + c, n + " " + zh + "：" + c
		}
		return n + " " + en, n + " " + zh
	}
	if s.Metric == detect.ErrorShare {
		return fmt.Sprintf("%s is failing: %s %% of calls", n, percent(s.Value)), fmt.Sprintf("%s 故障：%s%% 的调用失败", n, percent(s.Value))
	}
	return fmt.Sprintf("%s is slow: p99 %s, usually %s", n, millis(s.Value), millis(s.Baseline)),
		fmt.Sprintf("%s 变慢：p99 %s，平时 %s", n, millis(s.Value), millis(s.Baseline))
}

func named(o Origin) string {
	if o.Version != "" {
		return o.Name + " " + o.Version
	}
	return o.Name
}

// explained is an incident's title once its origin is known: the origin's own
// worst symptom, or what is felt and who causes it.
func explained(i *Incident, o Origin) (en, zh string) {
	var own, worst, found *detect.Symptom
	for k := range i.Symptoms {
		s := &i.Symptoms[k].Symptom
		if s.Found() && s.Target == o.Name && (o.Version == "" || s.Finding.Version == o.Version) && (found == nil || detect.Deeper(s.Metric, found.Metric)) {
			found = s
		}
		match := s.Target == o.Name || o.Version != "" && s.Target == o.Name+"@"+o.Version
		if match && (own == nil || weight(*s) > weight(*own) || s == found && own.Found()) {
			own = s
		}
		if worst == nil || weight(*s) > weight(*worst) {
			worst = s
		}
	}
	others := []string{}
	for _, s := range i.Services {
		if s != o.Name {
			others = append(others, s)
		}
	}
	switch {
	case own != nil:
		at := *own
		at.Target = named(o)
		en, zh = title(at)
		if found != nil && !own.Found() {
			alsoEn, alsoZh := detect.Complaint(found.Metric)
			en, zh = en+" and it "+alsoEn, zh+"，且"+alsoZh
		}
	case worst != nil:
		en, zh = title(*worst)
		return en + "; origin " + named(o), zh + "；根源 " + named(o)
	default:
		en, zh = named(o)+" is at fault", named(o)+" 故障"
	}
	if len(others) > 0 {
		list := strings.Join(others[:min(3, len(others))], ", ")
		if len(others) > 3 {
			list += fmt.Sprintf(" +%d", len(others)-3)
		}
		en += "; affects " + list
		zh += "；影响 " + list
	}
	return en, zh
}

func long(d time.Duration) string { return d.Round(time.Second).String() }

func longZh(d time.Duration) string {
	s := int(d.Round(time.Second) / time.Second)
	out := ""
	if s >= 3600 {
		out += fmt.Sprintf("%d 小时 ", s/3600)
	}
	if s%3600 >= 60 {
		out += fmt.Sprintf("%d 分 ", s%3600/60)
	}
	if s%60 > 0 || out == "" {
		out += fmt.Sprintf("%d 秒", s%60)
	}
	return strings.TrimSpace(out)
}
