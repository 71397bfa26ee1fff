package vitals

import (
	"bytes"
	"math"
	"os"
	"runtime/metrics"
	"strconv"
	"time"
)

// What is read each beat; the order is that of reader.samples.
const (
	rGoroutines = iota
	rLive
	rCycles
	rPauses
	rLatencies
	rMutex
	rStack
	rGC
	rGCIdle
	rCPU
	rCount
)

var read = [rCount]string{
	rGoroutines: "/sched/goroutines:goroutines",
	rLive:       "/gc/heap/live:bytes",
	rCycles:     "/gc/cycles/total:gc-cycles",
	rPauses:     "/sched/pauses/total/gc:seconds",
	rLatencies:  "/sched/latencies:seconds",
	rMutex:      "/sync/mutex/wait/total:seconds",
	rStack:      "/memory/classes/heap/stacks:bytes",
	rGC:         "/cpu/classes/gc/total:cpu-seconds",
	rGCIdle:     "/cpu/classes/gc/mark/idle:cpu-seconds", // on processors that had nothing to do
	rCPU:        "/cpu/classes/total:cpu-seconds",
}

// reader reads the runtime's counters, none of which stops the world.
type reader struct {
	samples           [rCount]metrics.Sample
	pauses, latencies []uint64 // at the beat before
	gc, cpu           float64
	limit             int // of descriptors
	descriptors       int
	beats             int
}

func newReader() *reader {
	r := &reader{limit: descriptorLimit()}
	for i, name := range read {
		r.samples[i].Name = name
	}
	r.read() // what was before is not of the first beat
	return r
}

func (r *reader) read() Sample {
	metrics.Read(r.samples[:])
	s := Sample{
		Goroutines:      int(r.integer(rGoroutines)),
		LiveHeap:        int64(r.integer(rLive)),
		GCs:             r.integer(rCycles),
		Stack:           int64(r.integer(rStack)),
		MutexWait:       time.Duration(r.float(rMutex) * float64(time.Second)),
		GCPause:         r.quantile(rPauses, &r.pauses),
		SchedWait:       r.quantile(rLatencies, &r.latencies),
		DescriptorLimit: r.limit,
	}
	gc, cpu := r.float(rGC)-r.float(rGCIdle), r.float(rCPU)
	if d := cpu - r.cpu; d > 0 {
		s.GCShare = max(0, (gc-r.gc)/d)
	}
	r.gc, r.cpu = gc, cpu
	s.Descriptors = r.open()
	r.beats++
	return s
}

func (r *reader) integer(i int) uint64 {
	if r.samples[i].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return r.samples[i].Value.Uint64()
}

func (r *reader) float(i int) float64 {
	if r.samples[i].Value.Kind() != metrics.KindFloat64 {
		return 0
	}
	return r.samples[i].Value.Float64()
}

// quantile is the 99th percentile of what a histogram got since before, which
// it brings up to date.
func (r *reader) quantile(i int, before *[]uint64) time.Duration {
	if r.samples[i].Value.Kind() != metrics.KindFloat64Histogram {
		return 0
	}
	h := r.samples[i].Value.Float64Histogram()
	if len(*before) != len(h.Counts) {
		*before = make([]uint64, len(h.Counts))
	}
	var total uint64
	for i, n := range h.Counts {
		total += n - (*before)[i]
	}
	left := total / 100 // that may be above
	at := -1
	for i := len(h.Counts) - 1; i >= 0; i-- {
		n := h.Counts[i] - (*before)[i]
		if n > left {
			at = i
			break
		}
		left -= n
	}
	copy(*before, h.Counts)
	if at < 0 {
		return 0
	}
	edge := h.Buckets[at] // the lower one, so that a finding is never too much said
	if math.IsInf(edge, 0) || edge < 0 {
		edge = 0
	}
	return time.Duration(edge * float64(time.Second))
}

// open counts descriptors; 0 where there is no /proc. Linux has told their
// number as the size of the folder since 6.2; before that they have to be
// listed, which is done each 15 beats.
func (r *reader) open() int {
	const folder = "/proc/self/fd"
	st, err := os.Stat(folder)
	if err != nil {
		return 0
	}
	if st.Size() > 0 {
		return int(st.Size())
	}
	if r.beats%15 != 0 {
		return r.descriptors
	}
	r.descriptors = 0
	dir, err := os.Open(folder)
	if err != nil {
		return 0
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1024)
		r.descriptors += len(names)
		if err != nil || len(names) == 0 {
			return r.descriptors - 1 // without dir itself
		}
	}
}

// descriptorLimit is the soft limit of open files; 0 if it is not known.
func descriptorLimit() int {
	text, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("Max open files")); ok {
			if words := bytes.Fields(rest); len(words) > 0 {
				n, _ := strconv.Atoi(string(words[0])) // 0 for "unlimited"
				return n
			}
		}
	}
	return 0
}
