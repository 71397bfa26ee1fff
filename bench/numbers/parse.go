package main

import (
	"regexp"
	"strconv"
	"strings"
)

// service15 returns the service that the README shows.
func service15(readme string) (string, bool) {
	m := regexp.MustCompile("(?s)<!-- service15 -->\r?\n```go\r?\n(.*?)```").FindStringSubmatch(readme)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// readyAt returns the console's URL from the line in which `surefoot up` says
// that it is ready.
func readyAt(line string) (url string, ok bool) {
	m := regexp.MustCompile(`^surefoot is ready\b.*\bconsole (http://[^\s,]+)`).FindStringSubmatch(line)
	if m == nil {
		return "", false
	}
	return m[1], true
}

var (
	painted  = regexp.MustCompile("\x1b\\[[0-9;]*m")
	quantity = regexp.MustCompile(`^\s+(\S.*?)\s+([0-9]+(?:\.[0-9]+)?) ?(ms|s|min|kB|MB|GB)?$`)
)

// measured reads the block "Measured" at the end of a story: names and values,
// times in seconds and memory in bytes. Lines it does not know the form of are
// left out.
func measured(story string) map[string]float64 {
	// The demo's units; its MB are 2^20 bytes, as the kernel's.
	units := map[string]float64{"": 1, "ms": 1e-3, "s": 1, "min": 60, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
	found := map[string]float64{}
	in := false
	for line := range strings.Lines(painted.ReplaceAllString(story, "")) {
		line = strings.TrimRight(line, " \r\n")
		if line == "Measured" {
			in = true
			continue
		}
		if line != "" && !strings.HasPrefix(line, " ") {
			in = false // another title
		}
		if m := quantity.FindStringSubmatch(line); in && m != nil {
			v, _ := strconv.ParseFloat(m[2], 64) // the pattern allows numbers only
			found[m[1]] = v * units[m[3]]
		}
	}
	return found
}

// benchmarks reads what go test -bench prints: every value by the benchmark's
// name, without the number of processors, and by unit.
func benchmarks(out string) map[string]map[string][]float64 {
	found := map[string]map[string][]float64{}
	cpus := regexp.MustCompile(`-\d+$`)
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		if _, err := strconv.Atoi(f[1]); err != nil {
			continue
		}
		name := cpus.ReplaceAllString(f[0], "")
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				break
			}
			if found[name] == nil {
				found[name] = map[string][]float64{}
			}
			found[name][f[i+1]] = append(found[name][f[i+1]], v)
		}
	}
	return found
}

// kilobytes finds "key: n kB" in a file of /proc and returns n in bytes, or 0.
func kilobytes(text, key string) int64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}

// parent reads a process's parent from its /proc/PID/stat. The name, second
// and in brackets, may hold anything.
func parent(stat string) int {
	i := strings.LastIndexByte(stat, ')')
	if i < 0 {
		return 0
	}
	f := strings.Fields(stat[i+1:])
	if len(f) < 2 {
		return 0
	}
	n, err := strconv.Atoi(f[1])
	if err != nil {
		return 0
	}
	return n
}
