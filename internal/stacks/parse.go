package stacks

import (
	"bytes"
	"strconv"
	"strings"
)

// Parse reads the text of runtime.Stack for all goroutines, which is also that
// of the goroutine and goroutineleak profiles with debug=2.
func Parse(dump []byte) []Goroutine {
	var (
		in  interner
		gs  []Goroutine
		cur *Goroutine
		fn  string
	)
	for line := range bytes.Lines(dump) {
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case len(line) == 0:
			cur, fn = nil, ""
		case cur == nil:
			if g, ok := header(&in, line); ok {
				gs = append(gs, g)
				cur = &gs[len(gs)-1]
			}
		case line[0] == '\t': // the place of the call in the line before
			if fn == "" {
				continue
			}
			f := Frame{Func: fn}
			f.File, f.Line = place(&in, line[1:])
			if strings.HasPrefix(fn, created) {
				f.Func, cur.Parent = creator(fn)
				cur.Created = f
			} else if !runtimes(f.Func) {
				cur.Frames = append(cur.Frames, f)
			}
			fn = ""
		case bytes.HasPrefix(line, []byte(created)):
			fn = in.text(line)
		case bytes.HasPrefix(line, []byte("...")): // frames elided
			fn = ""
		default:
			fn = in.text(call(line))
		}
	}
	return gs
}

const created = "created by "

// header reads "goroutine 7 gp=0x.. [chan send, 11 minutes, locked to thread, synctest bubble 2 labels:{...}]:".
func header(in *interner, line []byte) (g Goroutine, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte("goroutine "))
	if !ok {
		return g, false
	}
	open, end := bytes.IndexByte(rest, '['), bytes.LastIndexByte(rest, ']')
	if open < 0 || end < open {
		return g, false
	}
	id, _, _ := bytes.Cut(rest[:open], []byte(" "))
	g.ID, _ = strconv.ParseInt(string(id), 10, 64)
	if g.ID <= 0 {
		return g, false
	}
	state := string(rest[open+1 : end])
	if before, set, ok := strings.Cut(state, " labels:{"); ok {
		state = before
		g.Labels = readLabels(strings.TrimSuffix(set, "}"))
	}
	for i, word := range strings.Split(state, ", ") {
		switch {
		case i == 0:
			word, g.Leaked = cut(word, " (leaked)", g.Leaked)
			word, _ = cut(word, " (scan)", false)
			word, g.Durable = cut(word, " (durable)", g.Durable)
			word, g.Leaked = cut(word, " (leaked)", g.Leaked)
			g.Wait = in.text([]byte(word))
		case word == "locked to thread":
			g.Locked = true
		case strings.HasPrefix(word, "synctest bubble "):
			g.Bubble, _ = strconv.Atoi(word[len("synctest bubble "):])
		case strings.HasSuffix(word, " minutes"):
			g.Minutes, _ = strconv.Atoi(strings.TrimSuffix(word, " minutes"))
		}
	}
	return g, true
}

func cut(word, suffix string, was bool) (string, bool) {
	rest, ok := strings.CutSuffix(word, suffix)
	return rest, ok || was
}

// call is the name in "pkg.(*T).Method(0xc000..., {0x1, 0x2})". The arguments
// stand in the last pair of round brackets that is at the top level.
func call(line []byte) []byte {
	if len(line) == 0 || line[len(line)-1] != ')' {
		return line
	}
	level := 0
	for i := len(line) - 1; i >= 0; i-- {
		switch line[i] {
		case ')':
			level++
		case '(':
			if level--; level == 0 {
				return line[:i]
			}
		}
	}
	return nil
}

// creator reads "created by pkg.F in goroutine 7".
func creator(line string) (fn string, parent int64) {
	fn = strings.TrimPrefix(line, created)
	if i := strings.LastIndex(fn, " in goroutine "); i >= 0 {
		parent, _ = strconv.ParseInt(fn[i+len(" in goroutine "):], 10, 64)
		fn = fn[:i]
	}
	return fn, parent
}

// place reads "/path/file.go:88 +0x1d fp=0x...".
func place(in *interner, text []byte) (file string, line int) {
	colon := bytes.LastIndexByte(text, ':')
	if colon < 0 {
		return "", 0
	}
	number, _, _ := bytes.Cut(text[colon+1:], []byte(" "))
	line, err := strconv.Atoi(string(number))
	if err != nil || line < 0 {
		return "", 0
	}
	return in.text(text[:colon]), line
}

// runtimes tells what a dump leaves out by itself unless GOTRACEBACK=system:
// the runtime's unexported functions.
func runtimes(fn string) bool {
	rest, ok := strings.CutPrefix(fn, "runtime.")
	return ok && rest != "" && !('A' <= rest[0] && rest[0] <= 'Z')
}

// readLabels reads `"key":"value", "key2": "value2"`, each half quoted.
func readLabels(text string) map[string]string {
	var m map[string]string
	for text != "" {
		text = strings.TrimLeft(text, " ,")
		k, rest, ok := quoted(text)
		if !ok {
			return m
		}
		rest = strings.TrimLeft(rest, " :")
		v, rest, ok := quoted(rest)
		if !ok {
			return m
		}
		if m == nil {
			m = map[string]string{}
		}
		m[k] = v
		text = rest
	}
	return m
}

// quoted takes a quoted word, or one without quotes up to , or :, off text.
func quoted(text string) (word, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, ",: ")
		if end < 0 {
			end = len(text)
		}
		return text[:end], text[end:], end > 0
	}
	q, err := strconv.QuotedPrefix(text)
	if err != nil {
		return "", "", false
	}
	word, err = strconv.Unquote(q)
	return word, text[len(q):], err == nil
}

// ParseProfile reads what pprof.Lookup("goroutine").WriteTo(w, 1) writes; the
// goroutineleak profile has the same form.
func ParseProfile(text []byte) []Sample {
	var (
		in      interner
		samples []Sample
		cur     *Sample
	)
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case len(line) == 0:
			cur = nil
		case line[0] != '#':
			cur = nil
			count, rest, _ := bytes.Cut(line, []byte(" "))
			n, err := strconv.Atoi(string(count))
			if err == nil && n > 0 && bytes.HasPrefix(rest, []byte("@")) {
				samples = append(samples, Sample{Count: n})
				cur = &samples[len(samples)-1]
			}
		case cur == nil:
		case bytes.HasPrefix(line, []byte("# labels: ")):
			set := string(line[len("# labels: "):])
			cur.Labels = readLabels(strings.TrimSuffix(strings.TrimPrefix(set, "{"), "}"))
		default:
			// #	0x4a2b3c	pkg.F+0x1d	/path/file.go:88, padded with tabs and spaces
			words := bytes.FieldsFunc(line, func(r rune) bool { return r == '\t' })
			if len(words) < 4 {
				continue
			}
			name := bytes.TrimSpace(words[2])
			if plus := bytes.LastIndex(name, []byte("+0x")); plus > 0 {
				name = name[:plus]
			}
			f := Frame{Func: in.text(name)}
			f.File, f.Line = place(&in, bytes.TrimSpace(words[len(words)-1]))
			if !runtimes(f.Func) {
				cur.Frames = append(cur.Frames, f)
			}
		}
	}
	return samples
}

// interner keeps one copy of each word, so that twenty thousand goroutines do
// not hold their whole dump.
type interner map[string]string

func (in *interner) text(b []byte) string {
	if s, ok := (*in)[string(b)]; ok {
		return s
	}
	if *in == nil {
		*in = interner{}
	}
	s := string(b)
	(*in)[s] = s
	return s
}
