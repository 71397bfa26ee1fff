package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/errs"
)

// maxValue is what the config centre takes of one value, in bytes.
const maxValue = 64 << 10

// configFlags are the flags of all verbs; those that a verb has no use for are
// ignored by it.
type configFlags struct {
	plane              plane
	by, why, file, to  string
	share              int
	length             time.Duration
	now, force, noWait bool
	asJSON             bool
}

// configVerbs are the verbs and how many arguments each takes: a service, and
// mostly a key; push and check take a value besides.
var configVerbs = map[string]struct {
	least, most int
	author      bool
	run         func(*configFlags, context.Context, stdio, []string) error
}{
	"status":   {1, 1, false, (*configFlags).status},
	"get":      {2, 2, false, (*configFlags).get},
	"check":    {2, 3, false, (*configFlags).check},
	"push":     {2, 3, true, (*configFlags).push},
	"history":  {2, 2, false, (*configFlags).history},
	"diff":     {2, 2, false, (*configFlags).diff},
	"rollback": {2, 2, true, (*configFlags).rollback},
	"abort":    {2, 2, true, (*configFlags).abort},
}

func configCommand() command {
	var c configFlags
	var lang string
	return command{
		name: "config", args: "VERB SERVICE [KEY] [VALUE | @FILE | -] [flags]",
		about: say{"Show, push and roll back the settings of a service", "查看、发布与回滚服务的配置"},
		more: say{
			`A push is a release: the value is checked first, here and by every process that
will use it; then one instance applies it, then a share, then all. It goes back by
itself when calls get worse. --now writes at once.

  status SERVICE            settings, who runs what, pushes
  get SERVICE KEY           the value in force
  check SERVICE KEY VALUE   would it be taken? Writes nothing
  push SERVICE KEY VALUE    release a value, and follow it to its end
  history SERVICE KEY       who changed what, when and why
  diff SERVICE KEY          the last change; with --to, since that revision
  rollback SERVICE KEY      back to the value before, or to --to; at once
  abort SERVICE KEY         take a push under way back

A value is JSON: an argument, @FILE, --file FILE, or - for standard input.`,
			`发布配置就是一次上线：先校验（本端与每个将使用它的进程），再由一个实例应用，
然后是一部分，最后是全部；调用变差时自动回退。--now 立即写入。

  status SERVICE            配置、各实例正在使用的版本、发布
  get SERVICE KEY           当前值
  check SERVICE KEY VALUE   只校验，不写入
  push SERVICE KEY VALUE    发布一个值，并跟踪到结束
  history SERVICE KEY       谁在何时因何修改了什么
  diff SERVICE KEY          最近一次修改；给出 --to 时为自该修订以来
  rollback SERVICE KEY      立即回到上一个值，或 --to 指定的修订
  abort SERVICE KEY         撤回进行中的发布

值为 JSON：参数、@文件、--file 文件，或 - 表示标准输入。`,
		},
		examples: []string{
			"surefoot config status order",
			`surefoot config push order client/bank '{"timeout":"2s"}' --by ana --why 'bank is slow'`,
			"surefoot config rollback order client/bank --by ana",
		},
		flags: func(f *flags) {
			f.text(&c.by, "by", "NAME", "", say{"who asks for this; required to change anything", "操作人；任何修改都必填"})
			f.text(&c.why, "why", "TEXT", "", say{"why, for the audit trail", "原因，写入审计记录"})
			f.text(&c.file, "file", "FILE", "", say{"read the value from a file", "从文件读取值"})
			f.IntVar(&c.share, "share", 25, "")
			f.doc("share", "PERCENT", "25", say{"share of the instances after the first one, 1 to 100", "第一个实例之后的实例比例，1 到 100"})
			f.DurationVar(&c.length, "for", 30*time.Second, "")
			f.doc("for", "DURATION", "30s", say{"how long each stage is judged", "每个阶段的观察时长"})
			f.flag(&c.now, "now", say{"write at once, without stages", "立即写入，不分阶段"})
			f.flag(&c.force, "force", say{"go on where no instance reports what it runs", "即使没有实例上报也继续"})
			f.flag(&c.noWait, "no-wait", say{"do not follow the push to its end", "不跟踪发布过程"})
			f.text(&c.to, "to", "REVISION", "", say{"the revision to go back to, or to compare with", "要回到或比较的修订"})
			f.flag(&c.asJSON, "json", say{"print JSON", "输出 JSON"})
			c.plane.flag(f)
			f.text(&lang, "lang", "LANG", "", langAbout)
		},
		run: c.run,
	}
}

