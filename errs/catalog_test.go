package errs_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/surefoot-go/surefoot/errs"
)

var shelf = errs.Catalog{
	"sold_out":  {"en": "{article} is sold out", "zh-Hans": "{article}已售罄", "zh-Hant": "{article}已售完", "pt-BR": "{article} esgotado"},
	"plain":     {"zh": "没有占位符"},
	"braces":    {"en": "{} {x {article} } {Article} {a b}{"},
	"leaky":     {"en": "{dsn} {cause}", "zh": "密码是{password}"},
	"bad_tags":  {"not a tag\r\nX: y": "evil", "": "empty"},
	"empty":     {"en": ""},
	"timeout":   {"zh": "等太久了"},
	"two_cased": {"zh": "小", "ZH": "大"},
}

func soldOut() *errs.Error {
	return errs.New(errs.Conflict, "stock.Take", "nothing left of this article").ID("sold_out").Arg("article", "tea")
}

func TestIn(t *testing.T) {
	own := "nothing left of this article"
	table := []struct {
		accept, message, language string
	}{
		{"", own, ""},
		{"en", "tea is sold out", "en"},
		{"en-US,en;q=0.9", "tea is sold out", "en"},
		{"EN-gb", "tea is sold out", "en"},
		{"zh", "tea已售罄", "zh-Hans"},
		{"zh-CN,zh;q=0.9,en;q=0.8", "tea已售罄", "zh-Hans"},
		{"zh-Hans-CN", "tea已售罄", "zh-Hans"},
		{"zh-SG", "tea已售罄", "zh-Hans"},
		{"zh-TW,zh;q=0.9", "tea已售完", "zh-Hant"},
		{"zh-HK", "tea已售完", "zh-Hant"},
		{"zh-Hant-TW", "tea已售完", "zh-Hant"},
		{"pt", "tea esgotado", "pt-BR"},
		{"pt-PT", "tea esgotado", "pt-BR"},
		{"de", own, ""},
		{"de, zh;q=0.1", "tea已售罄", "zh-Hans"},
		{"de;q=1, en;q=0.5, zh;q=0.7", "tea已售罄", "zh-Hans"},
		{"zh;q=0.3, en;q=0.300", "tea已售罄", "zh-Hans"}, // equal: as written
		{"*", own, ""},
		{"zh;q=0, *", own, ""},
		{"zh;q=0, en", "tea is sold out", "en"},
		{"zh;q=1.1, en;q=0.1", "tea is sold out", "en"}, // no such weight
		{"zh;q=0.1234, zh;q=x, zh;q=, zh;q=-1, zh;p=1, zh;q=NaN", own, ""},
		{" zh ; q=0.5 , ,;,en-;q=1", "tea已售罄", "zh-Hans"},
		{"zh_CN", own, ""},
		{strings.Repeat("de,", 500) + "zh", own, ""}, // beyond the limit
	}
	for _, c := range table {
		t.Run(c.accept, func(t *testing.T) {
			var accept []string
			if c.accept != "" {
				accept = []string{c.accept}
			}
			e := soldOut()
			if got := e.In(shelf, accept...); got.Message() != c.message || got.Language() != c.language {
				t.Errorf("%q in %q", got.Message(), got.Language())
			}
			if e.Message() != own || e.Language() != "" {
				t.Error("the original changed")
			}
		})
	}
	if got := soldOut().In(shelf, "de", "zh"); got.Language() != "zh-Hans" {
		t.Error("a header may come in several lines")
	}
}

// What the program wrote is in English as far as we know: it is not replaced by
// what the reader likes less.
func TestOwnMessageCountsAsEnglish(t *testing.T) {
	e := errs.New(errs.Conflict, "op", "written by hand").ID("plain")
	if got := e.In(shelf, "en, zh;q=0.5"); got.Message() != "written by hand" {
		t.Error(got.Message())
	}
	if got := e.In(shelf, "zh, en;q=0.5"); got.Message() != "没有占位符" {
		t.Error(got.Message())
	}
	zh := e.In(shelf, "zh")
	if got := zh.In(nil, "zh-CN, en"); got.Message() != "没有占位符" {
		t.Error(got.Message())
	}
}

func TestGenericMessagesAreKnown(t *testing.T) {
	for k := errs.Internal; ; k++ {
		if k > errs.Internal && k.ID() == errs.Internal.ID() {
			break // past the last
		}
		e := errs.Assemble(errs.Parts{Kind: k})
		zh := e.In(nil, "zh-CN,zh;q=0.9,en;q=0.8")
		if zh.Language() != "zh" || !strings.ContainsFunc(zh.Message(), func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
			t.Errorf("%v in Chinese: %q", k, zh.Message())
		}
		if en := zh.In(nil, "en-US"); en.Language() != "en" || en.Message() != e.Message() {
			t.Errorf("%v and back: %q", k, en.Message())
		}
		if text, lang := errs.Catalog(nil).Text("zh-TW", k.ID(), nil); text != zh.Message() || lang != "zh" {
			t.Errorf("Text: %q %q", text, lang)
		}
		// A message that says more than the generic one stays.
		if got := errs.New(k, "op", "quantity must be positive").In(nil, "zh"); got.Message() != "quantity must be positive" || got.Language() != "" {
			t.Errorf("%v lost its message: %q", k, got.Message())
		}
	}
	if got := errs.From(errors.New("x")).In(nil, "zh"); got.Message() != "我们这边出了点问题" {
		t.Error(got.Message())
	}
	// A service's own text for a kind's id is said for that id always.
	if got := errs.New(errs.Timeout, "op", "the bank is slow").In(shelf, "zh"); got.Message() != "等太久了" {
		t.Error(got.Message())
	}
	if (*errs.Error)(nil).In(shelf, "zh") != nil {
		t.Error("nil")
	}
}

