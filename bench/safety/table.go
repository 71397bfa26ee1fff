package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/surefoot-go/surefoot/safe"
)

// result is one line with its answers, in the order of libraries.
type result struct {
	line
	answers [5]answer
}

// ask makes the experiments of the lines for the first n libraries: those of
// one line at the same time, the lines one after another.
func ask(ctx context.Context, lines []line, n int, progress func(string)) ([]result, error) {
	var out []result
	for _, ln := range lines {
		progress(ln.id)
		r := result{line: ln}
		g := safe.Group{All: true}
		for i, e := range ln.ask[:n] {
			g.Go(ctx, func(ctx context.Context) error {
				a, err := run(ctx, e)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", ln.id, libraries[i], err)
				}
				r.answers[i] = a
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

var mark = map[verdict]string{yes: "✔", no: "✘", none: "–"}

// changing is how the lines begin that differ between runs of the same code.
const changing = "Asked on "

const preamble = `# Safe by default?

%s

Written by ` + "`go run ./bench/safety`" + `, never by hand. Each row is a trap of section 6 of [the design](design.md); each
cell is what an experiment saw, with real servers and clients on loopback and the library set up as its own documentation
tells a newcomer to. ✔ the trap did not spring, ✘ it did, – the library has nothing in that place. The notes below say
what was seen, and where an option of the library makes it safe. One line alone: ` + "`go run ./bench/safety -only <id> -out -`" + `;
the experiments are short and meant to be read.

%s

kitex has no column because it could not be downloaded where this was written. go-zero's zrpc is asked only with the build
tag ` + "`zrpc`" + `, since it brings Kubernetes' client along; its column here is package rest, its HTTP client and its core (` + "`go run -tags zrpc ./bench/safety -out -`" + ` for both).
connect-go comes with companions its users choose themselves: here sony/gobreaker in a client interceptor and
hashicorp/go-retryablehttp as its HTTP client; a note that names one is about that one. Kratos is asked with the middlewares
its documentation recommends: recovery, tracing, rate limit; tracing and circuit breaker at the client.

`

// document is docs/safety.md. at is the line that changes.
func document(at string, results []result) string {
	var b strings.Builder
	fmt.Fprintf(&b, preamble, chinese(results), at)
	b.WriteString("| | Trap |")
	for _, name := range libraries {
		b.WriteString(" " + name + " |")
	}
	b.WriteString("\n|--:|---|" + strings.Repeat(":-:|", len(libraries)) + "\n")
	for i, r := range results {
		fmt.Fprintf(&b, "| %d | %s |", i+1, r.trap)
		for _, a := range r.answers {
			b.WriteString(" " + mark[a.verdict] + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n## What was seen\n")
	for i, r := range results {
		fmt.Fprintf(&b, "\n### %d. %s (`%s`)\n\n", i+1, r.trap, r.id)
		for j, a := range r.answers {
			fmt.Fprintf(&b, "- %s %s: %s\n", libraries[j], mark[a.verdict], a.saw)
		}
	}
	return b.String()
}

// chinese is the summary paragraph.
func chinese(results []result) string {
	text := fmt.Sprintf("**摘要**：设计文档第 6 节的每一条陷阱都是一个可运行的实验（共 %d 行），各库均按自身文档推荐的默认方式配置，结论由实验得出，不手工填写。", len(results))
	var parts []string
	for i, name := range libraries {
		n := map[verdict]int{}
		for _, r := range results {
			n[r.answers[i].verdict]++
		}
		parts = append(parts, fmt.Sprintf("%s 安全 %d 行，中招 %d 行，不适用 %d 行", name, n[yes], n[no], n[none]))
	}
	return text + strings.Join(parts, "；") + "。"
}

// asked names the date and the versions.
func asked(date string) (string, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", errors.New("this program was built without module information")
	}
	version := map[string]string{}
	for _, m := range info.Deps {
		version[m.Path] = m.Version
	}
	var parts []string
	for _, m := range []struct{ name, path string }{
		{"kratos", "github.com/go-kratos/kratos/v2"}, {"go-zero", "github.com/zeromicro/go-zero"},
		{"failsafe-go", "github.com/failsafe-go/failsafe-go"}, {"connect-go", "connectrpc.com/connect"},
		{"gobreaker", "github.com/sony/gobreaker/v2"}, {"go-retryablehttp", "github.com/hashicorp/go-retryablehttp"},
		{"grpc-go", "google.golang.org/grpc"},
	} {
		parts = append(parts, m.name+" "+version[m.path])
	}
	return fmt.Sprintf("%s%s: %s, %s.", changing, date, strings.Join(parts, ", "), runtime.Version()), nil
}
