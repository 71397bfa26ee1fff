// Package stacks reads the runtime's text about goroutines: where each was
// created, where it stands and what it waits for.
//
//	dump, _ := stacks.Dump(64 << 20)
//	for _, g := range stacks.Groups(stacks.Parse(dump)) {
//		fmt.Println(g.Count, g.Created.Site(), g.Blocked().Site(), g.Wait)
//	}
//
// Arguments and addresses are left out while reading, so that nothing made of
// what comes out can carry a value of the program; labels are the exception,
// and are the program's own words. Text that is cut short, or that a later Go
// writes otherwise, gives fewer goroutines, never an error or a panic.
//
// It decides nothing: packages vitals and vitalstest do.
package stacks

import (
	"cmp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Frame is one call on a stack.
type Frame struct {
	Func string // with the import path, without arguments: "shop/order.(*Outbox).send"
	File string // as the compiler wrote it
	Line int
}

// Site is the frame's place in a line of text: the last two elements of the
// file's path, and the line. Without a file it is Func.
func (f Frame) Site() string {
	if f.File == "" {
		return f.Func
	}
	file := f.File
	if i := strings.LastIndexByte(file, '/'); i > 0 {
		file = file[strings.LastIndexByte(file[:i], '/')+1:]
	}
	return file + ":" + strconv.Itoa(f.Line)
}

// Package is the import path of the frame's function.
func (f Frame) Package() string {
	slash := strings.LastIndexByte(f.Func, '/') + 1
	if dot := strings.IndexByte(f.Func[slash:], '.'); dot >= 0 {
		return f.Func[:slash+dot]
	}
	return f.Func
}

// Standard tells whether the frame is in the standard library, by its import
// path: the first element is one that Go keeps for itself.
func (f Frame) Standard() bool {
	first, _, _ := strings.Cut(f.Package(), "/")
	_, ok := slices.BinarySearch(reserved[:], first)
	return ok
}

// reserved are the first elements of the standard library's import paths, in
// order (`go list std`); vendor is what it carries of others.
var reserved = [...]string{
	"archive", "bufio", "bytes", "cmp", "compress", "container", "context", "crypto", "database", "debug", "embed",
	"encoding", "errors", "expvar", "flag", "fmt", "go", "hash", "html", "image", "index", "internal", "io", "iter",
	"log", "maps", "math", "mime", "net", "os", "path", "plugin", "reflect", "regexp", "runtime", "slices", "sort",
	"strconv", "strings", "structs", "sync", "syscall", "testing", "text", "time", "unicode", "unique", "unsafe",
	"vendor", "weak",
}

// Goroutine is one goroutine as a dump shows it.
type Goroutine struct {
	ID, Parent int64  // Parent created it; 0 if the dump does not say
	Wait       string // the wait reason, such as "chan send", or the state, such as "running"
	Minutes    int    // for how long; 0 means less than one, or not known
	Locked     bool   // to its thread
	Durable    bool   // blocked durably, in the sense of testing/synctest
	Leaked     bool   // the collector found that nothing can ever wake it
	Bubble     int    // the testing/synctest bubble it is in; 0 means none
	Labels     map[string]string
	// Frames are its calls, the innermost first, without the runtime's own; the
	// last is the function given to go. A very deep stack lacks its middle.
	Frames  []Frame
	Created Frame // the go statement; the zero Frame for main and the runtime's own
}

// Leaf is the innermost call, mostly in the standard library.
func (g Goroutine) Leaf() Frame {
	if len(g.Frames) == 0 {
		return Frame{}
	}
	return g.Frames[0]
}

// Entry is the function given to go.
func (g Goroutine) Entry() Frame {
	if len(g.Frames) == 0 {
		return Frame{}
	}
	return g.Frames[len(g.Frames)-1]
}

// Blocked is where it stands in words of the program: the innermost call that
// is not in the standard library, or the leaf if all are.
func (g Goroutine) Blocked() Frame {
	for _, f := range g.Frames {
		if !f.Standard() {
			return f
		}
	}
	return g.Leaf()
}

// Origin is what to look for in the program: Created, or, where that is only a
// helper that starts what it is given, such as sync.WaitGroup.Go, the function
// given to it. Its line is then where that function stands.
func (g Goroutine) Origin() Frame {
	if !starters[g.Created.Func] {
		return g.Created
	}
	for _, f := range slices.Backward(g.Frames) {
		if f.Package() != g.Created.Package() && !f.Standard() {
			return f
		}
	}
	return g.Created
}

// starters start the function they are given, and nothing else.
var starters = map[string]bool{
	"sync.(*WaitGroup).Go":                      true,
	"time.goFunc":                               true, // time.AfterFunc
	"context.(*afterFuncCtx).cancel.func1":      true,
	"golang.org/x/sync/errgroup.(*Group).Go":    true,
	"golang.org/x/sync/errgroup.(*Group).TryGo": true,
	"github.com/surefoot-go/surefoot/safe.Go":   true,
}

// Key is the same for the same stack, from a dump or from a profile.
func (g Goroutine) Key() string { return key(g.Frames) }

// Group is the goroutines of a dump that have all of Wait, Frames, Created and
// Labels in common.
type Group struct {
	Goroutine     // the one of them that waits longest
	Count     int // how many they are
}

// Groups puts gs together, the largest group first.
func Groups(gs []Goroutine) []Group {
	at := map[string]int{}
	var groups []Group
	for _, g := range gs {
		k := key(g.Frames) + "\n" + g.Wait + "\n" + g.Created.File + ":" + strconv.Itoa(g.Created.Line) + "\n" + labels(g.Labels)
		i, ok := at[k]
		if !ok {
			at[k] = len(groups)
			groups = append(groups, Group{g, 1})
			continue
		}
		groups[i].Count++
		if g.Minutes > groups[i].Minutes {
			groups[i].Goroutine = g
		}
	}
	slices.SortStableFunc(groups, func(a, b Group) int { return cmp.Compare(b.Count, a.Count) })
	return groups
}

// Sample is the goroutines of a goroutine profile with one stack and the same
// labels. A profile costs the program less than a dump and has labels, but
// says neither who created a goroutine nor what it waits for.
type Sample struct {
	Count  int
	Labels map[string]string
	Frames []Frame // as in Goroutine
}

// Key is the same for the same stack, from a dump or from a profile.
func (s Sample) Key() string { return key(s.Frames) }

// depth is how many calls tell stacks apart: dumps leave out what is deeper
// than 50 from either end.
const depth = 40

// key leaves out what is exported of package runtime, too: of that, dumps and
// profiles do not show the same.
func key(frames []Frame) string {
	var b strings.Builder
	n := 0
	for _, f := range frames {
		if strings.HasPrefix(f.Func, "runtime.") || strings.HasPrefix(f.Func, "internal/runtime/") {
			continue
		}
		if n++; n > depth {
			break
		}
		b.WriteString(f.Func)
		b.WriteByte('@')
		b.WriteString(f.File)
		b.WriteByte(':')
		b.WriteString(strconv.Itoa(f.Line))
		b.WriteByte(' ')
	}
	return b.String()
}

func labels(m map[string]string) string {
	if len(m) == 0 {
		return ""
	}
	words := make([]string, 0, len(m))
	for k, v := range m {
		words = append(words, strconv.Quote(k)+":"+strconv.Quote(v))
	}
	slices.Sort(words)
	return strings.Join(words, ",")
}

// Dump is the text of runtime.Stack for all goroutines. If it takes more than
// limit bytes, the rest is missing and cut is true. The world stands still
// meanwhile: about 3ms for 1000 goroutines.
func Dump(limit int) (text []byte, cut bool) {
	size := 64 << 10
	for {
		size = min(size, limit)
		text = make([]byte, size)
		n := runtime.Stack(text, true)
		if n < size {
			return text[:n], false
		}
		if size == limit {
			return text, true
		}
		size *= 4
	}
}