func TestTemplates(t *testing.T) {
	private := errs.New(errs.Internal, "op", "m").With("dsn", "hunter2").With("password", "hunter2").Because(errors.New("hunter2"))
	table := []struct {
		name, accept, want string
		e                  *errs.Error
	}{
		{"lone braces", "en", "{} {x tea } {Article} {a b}{", soldOut().ID("braces")},
		{"private values", "zh, en", "m", private.ID("leaky")},
		{"a value is no template", "en", "{article}{dsn} is sold out", soldOut().Arg("article", "{article}{dsn}")},
		{"missing value", "en", "m", errs.New(errs.Conflict, "op", "m").ID("sold_out")},
		{"bad tags", "zh, en, *", "m", errs.New(errs.Conflict, "op", "m").ID("bad_tags")},
		{"empty text", "en", "m", errs.New(errs.Conflict, "op", "m").ID("empty")},
		{"always the same of two", "zh", "大", errs.New(errs.Conflict, "op", "m").ID("two_cased")},
		{"control characters", "en", "ab is sold out", soldOut().Arg("article", "a\x00\x1bb")},
		{"numbers", "en", "7 is sold out", soldOut().Arg("article", 7)},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			if got := c.e.In(shelf, c.accept).Message(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if text, lang := shelf.Text("zh", "sold_out", map[string]string{"article": "茶"}); text != "茶已售罄" || lang != "zh-Hans" {
		t.Errorf("%q %q", text, lang)
	}
	if text, lang := shelf.Text("zh", "nobody", nil); text != "" || lang != "" {
		t.Errorf("%q %q", text, lang)
	}
}

func TestArgs(t *testing.T) {
	e := soldOut()
	for _, bad := range []string{"", "A", "1a", "a-b", "a b", strings.Repeat("a", 33)} {
		if got := e.Arg(bad, 1).Parts().Args; len(got) != 1 {
			t.Errorf("%q taken: %v", bad, got)
		}
	}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "ninth"} {
		e = e.Arg(name, strings.Repeat("é", 100))
	}
	p := e.Arg("article", "again").Parts()
	if len(p.Args) != 8 || p.Args["ninth"] != "" || p.Args["article"] != "again" || len(p.Args["a"]) > 128 || !utf8.ValidString(p.Args["a"]) {
		t.Errorf("%v", p.Args)
	}
	p.Args["article"] = "changed"
	if e.Parts().Args["article"] != "tea" {
		t.Error("the caller owns the map")
	}

	// They cross, so that a service in front can say it in the reader's language.
	for _, o := range []errs.Options{{}, {Problem: true}, {Edge: true}} {
		back := errs.Decode(errs.Encode(soldOut(), o), 409, o.ContentType())
		if got := back.In(shelf, "zh"); got.Message() != "tea已售罄" || !got.Remote() {
			t.Errorf("%+v: %q", o, got.Message())
		}
	}
	many := map[string]string{"UPPER": "x"}
	for _, c := range "abcdefghijkl" {
		many[string(c)] = strings.Repeat("x", 1000)
	}
	if got := errs.Assemble(errs.Parts{Args: many}).Parts().Args; len(got) != 8 || len(got["a"]) != 128 || got["UPPER"] != "" {
		t.Errorf("%v", got)
	}
	if foreign := errs.Decode([]byte(`{"code":409,"error":"x","message":"m","args":[1]}`), 409, ""); foreign.Code() != "x" || foreign.Parts().Args != nil {
		t.Error("foreign args must only be dropped")
	}
}

func FuzzIn(f *testing.F) {
	f.Add("zh-CN,zh;q=0.9,en;q=0.8", "{article} {x", "article", "tea")
	f.Add("*;q=0.5, de;q=1.000", "{{article}}", "x", "{article}")
	f.Add("\x00,;q=,-,a-;q=0", "\xff{", "", strings.Repeat("é", 2000))
	f.Fuzz(func(t *testing.T, accept, template, name, value string) {
		e := errs.New(errs.Conflict, "op", "as written").ID("fuzzed").Arg(name, value).
			With("secret", "hunter2").Because(errors.New("hunter2"))
		got := e.In(errs.Catalog{"fuzzed": {"en": template, "zh": template, accept: template}}, accept)
		if len(got.Message()) > 1024 || !utf8.ValidString(got.Message()) || got.Message() == "" {
			t.Fatalf("%q", got.Message())
		}
		if strings.Contains(got.Message(), "hunter2") && !strings.Contains(template+value, "hunter2") && !strings.Contains(template, "{") {
			t.Fatalf("leaked: %q", got.Message())
		}
		if l := got.Language(); strings.ContainsFunc(l, func(r rune) bool { return r > 'z' || r < '-' }) || len(l) > 35 {
			t.Fatalf("language %q", l)
		}
		if p := got.Parts(); errs.Assemble(p).Message() != p.Message || errs.Assemble(p).Language() != p.Language {
			t.Fatalf("does not cross whole: %+v", p)
		}
	})
}

func BenchmarkIn(b *testing.B) {
	e := soldOut()
	b.ReportAllocs()
	for b.Loop() {
		_ = e.In(shelf, "zh-CN,zh;q=0.9,en;q=0.8")
	}
}
