package main

import (
	"fmt"
	"strings"
)

const preamble = `# Vitals and locks under real bugs

Written by ` + "`go run ./bench/vitals`" + `, never by hand. Each bug is a small model, written by us, of a published one (the number is that of
its pull request) or of a class, played in a process of its own; its healthy twin is played likewise and must be left in peace.
The peers are go.uber.org/goleak, sasha-s/go-deadlock, the runtime's "all goroutines are asleep" and its leak profile (GOEXPERIMENT=goroutineleakprofile).

**中文摘要：** 本文由程序生成。每个内核都是已公开 Go 并发缺陷的小模型，在独立进程中以有病与健康两种形式运行，记录 vitals、vitalstest、locks 与同类工具各自发现了什么、多久发现、是否指出正确的行，以及误报次数。

`

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func document(at string, r *results) string {
	var b strings.Builder
	b.WriteString(preamble + at + "\n")
	if r.proven {
		proofs(&b, r)
	}
	if len(r.leaks) > 0 {
		leaks(&b, r)
	}
	if len(r.locks) > 0 {
		lockTable(&b, r)
	}
	return b.String()
}

func proofs(b *strings.Builder, r *results) {
	b.WriteString("\n## Proofs\n\n| What | Goal | |\n|---|---|---|\n")
	found := "none"
	if r.service.Found {
		found = fmt.Sprintf("%.0f s, after %d requests", r.service.After, r.service.Requests)
	}
	fmt.Fprintf(b, "| a real service that leaks a goroutine with each of 20 requests a second: to the finding | under 60 s | %s |\n", found)
	fmt.Fprintf(b, "| the same without the leak | no finding | %s |\n", none(r.still))
	count, requests, beats := 0, 0, 0
	texts := ""
	for _, a := range r.idle {
		count, requests, beats, texts = count+a.Peak, requests+a.Requests, a.Beats, texts+a.Text
	}
	fmt.Fprintf(b, "| real idle connections in %d server process(es), %d goroutines at the peak, %d requests over them in turn; %d beats of a watch %d times as fast as by default (1800 are an hour), beside the default one | no finding | %s |\n",
		len(r.idle), count, requests, beats, r.idleSpeed, none(answer{Found: texts != "", Text: texts}))
	defer b.WriteString("\nThe connections are spread over two servers where a process may not open 40,000 files. A watch that runs faster measures shorter spans of\ntime by as much, and the load on it is as much higher; growth in bytes a minute is the one thing that is then judged more mildly.\n")
	share := func(a answer, seconds float64) string {
		return fmt.Sprintf("%.3f %% of a core", 100*max(0, a.CPU-r.without.CPU)/seconds)
	}
	fmt.Fprintf(b, "| CPU time for the watch at 10,000 goroutines, over %.0f s | under 0.1 %% | %s |\n", r.costSeconds, share(r.with, r.costSeconds))
	fmt.Fprintf(b, "| likewise over %.0f minutes of beats, run 20 times as fast | under 0.1 %% | %s |\n", r.costSeconds*20/60, share(r.ten, r.costSeconds*20))
}

func none(a answer) string {
	if !a.Found {
		return "none"
	}
	return strings.ReplaceAll(strings.TrimSpace(a.Text), "\n", "; ")
}

func leaks(b *strings.Builder, r *results) {
	fmt.Fprintf(b, `
## Leaks

20 requests a second, at %d times the speed of a default watch; seconds are those of a default watch. "line": the finding names a
line of the bug; where it says "library", the goroutines are a library's and the finding names it. The last two columns are test time, with 12 requests.

| Bug | after | the watch | line | with the leak profile | vitalstest | goleak |
|---|---|--:|---|---|---|---|
`, r.speed)
	found, false1, false2, false3 := 0, 0, 0, 0
	for _, l := range r.leaks {
		after, line := "not found", ""
		if l.watch.Found {
			found++
			after, line = fmt.Sprintf("%.0f s", l.watch.After), "library"
			if l.watch.Named {
				line = "yes"
			}
		}
		profile := "not run"
		if l.profile.Requests > 0 {
			profile = "not proven"
			if l.profile.Found {
				profile = fmt.Sprintf("%.0f s, by %s", l.profile.After, l.profile.Method)
			}
		}
		fmt.Fprintf(b, "| %s: %s | %s | %s | %s | %s | %s | %s |\n", l.kernel.id, l.kernel.what, l.kernel.after, after, line, profile, yes(l.test.Test), yes(l.test.Goleak))
		false1 += count(l.watchWell.Found) + count(l.profileWell.Found)
		false2 += count(l.testWell.Test)
		false3 += count(l.testWell.Goleak)
	}
	fmt.Fprintf(b, "\nFound by the watch: %d of %d. False alarms about goroutines on the healthy twins (%.0f s each, as of a default watch): the watch %d, vitalstest %d, goleak %d.\n",
		found, len(r.leaks), r.well*float64(r.speed), false1, false2, false3)
	b.WriteString("Findings of other kinds, such as waits for a processor on a busy machine, are not counted in this table.\n")
	b.WriteString("A stream over a connection that the test closes is ended by that, so that nothing is left at test time.\n")
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func lockTable(b *strings.Builder, r *results) {
	b.WriteString(`
## Locks

"near": it did not deadlock this time, so a report is one before it does. "struck": it did. The runtime: in a process that also listens.

| Bug | after | locks, near | locks, struck | go-deadlock, near | go-deadlock, struck | runtime, struck | locks, healthy | go-deadlock, healthy |
|---|---|---|---|---|---|---|---|---|
`)
	for _, l := range r.locks {
		cell := func(tool, how string) string {
			a, ok := l.by[tool+" "+how]
			switch {
			case !ok:
				return ""
			case a.Died != "":
				return "yes"
			case !a.Found && how == well:
				return "quiet"
			case !a.Found:
				return "silent"
			case a.Method != "":
				return fmt.Sprintf("%s after %.0f ms, %d stacks", a.Method, 1000*a.After, a.Stacks)
			}
			return fmt.Sprintf("report after %.0f ms", 1000*a.After)
		}
		fmt.Fprintf(b, "| %s: %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", l.kernel.id, l.kernel.what, l.kernel.after,
			cell("locks", near), cell("locks", struck), cell("go-deadlock", near), cell("go-deadlock", struck), cell("sync", struck), cell("locks", well), cell("go-deadlock", well))
	}
}
