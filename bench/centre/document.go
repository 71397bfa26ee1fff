package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"
)

// document is docs/centre.md.
func document(begun time.Time, took time.Duration, p plan, all figures) string {
	var b strings.Builder
	w := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	goal := func(met bool) string {
		if met {
			return "met"
		}
		return "**missed**"
	}
	w("# The registry and the config centre in numbers")
	w("")
	w("Written by `go run ./bench/centre`, never by hand. The store is the control plane's own etcd, with its disk, in the process that")
	w("measures; clients are processes of their own on the same two cores. Beside ours is go-zero's `core/discov` on the same")
	w("instances in its own layout. kratos' `contrib/registry/etcd` and `contrib/config/etcd` could not be had from the module proxy used")
	w("here, so they are not beside us.")
	w("")
	w("**中文摘要：** 本文由程序生成。存储为控制平面内嵌的 etcd，客户端为独立进程，全部在同一台双核机器上；对照为 go-zero 的 `core/discov`。")
	w("测量内容：一次配置变更到达全部进程的耗时、单个客户端跟踪大量实例的内存与 CPU、同时注册风暴、读取一个配置的耗时。")
	w("")
	w("Measured on %s in %s: %s/%s, %d cores, %s.", begun.UTC().Format(time.DateOnly), took.Round(time.Second), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), strings.TrimPrefix(runtime.Version(), ""))
	w("")
	w("## A change, until %d processes run it", p.processes)
	w("")
	ms := all.applied.ms
	p99 := quantile(ms, 0.99)
	w("%d changes, from just before the write to the callback in each process: %d measurements, none lost, all in order.", p.changes, len(ms))
	w("")
	w("| median | p99 | longest | goal for p99 | |")
	w("|---|---|---|---|---|")
	w("| %.1f ms | %.1f ms | %.1f ms | < 200 ms | %s |", quantile(ms, 0.5), p99, quantile(ms, 1), goal(p99 < 200))
	w("")
	w("## One client that follows %d instances of %d services", p.services*p.each, p.services)
	w("")
	w("Memory is what was added to the process: live heap after two collections, and resident. The processor time is of %s in which", p.idle)
	w("nothing changes, and of %d changes. Ours keeps version, zone, weight and labels of each instance and a balancer for each service;", p.updates)
	w("go-zero keeps addresses.")
	w("")
	w("| | all known after | heap | resident | goroutines | CPU idle | CPU of a change |")
	w("|---|---|---|---|---|---|---|")
	for _, r := range []struct {
		name string
		f    watched
	}{{"surefoot", all.ours}, {"go-zero", all.zero}} {
		w("| %s | %.2f s | %.1f MB | %.1f MB | %.0f | %.1f %% | %.2f ms |", r.name, r.f.known, r.f.heap, r.f.resident, r.f.goroutines,
			100*r.f.idleCPU/p.idle.Seconds(), 1000*r.f.updateCPU/float64(p.updates))
	}
	w("")
	w("Ours takes %.1f times the heap and %.1f times the processor time of a change: what it keeps and checks has its price.", all.ours.heap/all.zero.heap, all.ours.updateCPU/all.zero.updateCPU)
	w("")
	w("## %d registrations at once", p.storm)
	w("")
	w("From one process, until all are in the store, each on a lease of its own; median of %d, ours and go-zero's by turns. The processor time is", p.reps)
	w("that of clients and store together. Ours reads each key back before it says that it can be seen.")
	w("")
	w("| | until all are there | CPU |")
	w("|---|---|---|")
	for _, r := range []struct{ name, who string }{{"surefoot", "ours"}, {"go-zero", "zero"}} {
		var s, c []float64
		for _, x := range all.storms[r.who] {
			s, c = append(s, x.seconds), append(c, x.cpu)
		}
		w("| %s | %.2f s | %.2f s |", r.name, median(s), median(c))
	}
	w("")
	w("## Reading a setting")
	w("")
	if len(all.reads) == 0 {
		w("Left out.")
		return b.String()
	}
	w("`go test ./config -run '^$' -bench 'Get|Read'`, medians of five; `Read` runs on all cores at once, divided by them. The goal is under 2 ns")
	w("and no allocation, which a test asserts.")
	w("")
	w("| | ns | |")
	w("|---|---|---|")
	for _, r := range all.reads {
		verdict := goal(r.ns < 2)
		if strings.Contains(r.name, "RWMutex") {
			verdict = "for scale"
		}
		w("| %s | %.2f | %s |", r.name, r.ns, verdict)
	}
	return b.String()
}
