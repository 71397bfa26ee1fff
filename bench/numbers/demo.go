package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Goals of issue 2, and of issue 4 for a leak.
const (
	goalSymptom   = 15  // s
	goalDiagnosis = 30  // s
	goalLeak      = 60  // s, at one goroutine a request and 20 requests a second
	goalDemo      = 700 // MB
)

// longest is how long one telling of a story may take.
const longest = 6 * time.Minute

// What the demo calls its figures.
const (
	symptom   = "fault to symptom"
	diagnosis = "fault to diagnosis"
	rollback  = "release to rollback"
	leak      = "leak to finding"
	resident  = "memory, shared pages counted once"
)

func demo(ctx context.Context, b *bench) ([]figure, error) {
	exe, err := b.binary(ctx)
	if err != nil {
		return nil, err
	}
	var figures []figure
	var shared, apart []float64
	told, came := 0, 0
	for _, story := range b.stories {
		by := "surefoot demo --headless --story " + story
		values := map[string][]float64{}
		for range b.runs {
			found, u, err := b.tell(ctx, exe, story)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			told++
			if err != nil { // a figure too
				b.say("   %s: %v", story, err)
			} else {
				came++
			}
			b.say("   %s: symptom %s s, diagnosis %s s, memory %d MB, %d MB as a sum of Rss", story,
				number(found[symptom]), number(found[diagnosis]), u.pss>>20, u.rss>>20)
			for name, v := range found {
				values[name] = append(values[name], v)
			}
			if u.rss > 0 && u.pss > 0 {
				shared, apart = append(shared, float64(u.pss)/(1<<20)), append(apart, float64(u.rss)/(1<<20))
			} else if v, ok := found[resident]; ok {
				shared = append(shared, v/(1<<20))
			}
		}
		for _, f := range []struct {
			key  string
			goal float64
		}{{symptom, goalSymptom}, {diagnosis, goalDiagnosis}, {leak, goalLeak}} {
			// A leak does no harm at first: what counts is when it is found.
			if len(values[f.key]) > 0 && (f.key == leak || len(values[leak]) == 0) {
				figures = append(figures, below(story+": "+f.key, values[f.key], f.goal, "s", by))
			}
		}
		if len(values[rollback]) > 0 {
			figures = append(figures, plain(story+": "+rollback+", by the rule 'error rate over 3 % for 30 s'", values[rollback], "s", by))
		}
	}
	const proc = "cat /proc/PID/smaps_rollup"
	figures = append(figures, most("memory of all its processes, shared pages counted once (Pss)", shared, goalDemo, "MB", proc)...)
	figures = append(figures, most("the same as a sum of Rss, which counts the code of the one binary again for each of 9 processes, 10 in bad-release and leak", apart, goalDemo, "MB", proc)...)
	return append(figures, figure{
		name: "stories that came true", measured: fmt.Sprintf("%d of %d", came, told),
		goal: "all", missed: came < told, by: "surefoot demo --headless",
	}), nil
}

// tell runs a story, and returns the figures it prints and the most memory seen
// while it was told. A story that did not come true is an error, with the
// figures it had until then.
func (b *bench) tell(ctx context.Context, exe, story string) (map[string]float64, usage, error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	cmd := b.command(ctx, exe, "demo", "--headless", "--lang", "en", "--story", story, "--port-base", strconv.Itoa(b.port))
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, usage{}, err
	}
	if err := cmd.Start(); err != nil {
		return nil, usage{}, err
	}
	// Memory is read when the story moves on, once a second at most.
	var text strings.Builder
	var peak usage
	var last time.Time
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text.WriteString(lines.Text() + "\n")
		if time.Since(last) > time.Second {
			peak, last = peak.max(memory(family(cmd.Process.Pid)...)), time.Now()
		}
	}
	err = errors.Join(lines.Err(), cmd.Wait())
	if err != nil {
		err = fmt.Errorf("it did not come true: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return measured(text.String()), peak, err
}
