package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What the API says, as far as a person reads it.
type (
	setting struct {
		Key      string    `json:"key"`
		Value    string    `json:"value"`
		Revision int64     `json:"revision"`
		By       string    `json:"by"`
		Why      string    `json:"why"`
		At       time.Time `json:"at"`
	}
	change struct {
		Path   string `json:"path"`
		Before string `json:"before"`
		After  string `json:"after"`
	}
	applied struct {
		Instance string `json:"instance"`
		Version  string `json:"version"`
		Key      string `json:"key"`
		Revision int64  `json:"revision"`
		Checked  int64  `json:"checked"`
		Refused  int64  `json:"refused"`
	}
	push struct {
		ID        string    `json:"id"`
		Key       string    `json:"key"`
		Stage     string    `json:"stage"`
		Share     int       `json:"share"`
		Instances []string  `json:"instances"`
		Since     time.Time `json:"since"`
		By        string    `json:"by"`
		Why       string    `json:"why"`
		Diff      []change  `json:"diff"`
		State     string    `json:"state"`
		Reason    string    `json:"reason"`
		ReasonZh  string    `json:"reasonZh"`
	}
	configStatus struct {
		Service string    `json:"service"`
		Keys    []setting `json:"keys"`
		Applied []applied `json:"applied"`
		Pushes  []push    `json:"pushes"`
	}
	past struct {
		setting
		Diff []change `json:"diff"`
	}
)

var stages = map[string]say{
	"check": {"every process checks the value", "所有进程正在校验该值"},
	"one":   {"one instance runs it", "一个实例正在使用"},
	"share": {"a share of the instances runs it", "部分实例正在使用"},
	"all":   {"all instances run it", "所有实例正在使用"},
}

var states = map[string]say{
	"committed":   {"committed: it is the value now", "已提交：成为当前值"},
	"rolled_back": {"rolled back", "已自动回滚"},
	"aborted":     {"taken back", "已撤回"},
}

// line says where a push stands.
func (p push) line(lang string) string {
	s, ok := states[p.State]
	if p.State == "running" {
		s, ok = stages[p.Stage]
		switch {
		case p.Stage == "one" && len(p.Instances) == 1:
			s = say{s.en + ": " + p.Instances[0], s.zh + "：" + p.Instances[0]}
		case p.Stage == "share" && p.Share > 0:
			s = say{fmt.Sprintf("%d %% of the instances run it", p.Share), fmt.Sprintf("%d %% 的实例正在使用", p.Share)}
		}
	}
	if !ok {
		s = say{p.State + " " + p.Stage, p.State + " " + p.Stage}
	}
	if why := (say{p.Reason, cmp.Or(p.ReasonZh, p.Reason)}); why.en != "" {
		s = say{s.en + ": " + why.en, s.zh + "：" + why.zh}
	}
	return plain(s.in(lang))
}

// table prints rows in columns.
func table(io stdio, indent string, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(cell))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(pad(cell, widths[i]) + "  ")
		}
		fmt.Fprintln(io.out, indent+strings.TrimRight(b.String(), " "))
	}
}

func showDiff(io stdio, diff []change, indent string) {
	for _, d := range diff {
		before, after := cmp.Or(d.Before, "—"), cmp.Or(d.After, "—")
		fmt.Fprintln(io.out, indent+plain(fmt.Sprintf("%s: %s → %s", cmp.Or(d.Path, "."), before, after)))
	}
}

// short is the first line of a value, cut for a table.
func short(value string) string {
	s := strings.Join(strings.Fields(plain(value)), " ")
	if r := []rune(s); len(r) > 60 {
		return string(r[:59]) + "…"
	}
	return s
}

