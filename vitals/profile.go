package vitals

import (
	"bytes"
	"math"
	"regexp"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/internal/stacks"
)

const (
	// dumpLimit and dumpMost bound how long the world stands still for a dump: 3
	// to 7ms for 1000 goroutines (see internal/stacks), so 70ms at most.
	dumpLimit = 32 << 20
	dumpMost  = 10_000
	dumpEach  = 2 << 10 // bytes for each, about twice what they mostly take
	// siteMost is how many sites of the heap are kept, the largest.
	siteMost = 500
)

// taker takes profiles. It reuses its memory.
type taker struct {
	text   bytes.Buffer
	leaks  *pprof.Profile
	timers int
}

func newTaker() *taker { return &taker{leaks: pprof.Lookup("goroutineleak")} }

// take answers want.
func (t *taker) take(want Want) Profile {
	start := time.Now()
	var p Profile
	if want&(WantGroups|WantStacks) != 0 {
		p.Groups = t.profile(pprof.Lookup("goroutine"))
	}
	if want&WantLeaks != 0 && t.leaks != nil {
		p.Leaks = slices.DeleteFunc(t.profile(t.leaks), func(g Group) bool { return g.Count < fewest })
	}
	if (want&WantStacks != 0 || len(p.Leaks) > 0) && runtime.NumGoroutine() <= dumpMost {
		text := make([]byte, min(dumpLimit, dumpEach*(runtime.NumGoroutine()+100)))
		gs := stacks.Parse(text[:runtime.Stack(text, true)]) // in one go: each try stops the world
		join(p.Groups, gs)
		join(p.Leaks, gs)
		p.Stacks = want&WantStacks != 0
	}
	if want&WantHeap != 0 {
		p.Heap, p.Timers = heap()
		t.timers = p.Timers
	}
	if want&WantLocks != 0 {
		p.Locks = contended()
	}
	if cap(p.Groups) > 0 && t.text.Cap() > 1<<20 {
		t.text = bytes.Buffer{}
	}
	p.Cost = time.Since(start)
	return p
}

// profile reads a profile of goroutines by group.
func (t *taker) profile(p *pprof.Profile) []Group {
	t.text.Reset()
	if p == nil || p.WriteTo(&t.text, 1) != nil {
		return nil
	}
	at := map[string]int{}
	groups := []Group{}
	for _, s := range stacks.ParseProfile(t.text.Bytes()) {
		g, wrapped := group(s.Frames)
		g.Count, g.Name, g.TraceID = s.Count, s.Labels[labelName], s.Labels[labelTrace]
		i, ok := at[g.key()]
		if !ok {
			i = len(groups)
			at[g.key()] = i
			groups = append(groups, g)
			groups[i].Count = 0
			if wrapped {
				groups[i].Created = "?" // below, if it is worth it
			}
		}
		groups[i].Count += g.Count
		if groups[i].TraceID == "" {
			groups[i].TraceID = g.TraceID
		}
	}
	for i := range groups {
		g := &groups[i]
		wrapped := g.Created == "?"
		g.Created = ""
		if g.Count < fewest || g.Connection {
			continue
		}
		g.started = start(t.text.Bytes(), g.full)
		if wrapped {
			g.Created, g.Creator = g.started, creator(g.full)
		}
	}
	return groups
}

// join adds what only a dump knows.
func join(groups []Group, gs []stacks.Goroutine) {
	at := map[string]*Group{}
	for i := range groups {
		at[groups[i].key()] = &groups[i]
	}
	for _, one := range gs {
		g, wrapped := group(one.Frames)
		to := at[g.key()]
		if to == nil || to.Connection || to.Count < fewest {
			continue
		}
		to.IDs = append(to.IDs, one.ID)
		if d := time.Duration(one.Minutes) * time.Minute; d >= to.WaitFor || to.Wait == "" {
			to.WaitFor, to.Wait = d, one.Wait
			switch one.Created.Func {
			case "":
			case "time.goFunc", "context.(*afterFuncCtx).cancel": // AfterFunc: what was given to it says more
				to.Created, to.Creator = to.started, creator(to.full)
			default:
				if wrapped {
					continue
				}
				to.Created, to.Creator = one.Created.Site(), creator(one.Created.Func)
			}
		}
	}
	for _, g := range at {
		slices.Sort(g.IDs)
	}
}

