package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// surroundings describes when and on what kind of machine a part is measured,
// without saying which.
func surroundings(now time.Time) string {
	text := fmt.Sprintf("Measured on %s: %s/%s, %d cores", now.UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		if n := kilobytes(string(b), "MemTotal"); n > 0 {
			text += fmt.Sprintf(", %.0f GB of memory", float64(n)/1e9)
		}
	}
	text += ", " + runtime.Version()
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 0 {
			text += ", load average " + f[0] + " before it began"
		}
	}
	return text + "."
}

// usage is the memory of some processes, in bytes; zero where the system does
// not tell.
type usage struct {
	rss int64 // what each can touch, added up: shared pages count again for each process
	pss int64 // what they cost the machine: shared pages count once
}

func (u usage) max(v usage) usage { return usage{max(u.rss, v.rss), max(u.pss, v.pss)} }

// memory adds up the processes' memory.
func memory(pids ...int) usage {
	var u usage
	for _, pid := range pids {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
			u.rss += kilobytes(string(b), "VmRSS")
		}
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid)); err == nil {
			u.pss += kilobytes(string(b), "Pss")
		}
	}
	return u
}

// family returns pid and the processes it started.
func family(pid int) []int {
	all := []int{pid}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil || parent(string(b)) != pid {
			continue // it ended meanwhile, or is another's
		}
		if child, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			all = append(all, child)
		}
	}
	return all
}
