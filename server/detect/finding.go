package detect

// Metrics of symptoms that a service has found in itself: see package vitals.
const (
	GoroutineLeak    = "goroutine_leak"    // goroutines
	HeapGrowth       = "heap_growth"       // bytes in use after collection
	DescriptorLeak   = "descriptor_leak"   // open files and sockets
	TimerGrowth      = "timer_growth"      // timers
	GCPressure       = "gc_pressure"       // seconds of pauses
	SchedulerLatency = "scheduler_latency" // seconds a goroutine that could run waits
	LockContention   = "lock_contention"   // seconds waited for locks
	StackGrowth      = "stack_growth"      // bytes of stacks
	LockProblem      = "lock_problem"      // uses of a lock that can end in a deadlock, or hold it too long
	PipeRefusal      = "pipe_refusal"      // connections and messages refused
	OtherFinding     = "finding"           // none of these
)

// Finding is what a service says about a symptom of its own. Texts come from
// the service: escape them where they are shown.
type Finding struct {
	Version   string `json:"version"`   // where it was seen first
	Instance  string `json:"instance"`  // where it is worst
	Instances int    `json:"instances"` // how many have it
	Text      string `json:"text"`      // one sentence
	TextZh    string `json:"textZh"`
	TraceID   string `json:"traceId"` // an example; may be empty
	Unit      string `json:"unit"`    // of Value and Baseline: count, bytes, seconds or share
	Created   string `json:"created"` // file:line; may be empty
	Method    string `json:"method"`  // how it was found; may be empty
	Near      bool   `json:"near"`    // a limit is nearly reached
}

// Found tells whether s is a finding of the service itself: it says what is
// wrong inside, and not that anybody has felt it.
func (s Symptom) Found() bool { return s.Metric != ErrorShare && s.Metric != LatencyP99 }

// complaints are the metrics of findings in the order in which they explain
// each other: leaked goroutines hold memory, not the other way round.
var complaints = [...]struct{ metric, en, zh string }{
	{LockProblem, "has trouble with a lock", "锁使用异常"}, // it may leave goroutines waiting
	{GoroutineLeak, "leaks goroutines", "协程泄漏"},
	{LockContention, "waits for its own locks", "锁竞争严重"},
	{DescriptorLeak, "leaks file descriptors", "文件描述符泄漏"},
	{TimerGrowth, "gathers timers", "定时器不断增多"},
	{HeapGrowth, "uses more and more memory", "堆内存持续增长"},
	{StackGrowth, "uses more and more stack memory", "栈内存持续增长"},
	{GCPressure, "spends its time collecting garbage", "GC 压力过大"},
	{SchedulerLatency, "waits for a processor", "调度延迟过高"},
	{PipeRefusal, "refuses what comes through its pipe", "pipe 拒绝了外来消息"},
	{OtherFinding, "reports a fault of its own", "报告自身异常"},
}

// Complaint says in a few words what a finding's metric means, to stand behind
// the service's name.
func Complaint(metric string) (en, zh string) {
	c := complaints[order(metric)]
	return c.en, c.zh
}

// Deeper tells whether a finding of metric a explains one of metric b rather
// than the other way round.
func Deeper(a, b string) bool { return order(a) < order(b) }

func order(metric string) int {
	for i, c := range complaints {
		if c.metric == metric {
			return i
		}
	}
	return len(complaints) - 1
}