func (c *configFlags) run(ctx context.Context, io stdio, args []string) error {
	const verbs = "status, get, check, push, history, diff, rollback, abort"
	if len(args) == 0 {
		return wrong("what to do with settings? %s", "对配置做什么？%s", verbs)
	}
	v, ok := configVerbs[args[0]]
	n := len(args) - 1
	switch {
	case !ok:
		return wrong("unknown verb %q; it is one of %s", "未知动作 %q；可用 %s", args[0], verbs)
	case v.least == 1 && n != 1:
		return wrong("%s takes a SERVICE", "%s 需要一个服务名", args[0])
	case v.most == 2 && n != 2:
		return wrong("%s takes a SERVICE and a KEY", "%s 需要服务名与配置键", args[0])
	case v.most == 3 && (n < 2 || n > 3 || n == 2 && c.file == "" || n == 3 && c.file != ""):
		return wrong("%s takes a SERVICE, a KEY and one VALUE (text, @FILE, - or --file FILE)", "%s 需要服务名、配置键和一个值（文本、@文件、- 或 --file 文件）", args[0])
	case v.author && strings.TrimSpace(c.by) == "":
		return wrong("%s needs --by NAME: a change has an author", "%s 需要 --by 姓名：每次变更都有作者", args[0])
	case c.share < 1 || c.share > 100:
		return wrong("flag --share takes 1 to 100", "选项 --share 取值 1 到 100")
	case c.length < time.Second || c.length > time.Hour:
		return wrong("flag --for takes 1s to 1h", "选项 --for 取值 1s 到 1h")
	}
	return v.run(c, ctx, io, args[1:])
}

// configPath is where the API has a setting.
func configPath(service, key string) string {
	parts := strings.Split(key, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "/api/v1/services/" + url.PathEscape(service) + "/config/" + strings.Join(parts, "/")
}

// value reads the value that the arguments after the key name.
func (c *configFlags) value(args []string) (string, error) {
	from := c.file
	switch {
	case from != "":
	case args[2] == "-":
		b, err := io.ReadAll(io.LimitReader(os.Stdin, maxValue+1))
		return checked(b, err)
	case strings.HasPrefix(args[2], "@"):
		from = args[2][1:]
	default:
		return checked([]byte(args[2]), nil)
	}
	f, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return "", wrong("there is no file %s", "没有文件 %s", from)
	}
	if err != nil {
		return "", wrong("the file %s cannot be read: %v", "无法读取文件 %s：%v", from, err)
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxValue+1))
	return checked(b, err)
}

func checked(b []byte, err error) (string, error) {
	switch {
	case err != nil:
		return "", wrong("the value cannot be read: %v", "无法读取该值：%v", err)
	case len(b) > maxValue:
		return "", wrong("a value has at most %d bytes", "值最多 %d 字节", maxValue)
	case len(strings.TrimSpace(string(b))) == 0:
		return "", wrong("the value is empty; a value is JSON", "值为空；值须为 JSON")
	}
	return string(b), nil
}

func (c *configFlags) body(more map[string]any) map[string]any {
	more["by"], more["why"] = c.by, c.why
	return more
}

// ask makes one request and decodes the answer into v, unless JSON is to be
// printed: then it is, and printed is true.
func (c *configFlags) ask(ctx context.Context, io stdio, method, path string, body, v any) (printed bool, err error) {
	out, err := c.plane.do(ctx, method, path, body)
	if err != nil {
		return false, err
	}
	if c.asJSON {
		_, err = io.out.Write(out)
		return true, err
	}
	return false, json.Unmarshal(out, v)
}

func (c *configFlags) get(ctx context.Context, io stdio, args []string) error {
	var s setting
	if printed, err := c.ask(ctx, io, http.MethodGet, configPath(args[0], args[1]), nil, &s); printed || err != nil {
		return err
	}
	fmt.Fprintln(io.out, s.Value)
	return nil
}

func (c *configFlags) check(ctx context.Context, io stdio, args []string) error {
	value, err := c.value(args)
	if err != nil {
		return err
	}
	var out struct {
		Diff []change `json:"diff"`
	}
	printed, err := c.ask(ctx, io, http.MethodPost, configPath(args[0], args[1]), map[string]any{"value": value, "check": true}, &out)
	if printed || err != nil {
		return err
	}
	if len(out.Diff) == 0 {
		fmt.Fprintln(io.out, say{"good, and the same as the value in force", "合法，且与当前值相同"}.in(io.lang))
		return nil
	}
	fmt.Fprintln(io.out, say{"good; it would change", "合法；将修改"}.in(io.lang))
	showDiff(io, out.Diff, "  ")
	return nil
}

