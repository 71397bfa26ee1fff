package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1 // something went wrong while running
	exitRefused = 2 // could not start: flags or surroundings
)

// say is one text in both languages.
type say struct{ en, zh string }

func (s say) in(lang string) string {
	if lang == "zh" {
		return s.zh
	}
	return s.en
}

// stdio is where a command talks, and in which language.
type stdio struct {
	out, err io.Writer
	lang     string
}

// command is one subcommand.
type command struct {
	name     string
	args     string // what follows the name in the usage line
	about    say    // one sentence
	more     say    // further paragraphs, may be empty
	hidden   bool   // not in the main help
	raw      bool   // run gets its arguments unparsed
	examples []string
	flags    func(*flags)
	run      func(ctx context.Context, io stdio, args []string) error
}

// misuse is a mistake in how the program was called.
type misuse struct{ text say }

func (m misuse) Error() string { return m.text.en }

func wrong(en, zh string, args ...any) error {
	return misuse{say{fmt.Sprintf(en, args...), fmt.Sprintf(zh, args...)}}
}

// flags defines a command's flags and remembers how to explain them.
type flags struct {
	*flag.FlagSet
	docs []flagDoc
}

type flagDoc struct {
	name, value string
	about       say
	def         string
}

func (f *flags) text(p *string, name, value, def string, about say) {
	f.StringVar(p, name, def, "")
	f.docs = append(f.docs, flagDoc{name, value, about, def})
}

func (f *flags) flag(p *bool, name string, about say) {
	f.BoolVar(p, name, false, "")
	f.docs = append(f.docs, flagDoc{name, "", about, ""})
}

func (f *flags) doc(name, value, def string, about say) {
	f.docs = append(f.docs, flagDoc{name, value, about, def})
}

// dispatch runs the command that args name and returns the exit code.
func dispatch(ctx context.Context, all []command, args []string, io stdio) int {
	args = dropLang(args)
	if len(args) == 0 {
		mainHelp(io.err, all, io.lang)
		return exitRefused
	}
	switch name := args[0]; {
	case name == "help" && len(args) > 1:
		args = []string{args[1], "--help"}
	case name == "help" || name == "-h" || name == "--help" || name == "-help":
		mainHelp(io.out, all, io.lang)
		return exitOK
	case name == "--version" || name == "-v" || name == "-version":
		args = []string{"version"}
	}
	i := slices.IndexFunc(all, func(c command) bool { return c.name == args[0] })
	if i < 0 {
		what := say{"command", "命令"}
		if strings.HasPrefix(args[0], "-") {
			what = say{"flag", "选项"}
		}
		hint := say{"see 'surefoot --help'", "参见 'surefoot --help'"}
		if near := nearest(args[0], all); near != "" {
			hint = say{fmt.Sprintf("did you mean '%s'? See 'surefoot --help'", near), fmt.Sprintf("是否想用 '%s'？参见 'surefoot --help'", near)}
		}
		text := say{fmt.Sprintf("unknown %s %q; %s", what.en, args[0], hint.en), fmt.Sprintf("未知%s %q；%s", what.zh, args[0], hint.zh)}
		fmt.Fprintf(io.err, "surefoot: %s\n", text.in(io.lang))
		return exitRefused
	}
	return all[i].main(ctx, io, args[1:])
}

func (c command) main(ctx context.Context, io stdio, args []string) int {
	f := &flags{FlagSet: flag.NewFlagSet(c.name, flag.ContinueOnError)}
	f.SetOutput(discard{})
	if c.flags != nil {
		c.flags(f)
	}
	if !c.raw {
		rest, err := f.interspersed(args)
		if errors.Is(err, flag.ErrHelp) {
			c.help(io.out, f, io.lang)
			return exitOK
		}
		if err != nil {
			return c.fail(io, flagError(err))
		}
		args = rest
	} else if len(args) > 0 && (args[0] == "--help" || args[0] == "-h" || args[0] == "-help") {
		c.help(io.out, f, io.lang)
		return exitOK
	}
	if err := c.run(ctx, io, args); err != nil {
		return c.fail(io, err)
	}
	return exitOK
}

