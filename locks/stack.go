package locks

import (
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
)

// stack is where a goroutine was, innermost first.
type stack []uintptr

// callers returns the stack of its caller's caller, and so on with skip.
func callers(skip int) stack {
	var pcs [32]uintptr
	n := runtime.Callers(skip+1, pcs[:])
	return append(stack(nil), pcs[:n]...)
}

// own is how the names of this package's functions begin.
var own = reflect.TypeFor[Mutex]().PkgPath() + "."

// frames calls fn for each frame outside the locks themselves until it returns false.
func (s stack) frames(fn func(runtime.Frame) bool) {
	if len(s) == 0 {
		return
	}
	all := runtime.CallersFrames(s)
	inside := true
	for {
		f, more := all.Next()
		inside = inside && (strings.HasPrefix(f.Function, own) || strings.HasPrefix(f.Function, "sync."))
		if !inside && !fn(f) || !more {
			return
		}
	}
}

// site is the first place outside the locks: folder/file:line.
func (s stack) site() string {
	site := "unknown"
	s.frames(func(f runtime.Frame) bool {
		site = filepath.Base(filepath.Dir(f.File)) + "/" + filepath.Base(f.File) + ":" + strconv.Itoa(f.Line)
		return false
	})
	return site
}

// String is the stack as a panic shows it.
func (s stack) String() string {
	var b strings.Builder
	s.frames(func(f runtime.Frame) bool {
		b.WriteString(f.Function + "\n\t" + f.File + ":" + strconv.Itoa(f.Line) + "\n")
		return true
	})
	return b.String()
}

// goroutineID returns the number of the calling goroutine. There is no other way to
// ask than to read the heading of its stack trace, "goroutine 7 [running]:",
// which takes microseconds; so only checked locks do.
func goroutineID() uint64 {
	var buf [40]byte
	text := buf[:runtime.Stack(buf[:], false)]
	const lead = len("goroutine ")
	var id uint64
	for _, b := range text[min(lead, len(text)):] {
		if b < '0' || b > '9' {
			break
		}
		id = id*10 + uint64(b-'0')
	}
	return id
}