func (c *configFlags) push(ctx context.Context, io stdio, args []string) error {
	value, err := c.value(args)
	if err != nil {
		return err
	}
	body := c.body(map[string]any{"value": value, "share": c.share, "forSeconds": c.length.Seconds(), "force": c.force, "now": c.now})
	out, err := c.plane.do(ctx, http.MethodPost, configPath(args[0], args[1]), body)
	if err != nil {
		return err
	}
	if c.now || c.noWait {
		if c.asJSON {
			_, err = io.out.Write(out)
			return err
		}
	}
	if c.now {
		var s setting
		if err := json.Unmarshal(out, &s); err != nil {
			return err
		}
		fmt.Fprintf(io.out, say{"written, revision %d\n", "已写入，修订 %d\n"}.in(io.lang), s.Revision)
		return nil
	}
	var p push
	if err := json.Unmarshal(out, &p); err != nil {
		return err
	}
	if !c.asJSON {
		fmt.Fprintf(io.out, say{"push %s of %s %s\n", "发布 %s：%s %s\n"}.in(io.lang), p.ID, args[0], args[1])
		showDiff(io, p.Diff, "  ")
	}
	if c.noWait {
		fmt.Fprintf(io.out, say{"follow it with 'surefoot config status %s'\n", "可用 'surefoot config status %s' 跟踪\n"}.in(io.lang), args[0])
		return nil
	}
	return c.follow(ctx, io, args[0], p)
}

// follow prints each stage of a push until it has ended. An interrupt leaves
// the push going.
func (c *configFlags) follow(ctx context.Context, io stdio, service string, p push) error {
	said := ""
	quiet := 0 // looks in a row that had no answer
	for {
		if line := p.line(io.lang); line != said && !c.asJSON {
			fmt.Fprintf(io.out, "%s  %s\n", time.Now().Format(time.TimeOnly), line)
			said = line
		}
		if p.State != "running" {
			if c.asJSON {
				if err := json.NewEncoder(io.out).Encode(p); err != nil {
					return err
				}
			}
			if p.State == "committed" {
				return nil
			}
			return exit(exitFailed)
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(io.err, say{"the push goes on; take it back with 'surefoot config abort %s %s --by NAME'\n", "发布仍在进行；可用 'surefoot config abort %s %s --by 姓名' 撤回\n"}.in(io.lang), service, p.Key)
			return exit(exitFailed)
		case <-time.After(time.Second):
		}
		next, err := c.find(ctx, service, p.ID)
		switch {
		case err == nil:
			p, quiet = next, 0
		case ctx.Err() != nil:
		case errs.KindOf(err) == errs.Unavailable && quiet < 30:
			quiet++ // the push is in the store, and a control plane that restarts goes on with it
		default:
			return err
		}
	}
}

func (c *configFlags) find(ctx context.Context, service, id string) (push, error) {
	out, err := c.plane.do(ctx, http.MethodGet, "/api/v1/services/"+url.PathEscape(service)+"/config", nil)
	if err != nil {
		return push{}, err
	}
	var st configStatus
	if err := json.Unmarshal(out, &st); err != nil {
		return push{}, err
	}
	for _, p := range st.Pushes {
		if p.ID == id {
			return p, nil
		}
	}
	return push{}, errs.New(errs.NotFound, "surefoot.config", "the control plane no longer knows push "+id)
}

func (c *configFlags) rollback(ctx context.Context, io stdio, args []string) error {
	to := c.to
	if to == "" {
		to = "previous"
	}
	var s setting
	printed, err := c.ask(ctx, io, http.MethodPost, configPath(args[0], args[1])+"?rollback="+url.QueryEscape(to), c.body(map[string]any{}), &s)
	if printed || err != nil {
		return err
	}
	fmt.Fprintf(io.out, say{"rolled back, revision %d:\n%s\n", "已回滚，修订 %d：\n%s\n"}.in(io.lang), s.Revision, s.Value)
	return nil
}

func (c *configFlags) abort(ctx context.Context, io stdio, args []string) error {
	var p push
	printed, err := c.ask(ctx, io, http.MethodDelete, configPath(args[0], args[1]), c.body(map[string]any{}), &p)
	if printed || err != nil {
		return err
	}
	fmt.Fprintln(io.out, p.line(io.lang))
	return nil
}
