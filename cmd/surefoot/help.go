package main

import (
	"fmt"
	"io"
	"strings"
)

func mainHelp(w io.Writer, all []command, lang string) {
	fmt.Fprintln(w, say{"Usage: surefoot COMMAND [flags]", "用法：surefoot 命令 [选项]"}.in(lang))
	fmt.Fprintln(w)
	fmt.Fprintln(w, say{
		"Keeps Go microservices on their feet: watches them, says what broke and why,\nand takes bad releases off traffic.",
		"让 Go 微服务站稳脚跟：观察服务，说明哪里坏了、为什么坏，\n并把有问题的版本从流量中摘除。",
	}.in(lang))
	fmt.Fprintln(w)
	fmt.Fprintln(w, say{"Commands:", "命令："}.in(lang))
	for _, c := range all {
		if !c.hidden {
			fmt.Fprintf(w, "  %s  %s\n", pad(c.name, 10), c.about.in(lang))
		}
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, say{"Flags:", "选项："}.in(lang))
	fmt.Fprintf(w, "  %s  %s\n", pad("--lang", 10), langAbout.in(lang))
	fmt.Fprintln(w)
	fmt.Fprintln(w, say{"Examples:", "示例："}.in(lang))
	for _, e := range []string{"surefoot demo", "surefoot up --dir ./data --catalog ./services", "surefoot topology --format mermaid"} {
		fmt.Fprintf(w, "  %s\n", e)
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, say{"Run 'surefoot COMMAND --help' for more on one command.", "运行 'surefoot 命令 --help' 了解某个命令。"}.in(lang))
}

var langAbout = say{"en or zh; by default what LANG says", "en 或 zh；默认取 LANG"}

func (c command) help(w io.Writer, f *flags, lang string) {
	line := "surefoot " + c.name
	if c.args != "" {
		line += " " + c.args
	}
	fmt.Fprintf(w, "%s%s\n\n", say{"Usage: ", "用法："}.in(lang), line)
	fmt.Fprintln(w, c.about.in(lang)+say{".", "。"}.in(lang))
	if more := c.more.in(lang); more != "" {
		fmt.Fprintf(w, "\n%s\n", more)
	}
	if len(f.docs) > 0 {
		fmt.Fprintf(w, "\n%s\n", say{"Flags:", "选项："}.in(lang))
		heads, width := make([]string, len(f.docs)), 0
		for i, d := range f.docs {
			heads[i] = strings.TrimSpace("--" + d.name + " " + d.value)
			width = max(width, len(heads[i]))
		}
		for i, d := range f.docs {
			text := d.about.in(lang)
			if d.def != "" {
				text += fmt.Sprintf(say{" (default %s)", "（默认 %s）"}.in(lang), d.def)
			}
			fmt.Fprintf(w, "  %s  %s\n", pad(heads[i], width), text)
		}
	}
	if len(c.examples) > 0 {
		fmt.Fprintf(w, "\n%s\n", say{"Examples:", "示例："}.in(lang))
		for _, e := range c.examples {
			fmt.Fprintf(w, "  %s\n", e)
		}
	}
	fmt.Fprintf(w, "\n%s\n", say{"Exit codes:", "退出码："}.in(lang))
	for _, e := range []say{
		{"0  all went well, or it was asked to stop", "0  一切正常，或按要求停止"},
		{"1  something failed while it ran", "1  运行中失败"},
		{"2  it could not start: a wrong flag, a taken port, a folder that cannot be written", "2  无法启动：选项有误、端口被占用、目录不可写"},
	} {
		fmt.Fprintf(w, "  %s\n", e.in(lang))
	}
}