// group is the group of one stack; wrapped says that something only started the
// function for another.
func group(frames []stacks.Frame) (g Group, wrapped bool) {
	if len(frames) == 0 {
		return Group{Function: "runtime", Connection: true}, false // its own business
	}
	own := len(frames) - 1
	for own > 0 && wrapper(frames[own].Func) {
		own--
	}
	if wrapper(frames[own].Func) {
		own = len(frames) - 1
	}
	g = Group{full: frames[own].Func, Function: short(frames[own].Func), Blocked: blocked(frames).Site(), Connection: connection(frames)}
	return g, own != len(frames)-1
}

const module = "github.com/surefoot-go/surefoot/"

// wrapper tells functions that run a goroutine for somebody else.
func wrapper(fn string) bool {
	for _, p := range [...]string{module + "safe.", module + "supervise.", "sync.(*WaitGroup).Go", "golang.org/x/sync/errgroup.", "runtime/pprof.Do"} {
		if strings.HasPrefix(fn, p) {
			return true
		}
	}
	return false
}

// blocked is the innermost call that is neither of the standard library nor of a
// room that waits for somebody else.
func blocked(frames []stacks.Frame) stacks.Frame {
	for _, f := range frames {
		if !f.Standard() && !strings.HasPrefix(f.Func, module+"locks.") && !wrapper(f.Func) {
			return f
		}
	}
	for _, f := range frames { // all is of the standard library
		switch p := f.Package(); p {
		case "net", "io", "bufio", "sync", "crypto/tls", "runtime":
		default:
			if !strings.HasPrefix(p, "internal/") {
				return f
			}
		}
	}
	return frames[0]
}

// dialled are calls of connections that this process opened itself: of those
// there should not be ever more.
var dialled = [...]string{
	"net/http.(*persistConn).", "net/http.(*http2ClientConn).", "net/http.(*http2clientConnReadLoop).",
	"golang.org/x/net/http2.(*ClientConn).", "golang.org/x/net/http2.(*clientConnReadLoop).",
	"google.golang.org/grpc/internal/transport.NewHTTP2Client", "google.golang.org/grpc/internal/transport.(*http2Client).",
}

// accepted are calls of goroutines that a server keeps for a connection, besides
// the one that reads from it.
var accepted = [...]string{
	"net/http.(*http2serverConn).serve", "golang.org/x/net/http2.(*serverConn).serve",
	"google.golang.org/grpc/internal/transport.NewServerTransport", "google.golang.org/grpc/internal/transport.(*http2Server).",
	"google.golang.org/grpc/internal/transport.(*recvBufferReader).read",
}

// connection says whether a goroutine waits for what others send: it reads from
// the network, or keeps a connection that others opened.
func connection(frames []stacks.Frame) bool {
	reads := false
	for _, f := range frames {
		for _, p := range dialled {
			if strings.HasPrefix(f.Func, p) {
				return false
			}
		}
		for _, p := range accepted {
			if f.Func == p || strings.HasPrefix(f.Func, p) && (p[len(p)-1] == '.' || strings.HasPrefix(f.Func[len(p):], ".")) {
				return true
			}
		}
		switch f.Func {
		case "internal/poll.(*pollDesc).waitRead", "internal/poll.(*FD).Read", "internal/poll.(*FD).ReadMsg", "internal/poll.(*FD).Accept":
			reads = true
		}
	}
	return reads
}

// short leaves out the folders of an import path.
func short(fn string) string { return fn[strings.LastIndexByte(fn, '/')+1:] }

var literal = regexp.MustCompile(`(\.func\d+|\.gowrap\d+|\.deferwrap\d+|\.\d+|-range\d+)+$`)

// creator is who wrote a function literal down.
func creator(fn string) string { return short(literal.ReplaceAllString(fn, "")) }

// start is where function fn begins, by its address in the text of a profile.
func start(text []byte, fn string) string {
	_, after, ok := bytes.Cut(text, []byte("\t"+fn+"+0x"))
	if !ok {
		return ""
	}
	before := text[:len(text)-len(after)-len(fn)-len("\t+0x")]
	i := bytes.LastIndex(before, []byte("\t0x"))
	if i < 0 {
		return ""
	}
	pc, err := strconv.ParseUint(string(bytes.TrimSpace(before[i+len("\t0x"):])), 16, 64)
	f := runtime.FuncForPC(uintptr(pc))
	if err != nil || f == nil {
		return ""
	}
	file, line := f.FileLine(f.Entry())
	return stacks.Frame{Func: fn, File: file, Line: line}.Site()
}

