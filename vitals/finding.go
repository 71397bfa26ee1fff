package vitals

import "time"

// The kinds of findings.
const (
	Goroutines  = "goroutines"  // a group of goroutines grows and none of it leaves
	Heap        = "heap"        // what is alive after a collection grows
	Descriptors = "descriptors" // open files and sockets grow
	Timers      = "timers"      // timers that somebody holds grow
	GC          = "gc"          // the collector takes too much or pauses too long
	Scheduler   = "scheduler"   // goroutines that could run wait for a processor
	Mutex       = "mutex"       // goroutines wait for locks
	Stack       = "stack"       // stacks grow
)

// The states of a finding.
const (
	Open   = "open"
	Closed = "closed"
)

// What Finding.Method says.
const (
	ByLeakProfile = "leak profile" // the runtime proved that nothing can wake them
	ByGrowth      = "growth"       // they grew for a while
	ByLevel       = "level"        // a limit was passed for most of a minute
)

// Finding is one thing that is wrong with this process. It is plain data, without any
// value of the program.
type Finding struct {
	ID    string    `json:"id"`    // no other of this process has it
	Kind  string    `json:"kind"`  // one of the kinds above
	State string    `json:"state"` // Open or Closed
	Since time.Time `json:"since"` // when it opened
	At    time.Time `json:"at"`    // when the figures were taken

	Value     float64 `json:"value"`           // now, in Unit, of the whole process
	Before    float64 `json:"before"`          // when it was well
	PerMinute float64 `json:"perMinute"`       // how fast it grows; 0 for a level
	Limit     float64 `json:"limit,omitempty"` // where it ends, such as the limit of descriptors; 0 if not known
	Unit      string  `json:"unit"`            // "goroutines", "bytes", "descriptors", "timers", "s", "share" (of 1) or "s/s"

	// Of Goroutines: how many more of the group there are than when it was well,
	// who created them where, where they are blocked, on what, and for how long
	// the oldest (in whole minutes). Heap has in Created the place that
	// allocated most of the growth, and in Count how many more objects.
	Count   int           `json:"count,omitempty"`
	Created string        `json:"created,omitempty"` // "order/outbox.go:88"
	Creator string        `json:"creator,omitempty"` // "order.(*Outbox).Flush"
	Blocked string        `json:"blocked,omitempty"` // "order/outbox.go:91"
	Wait    string        `json:"wait,omitempty"`    // as the runtime says it: "chan send"
	WaitFor time.Duration `json:"waitNs,omitempty"`

	Method  string `json:"method"`            // ByLeakProfile, ByGrowth or ByLevel
	Version string `json:"version,omitempty"` // of the program
	TraceID string `json:"traceId,omitempty"` // of a request that left one of them behind
	Text    string `json:"text"`              // all of it in a sentence
	TextZh  string `json:"textZh"`            // in Chinese

	Groups []Group `json:"groups,omitempty"` // of Goroutines: the groups that grew most, 5 at most
	Sites  []Site  `json:"sites,omitempty"`  // of Heap and Mutex: where most of it comes from, 5 at most
}

// Group is goroutines that run one function and are blocked at one place.
type Group struct {
	Function string        `json:"function"` // given to go: "order.(*Outbox).Flush.func1"
	Blocked  string        `json:"blocked"`
	Created  string        `json:"created,omitempty"`
	Creator  string        `json:"creator,omitempty"`
	Wait     string        `json:"wait,omitempty"`
	WaitFor  time.Duration `json:"waitNs,omitempty"`
	Name     string        `json:"name,omitempty"` // given to safe.Go
	TraceID  string        `json:"traceId,omitempty"`
	Count    int           `json:"count"`
	Before   int           `json:"before"`

	// Connection says that it waits for what others send: it reads from the
	// network, or serves a connection that does.
	Connection bool    `json:"connection,omitempty"`
	IDs        []int64 `json:"-"` // of the goroutines, in order, if a dump was taken

	full    string // Function in full
	started string // where it begins
}

func (g *Group) key() string { return g.Function + "@" + g.Blocked }

// Site is a place that allocates memory, or that others wait for.
type Site struct {
	Place    string  `json:"place"`    // "order/cache.go:31"
	Function string  `json:"function"` // "order.(*Cache).Put"
	Value    float64 `json:"value"`    // bytes in use, or seconds waited
	Before   float64 `json:"before"`
	Count    int64   `json:"count"` // objects in use, or waits
}

// Sample is one beat: a few numbers of the process.
type Sample struct {
	Goroutines      int           `json:"goroutines"`
	LiveHeap        int64         `json:"liveHeap"`              // bytes that the last collection found alive
	GCs             uint64        `json:"gcs"`                   // collections so far
	GCShare         float64       `json:"gcShare"`               // of the processors' time since the sample before, as of the last collection
	GCPause         time.Duration `json:"gcPauseNs"`             // 99th percentile since the sample before; 0 means there was none
	SchedWait       time.Duration `json:"schedWaitNs"`           // likewise
	MutexWait       time.Duration `json:"mutexWaitNs"`           // in all so far
	Stack           int64         `json:"stack"`                 // bytes
	Descriptors     int           `json:"descriptors,omitempty"` // open; 0 means not known
	DescriptorLimit int           `json:"descriptorLimit,omitempty"`
}

// Want is what a Judge needs to see, as bits.
type Want uint8

// What a Judge may want.
const (
	WantGroups Want = 1 << iota // the goroutines by group, cheaply: no ids, no wait reasons
	WantStacks                  // with ids, creators and wait reasons; the world stands still for it
	WantLeaks                   // what the runtime's leak profile proves, if it has one
	WantHeap                    // what is in use by where it was allocated
	WantLocks                   // what is waited for
)

// Profile answers a Want. What was not asked for, or cannot be had, is nil.
type Profile struct {
	Groups []Group
	Stacks bool // Groups have ids
	Leaks  []Group
	Heap   []Site
	Timers int
	Locks  []Site
	Cost   time.Duration // what taking it took
}

// Verdict is what a Judge makes of a sample.
type Verdict struct {
	Want   Want      // to be answered by Look, in this beat
	Armed  bool      // there is a suspicion about goroutines
	Report []Finding // to be told now: opened, held for another 30s, closed
}