// interspersed parses flags wherever they stand and returns the other
// arguments; "--" ends the flags.
func (f *flags) interspersed(args []string) ([]string, error) {
	var rest []string
	for {
		if err := f.Parse(args); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			return rest, nil
		}
		if n := len(args) - f.NArg(); n > 0 && args[n-1] == "--" {
			return append(rest, f.Args()...), nil
		}
		rest = append(rest, f.Arg(0))
		args = f.Args()[1:]
	}
}

// exit carries a code of its own through run, when everything was said already.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// fail says err in one line and returns the exit code it means.
func (c command) fail(io stdio, err error) int {
	var code exit
	if errors.As(err, &code) {
		return int(code)
	}
	text, code := explain(err, io.lang)
	var m misuse
	if errors.As(err, &m) {
		text += say{fmt.Sprintf("; see 'surefoot %s --help'", c.name), fmt.Sprintf("；参见 'surefoot %s --help'", c.name)}.in(io.lang)
	}
	fmt.Fprintf(io.err, "surefoot %s: %s\n", c.name, text)
	return int(code)
}

// explain turns an error into a line for a person and the exit code it means.
// No stack and no chain of causes gets out here.
func explain(err error, lang string) (string, exit) {
	var m misuse
	var p *server.Problem
	var e *errs.Error
	switch {
	case errors.As(err, &m):
		return m.text.in(lang), exitRefused
	case errors.As(err, &p):
		return problem(p, lang), exitRefused
	case errors.As(err, &e):
		text := e.Message()
		if d := e.Details(); len(d) > 0 {
			text += ": " + strings.Join(d, "; ")
		}
		if k := e.Kind(); k == errs.Invalid || k == errs.FailedPrecondition {
			return text, exitRefused
		}
		return text, exitFailed
	default:
		line, _, _ := strings.Cut(err.Error(), "\n")
		return line, exitFailed
	}
}

// flagError rewords what package flag says: two dashes, one line, both
// languages.
func flagError(err error) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		return wrong("unknown flag --%s", "未知选项 --%s", strings.TrimPrefix(name, "-"))
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return wrong("flag --%s needs a value", "选项 --%s 需要一个值", name)
	}
	if value, rest, ok := strings.Cut(text, " for flag -"); ok {
		name, why, _ := strings.Cut(rest, ": ")
		value = strings.TrimPrefix(strings.TrimPrefix(value, "invalid value "), "invalid boolean value ")
		return wrong("flag --%s does not take %s (%s)", "选项 --%s 不接受 %s（%s）", name, value, why)
	}
	return wrong("%s", "%s", text)
}

// nearest is the command that name was probably meant to be, or "".
func nearest(name string, all []command) string {
	best, least := "", 3
	for _, c := range all {
		if d := distance(name, c.name); d < least && d < len(c.name) {
			best, least = c.name, d
		}
	}
	return best
}

// distance is Levenshtein's: how many letters to change, add or drop.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// language is --lang when given, else what the environment says; English
// unless it starts with zh.
func language(args []string, env func(string) string) string {
	want := ""
	for i, a := range args {
		if a == "--" {
			break
		}
		if v, ok := strings.CutPrefix(a, "--lang="); ok {
			want = v
		} else if a == "--lang" && i+1 < len(args) {
			want = args[i+1]
		}
	}
	for _, key := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if want == "" {
			want = env(key)
		}
	}
	if strings.HasPrefix(strings.ToLower(want), "zh") {
		return "zh"
	}
	return "en"
}

// dropLang takes a --lang out that stands before the command, where no
// command can parse it.
func dropLang(args []string) []string {
	for len(args) > 0 {
		switch {
		case strings.HasPrefix(args[0], "--lang="):
			args = args[1:]
		case args[0] == "--lang" && len(args) > 1:
			args = args[2:]
		default:
			return args
		}
	}
	return args
}

// width is how many columns text takes; a Chinese letter takes two.
func width(text string) int {
	n := 0
	for _, r := range text {
		n++
		if utf8.RuneLen(r) > 2 {
			n++
		}
	}
	return n
}

// pad fills text up to that many columns.
func pad(text string, columns int) string {
	return text + strings.Repeat(" ", max(columns-width(text), 0))
}
