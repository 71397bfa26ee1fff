package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// read is one way to read a setting.
type read struct {
	name string
	ns   float64 // median
}

var benchLine = regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op`)

// reads runs the benchmarks of package config, five times each.
func reads(ctx context.Context) ([]read, error) {
	out, err := exec.CommandContext(ctx, "go", "test", "github.com/surefoot-go/surefoot/config", "-run", "^$", "-bench", "Get|Read", "-count", "5", "-benchtime", "200ms").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("the benchmarks of config: %w\n%s", err, out)
	}
	all := map[string][]float64{}
	var names []string
	for _, m := range benchLine.FindAllStringSubmatch(string(out), -1) {
		ns, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, err
		}
		if all[m[1]] == nil {
			names = append(names, m[1])
		}
		all[m[1]] = append(all[m[1]], ns)
	}
	var list []read
	for _, name := range names {
		list = append(list, read{strings.ReplaceAll(name, "_", " "), median(all[name])})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no benchmark of config ran:\n%s", out)
	}
	return list, nil
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return quantile(v, 0.5)
}
