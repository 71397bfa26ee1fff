package errs

import (
	"fmt"
	"maps"
	"strings"
)

// Catalog is what errors say in other languages: for an id, and in it for a
// language tag such as "zh", "zh-Hant" or "en-GB", a text. A {name} in a text is
// replaced by the value given to (*Error).Arg under that name; a text that asks
// for a value the error does not have is not used. All else, a lone brace too,
// is text.
//
//	var texts = errs.Catalog{
//		"sold_out": {"en": "{article} is sold out", "zh": "{article}已售罄"},
//	}
//
// It is plain data: do not change it while it is in use. The zero value works:
// the generic message of every kind is known in "en" and "zh" without it.
type Catalog map[string]map[string]string

// The generic messages in Chinese; those in English are in table.
var chinese = [kinds]string{
	Internal:           "我们这边出了点问题",
	Invalid:            "请求无效",
	Unauthorized:       "请先登录",
	Forbidden:          "不允许执行此操作",
	NotFound:           "未找到",
	Conflict:           "与另一项更改冲突",
	FailedPrecondition: "当前状态下无法执行此操作",
	TooMany:            "请求过于频繁，请稍后再试",
	Canceled:           "请求已取消",
	Unimplemented:      "此功能尚未实现",
	BadGateway:         "上游服务没有给出可用的响应",
	Unavailable:        "服务暂时不可用，请稍后再试",
	Timeout:            "处理超时",
}

// builtin returns the generic message of a kind in a language of ours.
func builtin(k Kind, want string) (text, tag string) {
	switch primary(want) {
	case "en":
		return table[k].text, "en"
	case "zh":
		return chinese[k], "zh"
	}
	return "", ""
}

// generic says whether msg is what we say for a kind when nobody says better.
func generic(k Kind, msg string) bool {
	return msg == "" || msg == table[k].text || msg == chinese[k]
}

// In returns e with its message in the language its reader likes best. accept
// holds the values of an Accept-Language header, RFC 9110; what makes no sense
// in them is passed over. The text is c's for e's id, else, where e's message is
// the generic one of its kind, that kind's in "en" or "zh". The message e has
// counts as English unless e knows better; where the reader likes that as much,
// or nothing fits, In returns e as it is.
//
// Transports call it just before they write. Neither With nor the cause can
// get into a text.
func (e *Error) In(c Catalog, accept ...string) *Error {
	if e == nil {
		return e
	}
	for _, want := range wanted(accept) {
		if want == "*" {
			return e
		}
		text, tag := c.find(e.Code(), want, e.args)
		if tag == "" && generic(e.kind, e.msg) {
			text, tag = builtin(e.kind, want)
		}
		if tag != "" {
			e := e.clone()
			e.msg, e.lang = text, tag
			return e
		}
		own := e.lang
		if own == "" {
			own = "en"
		}
		if primary(own) == primary(want) && e.msg != "" {
			return e
		}
	}
	return e
}

// Text returns the text for id in the language accept likes best, a value of an
// Accept-Language header or one tag, and the tag it is kept under. c's own
// texts come first, then the generic ones for the id of a Kind. Both are empty
// if there is none, or none that args suffice for.
func (c Catalog) Text(accept, id string, args map[string]string) (text, lang string) {
	k, standard := KindOfID(id)
	for _, want := range wanted([]string{accept}) {
		if text, lang = c.find(id, want, args); lang == "" && standard {
			text, lang = builtin(k, want)
		}
		if lang != "" {
			return text, lang
		}
	}
	return "", ""
}

// find returns c's text for id in a language that serves one who wants want.
func (c Catalog) find(id, want string, args map[string]string) (text, tag string) {
	texts := c[id]
	if len(texts) == 0 {
		return "", ""
	}
	for _, like := range alike(want) {
		tag = ""
		for t := range texts { // a handful; the smallest of equals, so that it is always the same
			fits := strings.EqualFold(t, like) || like == "" && primary(t) == primary(want)
			if fits && validTag(t) && (tag == "" || t < tag) {
				tag = t
			}
		}
		if tag == "" {
			continue
		}
		if text, ok := fill(texts[tag], args); ok {
			return text, tag
		}
	}
	return "", ""
}

// fill puts args into a template. It is false if one is missing, or if nothing
// is left to read.
func fill(template string, args map[string]string) (string, bool) {
	var b strings.Builder
	for b.Len() <= maxMessage {
		before, rest, found := strings.Cut(template, "{")
		b.WriteString(before[:min(len(before), maxMessage+1)])
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || !validName(name) {
			b.WriteByte('{')
			template = rest
			continue
		}
		v, ok := args[name]
		if !ok {
			return "", false
		}
		b.WriteString(v[:min(len(v), maxMessage)]) // not looked at again: a value holds no template
		template = after
	}
	text := clean(b.String(), maxMessage)
	return text, text != ""
}

// Limits on the values of Arg.
const (
	maxArgs = 8
	maxArg  = 128 // bytes
)

// Arg returns e with a public value for the texts of a Catalog, in every service
// the error reaches: it crosses wires. Never give it a secret. A name is 1 to 32
// of a-z, 0-9 and '_' and begins with a letter; another, or a ninth, is a
// programmer's mistake and leaves e as it is. The value is written as fmt.Sprint
// does, cleaned of control characters and cut to 128 bytes.
func (e *Error) Arg(name string, v any) *Error {
	if _, held := e.args[name]; !validName(name) || !held && len(e.args) >= maxArgs {
		return e
	}
	c := e.clone()
	c.args = make(map[string]string, len(e.args)+1)
	maps.Copy(c.args, e.args)
	c.args[name] = clean(fmt.Sprint(v), maxArg)
	return c
}

// Language returns the tag of the language the message is in, or "" if that is
// not known: what the program was written with.
func (e *Error) Language() string { return e.lang }

func validName(s string) bool {
	if len(s) == 0 || len(s) > 32 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}