// site is the place of a stack that a person of the program knows: the innermost
// call outside the standard library.
func site(stk []uintptr) (place, fn string) {
	frames := runtime.CallersFrames(stk)
	for {
		f, more := frames.Next()
		s := stacks.Frame{Func: f.Function, File: f.File, Line: f.Line}
		if f.Function != "" && !s.Standard() && !strings.HasPrefix(f.Function, module+"locks.") {
			return s.Site(), short(f.Function)
		}
		if place == "" && !strings.HasPrefix(f.Function, "runtime.") {
			place, fn = s.Site(), short(f.Function)
		}
		if !more {
			return place, fn
		}
	}
}

// heap is what is in use as of the last collection but one, by the site that
// allocated it, and how many timers there are by that. Both are scaled up from a sample.
func heap() (sites []Site, timers int) {
	var records []runtime.MemProfileRecord
	n, ok := runtime.MemProfile(nil, false)
	for !ok {
		records = make([]runtime.MemProfileRecord, n+50)
		n, ok = runtime.MemProfile(records, false)
	}
	at := map[string]*Site{}
	for i := range records[:n] {
		r := &records[i]
		bytes, objects := scale(r.InUseBytes(), r.InUseObjects())
		if objects == 0 {
			continue
		}
		stk := r.Stack()
		if isTimer(stk) {
			timers += int(objects)
		}
		place, fn := site(stk)
		s := at[place]
		if s == nil {
			s = &Site{Place: place, Function: fn}
			at[place] = s
		}
		s.Value += bytes
		s.Count += int64(objects)
	}
	sites = make([]Site, 0, len(at))
	for _, s := range at {
		sites = append(sites, *s)
	}
	slices.SortFunc(sites, func(a, b Site) int { return int(b.Value/1024 - a.Value/1024) })
	return sites[:min(len(sites), siteMost)], timers
}

// scale makes an estimate of all from a sample of one in MemProfileRate bytes,
// as package runtime/pprof does.
func scale(bytes, objects int64) (float64, float64) {
	if objects <= 0 || bytes <= 0 {
		return 0, 0
	}
	rate := float64(runtime.MemProfileRate)
	if rate <= 1 {
		return float64(bytes), float64(objects)
	}
	each := float64(bytes) / float64(objects)
	f := 1 / (1 - math.Exp(-each/rate))
	return float64(bytes) * f, float64(objects) * f
}

// isTimer tells a stack that allocated a timer.
func isTimer(stk []uintptr) bool {
	frames := runtime.CallersFrames(stk[:min(len(stk), 6)])
	for {
		f, more := frames.Next()
		if f.Function == "time.newTimer" {
			return true
		}
		if !more || f.Function != "" && !strings.HasPrefix(f.Function, "runtime.") {
			return false
		}
	}
}

// contended is what the mutex profile has, by the site that released the lock.
func contended() []Site {
	var text bytes.Buffer
	p := pprof.Lookup("mutex")
	if p == nil || p.WriteTo(&text, 1) != nil {
		return nil
	}
	_, rest, _ := bytes.Cut(text.Bytes(), []byte("cycles/second="))
	hz, _, _ := bytes.Cut(rest, []byte("\n"))
	perSecond, err := strconv.ParseFloat(string(hz), 64)
	if err != nil || perSecond <= 0 {
		return nil
	}
	var records []runtime.BlockProfileRecord
	n, ok := runtime.MutexProfile(nil)
	for !ok {
		records = make([]runtime.BlockProfileRecord, n+50)
		n, ok = runtime.MutexProfile(records)
	}
	at := map[string]*Site{}
	sites := make([]Site, 0, n)
	for i := range records[:n] {
		place, fn := site(records[i].Stack())
		s := at[place]
		if s == nil {
			s = &Site{Place: place, Function: fn}
			at[place] = s
		}
		s.Value += float64(records[i].Cycles) / perSecond
		s.Count += records[i].Count
	}
	for _, s := range at {
		sites = append(sites, *s)
	}
	slices.SortFunc(sites, func(a, b Site) int { return int(1e6*b.Value - 1e6*a.Value) })
	return sites[:min(len(sites), 20)]
}
