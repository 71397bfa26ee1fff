package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// figures are the benchmarks' values: by case ("Breaker/open"), by library, by
// unit, one a round.
type figures map[string]map[string]map[string][]float64

var processors = regexp.MustCompile(`-\d+$`)

// read adds what one run of go test -bench printed. Lines that are no result
// of a benchmark named Policy/case/library are left out.
func (f figures) read(printed string) {
	for line := range strings.Lines(printed) {
		words := strings.Fields(line)
		if len(words) < 4 {
			continue
		}
		name, ok := strings.CutPrefix(words[0], "Benchmark")
		parts := strings.Split(processors.ReplaceAllString(name, ""), "/")
		if _, err := strconv.Atoi(words[1]); !ok || err != nil || len(parts) != 3 {
			continue
		}
		which, library := parts[0]+"/"+parts[1], parts[2]
		for i := 2; i+1 < len(words); i += 2 {
			v, err := strconv.ParseFloat(words[i], 64)
			if err != nil {
				break
			}
			f.add(which, library, words[i+1], v)
		}
	}
}

func (f figures) add(which, library, unit string, v float64) {
	if f[which] == nil {
		f[which] = map[string]map[string][]float64{}
	}
	if f[which][library] == nil {
		f[which][library] = map[string][]float64{}
	}
	f[which][library][unit] = append(f[which][library][unit], v)
}

// cost is what one call costs, by medians.
type cost struct {
	ns, low, high, allocs, bytes float64
}

func (f figures) cost(which, library string) (cost, bool) {
	v := f[which][library]
	if len(v["ns/op"]) == 0 {
		return cost{}, false
	}
	return cost{
		ns: median(v["ns/op"]), low: slices.Min(v["ns/op"]), high: slices.Max(v["ns/op"]),
		allocs: median(v["allocs/op"]), bytes: median(v["B/op"]),
	}, true
}

// median is the middle of a case's values in one unit.
func (f figures) median(which, library, unit string) (float64, bool) {
	v := f[which][library][unit]
	return median(v), len(v) > 0
}

// minus is what c costs more than bare; its range is left out.
func (c cost) minus(bare cost) cost {
	if bare == (cost{}) {
		return c
	}
	return cost{ns: c.ns - bare.ns, allocs: c.allocs - bare.allocs, bytes: c.bytes - bare.bytes}
}

func (c cost) String() string {
	return fmt.Sprintf("%s ns, %s, %.0f B", number(c.ns), allocations(c.allocs), c.bytes)
}

func allocations(n float64) string {
	if n == 1 {
		return "1 alloc"
	}
	return fmt.Sprintf("%.0f allocs", n)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// number writes v as far as it means something.
func number(v float64) string {
	if v < 100 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
