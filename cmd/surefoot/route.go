package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"time"
)

// routeFlags are the flags of all three verbs; the API says what each needs.
type routeFlags struct {
	plane                   plane
	stable, canary, by, why string
	match                   pairs
	weight                  int
	share                   float64
	length                  time.Duration
	asJSON                  bool
}

// pairs is a repeated flag KEY=VALUE.
type pairs map[string]string

func (p pairs) String() string { return "" }

func (p pairs) Set(text string) error {
	k, v, ok := strings.Cut(text, "=")
	if !ok || k == "" {
		return fmt.Errorf("want KEY=VALUE")
	}
	p[k] = v
	return nil
}

func routeCommand() command {
	r := routeFlags{match: pairs{}}
	var lang string
	return command{
		name: "route", args: "list | set SERVICE | clear SERVICE [flags]",
		about: say{"Show or change which version of a service serves whom", "查看或修改某服务的哪个版本服务哪些用户"},
		more: say{
			`set sends --weight percent of the users whose labels match to --canary, all others
to --stable. The canary is taken off when its error share stays over
--max-error-share for --for, and is then pending review: clear, by a named person,
lets it serve again.`,
			`set 把标签匹配的用户中 --weight% 的流量发往 --canary，其余发往 --stable。
当 canary 的错误率超过 --max-error-share 并持续 --for 时会被摘除，进入待复核状态：
须由具名人员执行 clear 后才能再次上线。`,
		},
		examples: []string{
			"surefoot route list",
			"surefoot route set payment --stable v1 --canary v2 --match tier=premium --weight 100 --by ana",
			"surefoot route clear payment --by ana --why 'fixed in build 214'",
		},
		flags: func(f *flags) {
			f.text(&r.stable, "stable", "VERSION", "", say{"version for everybody else", "其余用户使用的版本"})
			f.text(&r.canary, "canary", "VERSION", "", say{"version for the users that match", "匹配用户使用的版本"})
			f.Var(r.match, "match", "")
			f.doc("match", "KEY=VALUE", "", say{"label a user must have; may be repeated, none matches everybody", "用户须具备的标签；可重复，不给则匹配所有人"})
			f.IntVar(&r.weight, "weight", -1, "")
			f.doc("weight", "PERCENT", "", say{"share of the matching users, 0 to 100; required with --canary", "匹配用户的比例，0 到 100；给出 --canary 时必填"})
			f.Float64Var(&r.share, "max-error-share", 0.03, "")
			f.doc("max-error-share", "SHARE", "0.03", say{"error share that takes the canary off, 0 to 1", "触发摘除的错误率，0 到 1"})
			f.DurationVar(&r.length, "for", 30*time.Second, "")
			f.doc("for", "DURATION", "30s", say{"how long it must last", "须持续的时长"})
			f.text(&r.by, "by", "NAME", "", say{"who asks for this; required to set and to clear", "操作人；set 与 clear 必填"})
			f.text(&r.why, "why", "TEXT", "", say{"why, for the audit trail", "原因，写入审计记录"})
			f.flag(&r.asJSON, "json", say{"print JSON", "输出 JSON"})
			r.plane.flag(f)
			f.text(&lang, "lang", "LANG", "", langAbout)
		},
		run: func(ctx context.Context, io stdio, args []string) error {
			if len(args) == 0 {
				return wrong("what to do with routes? list, set or clear", "对路由做什么?list、set 或 clear")
			}
			verb, args := args[0], args[1:]
			switch {
			case verb == "list" && len(args) == 0:
				return r.list(ctx, io)
			case verb == "list":
				return wrong("list takes no argument, got %q", "list 不接受参数 %q", args[0])
			case verb != "set" && verb != "clear":
				return wrong("unknown verb %q; it is list, set or clear", "未知动作 %q；可用 list、set 或 clear", verb)
			case len(args) != 1:
				return wrong("%s takes one service", "%s 需要一个服务名", verb)
			case r.by == "":
				return wrong("%s needs --by NAME: a change has an author", "%s 需要 --by 姓名：每次变更都有作者", verb)
			case verb == "clear":
				return r.clear(ctx, io, args[0])
			case r.stable == "":
				return wrong("set needs --stable VERSION", "set 需要 --stable 版本")
			case r.canary != "" && r.weight < 0:
				return wrong("set needs --weight PERCENT with --canary", "set 给出 --canary 时需要 --weight 百分比")
			default:
				r.weight = max(r.weight, 0)
				return r.set(ctx, io, args[0])
			}
		},
	}
}

func (r *routeFlags) set(ctx context.Context, io stdio, service string) error {
	out, err := r.plane.do(ctx, http.MethodPut, "/api/v1/routes/"+url.PathEscape(service), map[string]any{
		"stable": r.stable, "canary": r.canary, "match": r.match, "weight": r.weight,
		"rule": map[string]any{"maxErrorShare": r.share, "forSeconds": r.length.Seconds()},
		"by":   r.by, "why": r.why,
	})
	return r.show(io, out, err)
}

func (r *routeFlags) clear(ctx context.Context, io stdio, service string) error {
	out, err := r.plane.do(ctx, http.MethodPost, "/api/v1/routes/"+url.PathEscape(service)+"/clear", map[string]any{"by": r.by, "note": r.why})
	return r.show(io, out, err)
}

func (r *routeFlags) list(ctx context.Context, io stdio) error {
	out, err := r.plane.do(ctx, http.MethodGet, "/api/v1/routes", nil)
	if err != nil {
		return err
	}
	if r.asJSON {
		_, err = io.out.Write(out)
		return err
	}
	var list struct {
		Routes []routeLine `json:"routes"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return err
	}
	for _, l := range list.Routes {
		fmt.Fprintln(io.out, l.text(io.lang))
	}
	return nil
}

func (r *routeFlags) show(io stdio, out []byte, err error) error {
	if err != nil {
		return err
	}
	if r.asJSON {
		_, err = io.out.Write(out)
		return err
	}
	var l routeLine
	if err := json.Unmarshal(out, &l); err != nil {
		return err
	}
	fmt.Fprintln(io.out, l.text(io.lang))
	return nil
}

// routeLine is the part of a route that a person reads.
type routeLine struct {
	Service  string            `json:"service"`
	Stable   string            `json:"stable"`
	Canary   string            `json:"canary"`
	Match    map[string]string `json:"match"`
	Weight   int               `json:"weight"`
	Revision int64             `json:"revision"`
	Review   *struct {
		Version string    `json:"version"`
		Reason  string    `json:"reason"`
		Since   time.Time `json:"since"`
	} `json:"review"`
}

func (l routeLine) text(lang string) string {
	who := say{"everybody", "所有用户"}.in(lang)
	if len(l.Match) > 0 {
		var parts []string
		for k, v := range l.Match {
			parts = append(parts, k+"="+v)
		}
		sort.Strings(parts)
		who = strings.Join(parts, ",")
	}
	s := fmt.Sprintf(say{"%s  %s to everybody", "%s  %s 服务所有用户"}.in(lang), l.Service, l.Stable)
	if l.Canary != "" && l.Weight > 0 {
		s = fmt.Sprintf(say{"%s  %s, and %s to %d %% of %s", "%s  %s，并由 %s 服务 %[5]s 的 %[4]d %%"}.in(lang), l.Service, l.Stable, l.Canary, l.Weight, who)
	}
	if l.Review != nil {
		s += fmt.Sprintf(say{"  [%s pending review since %s: %s]", "  [%s 自 %s 起待复核：%s]"}.in(lang), l.Review.Version, l.Review.Since.Local().Format(time.DateTime), l.Review.Reason)
	}
	return s
}