func (c *configFlags) status(ctx context.Context, io stdio, args []string) error {
	var st configStatus
	printed, err := c.ask(ctx, io, http.MethodGet, "/api/v1/services/"+url.PathEscape(args[0])+"/config", nil, &st)
	if printed || err != nil {
		return err
	}
	if len(st.Keys) == 0 {
		fmt.Fprintf(io.out, say{"%s has no settings in the config centre\n", "%s 在配置中心没有配置\n"}.in(io.lang), plain(args[0]))
	} else {
		rows := [][]string{{say{"KEY", "键"}.in(io.lang), say{"REVISION", "修订"}.in(io.lang), say{"CHANGED", "修改时间"}.in(io.lang), say{"BY", "操作人"}.in(io.lang), say{"VALUE", "值"}.in(io.lang)}}
		for _, k := range st.Keys {
			rows = append(rows, []string{plain(k.Key), strconv.FormatInt(k.Revision, 10), when(k.At), plain(cmp.Or(k.By, "-")), short(k.Value)})
		}
		table(io, "", rows)
	}
	if len(st.Applied) > 0 {
		fmt.Fprintln(io.out, say{"\nWho runs what:", "\n各实例正在使用的修订："}.in(io.lang))
		table(io, "  ", runs(st.Applied, io.lang))
	}
	for _, p := range st.Pushes {
		fmt.Fprintf(io.out, say{"\nPush %s of %s, by %s, %s\n  %s\n", "\n发布 %s：%s，%s，%s\n  %s\n"}.in(io.lang), p.ID, plain(p.Key), plain(p.By), when(p.Since), p.line(io.lang))
		if p.State == "running" {
			showDiff(io, p.Diff, "  ")
		}
	}
	return nil
}

// runs is one row for each key and revision, with the instances that run it;
// those that refused something newer are named.
func runs(all []applied, lang string) [][]string {
	type at struct {
		key string
		rev int64
	}
	by := map[at][]string{}
	for _, a := range all {
		name := plain(a.Instance)
		if a.Refused > 0 {
			name += fmt.Sprintf(say{" (refused %d)", "（拒绝 %d）"}.in(lang), a.Refused)
		}
		k := at{plain(a.Key), a.Revision}
		by[k] = append(by[k], name)
	}
	keys := make([]at, 0, len(by))
	for k := range by {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y at) int { return cmp.Or(cmp.Compare(x.key, y.key), cmp.Compare(y.rev, x.rev)) })
	rows := [][]string{{say{"KEY", "键"}.in(lang), say{"REVISION", "修订"}.in(lang), say{"INSTANCES", "实例"}.in(lang)}}
	for _, k := range keys {
		names := by[k]
		slices.Sort(names)
		list := strings.Join(names[:min(len(names), 6)], ", ")
		if more := len(names) - 6; more > 0 {
			list += fmt.Sprintf(say{" and %d more", " 等另外 %d 个"}.in(lang), more)
		}
		rev := strconv.FormatInt(k.rev, 10)
		if k.rev == 0 {
			rev = say{"none", "无"}.in(lang)
		}
		rows = append(rows, []string{k.key, rev, list})
	}
	return rows
}

// when is a time for a person, "-" for none.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

func (c *configFlags) past(ctx context.Context, io stdio, args []string) (list []past, printed bool, err error) {
	var out struct {
		History []past `json:"history"`
	}
	printed, err = c.ask(ctx, io, http.MethodGet, configPath(args[0], args[1])+"?history=1", nil, &out)
	return out.History, printed, err
}

func (c *configFlags) history(ctx context.Context, io stdio, args []string) error {
	list, printed, err := c.past(ctx, io, args)
	if printed || err != nil {
		return err
	}
	for _, h := range list {
		fmt.Fprintln(io.out, plain(fmt.Sprintf("%d  %s  %s  %s", h.Revision, when(h.At), cmp.Or(h.By, "-"), h.Why)))
		showDiff(io, h.Diff, "    ")
	}
	return nil
}

func (c *configFlags) diff(ctx context.Context, io stdio, args []string) error {
	to := int64(0)
	if c.to != "" {
		var err error
		if to, err = strconv.ParseInt(c.to, 10, 64); err != nil || to < 1 {
			return wrong("flag --to takes a revision, a whole number above 0", "选项 --to 需要一个修订，大于 0 的整数")
		}
	}
	list, printed, err := c.past(ctx, io, args)
	if printed || err != nil {
		return err
	}
	found := to == 0
	for i, h := range list {
		if h.Revision == to {
			found = true
			break
		}
		if to == 0 && i > 0 {
			break
		}
		showDiff(io, h.Diff, "")
	}
	if !found {
		return wrong("the history has no revision %d; see 'surefoot config history %s %s'", "历史中没有修订 %d；参见 'surefoot config history %s %s'", to, args[0], args[1])
	}
	return nil
}
