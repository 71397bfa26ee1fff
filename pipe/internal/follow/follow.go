// Package follow keeps what was read from files up to date: a stat when it is
// asked for, at most so often, and a reading when a file changed.
//
//	certs := follow.Files[tls.Certificate]{Paths: []string{"cert.pem", "key.pem"}, Load: load, Tell: warn}
//	cert, err := certs.Get()
//
// It starts no goroutine: files that nobody asks for are not looked at.
package follow

import (
	"os"
	"sync"
	"time"
)

// Files is a value read from files. What cannot be read keeps the value before
// it, and is tried again: what was wrong need not be the content. Safe for concurrent use; it must not be copied after the first Get.
type Files[T any] struct {
	Paths []string
	Load  func() (T, error) // reads the files; one call at a time
	Every time.Duration     // they are looked at at most this often; 0 means 1s, negative each time
	Tell  func(error)       // of a change that could not be read, once for each and each reason; nil means nobody

	mu     sync.Mutex
	value  T
	have   bool
	stamps []os.FileInfo
	bad    string // why the files, as they are, cannot be used; empty if they can
	looked time.Time
}

// Get returns the value. It fails only while there has never been a good one.
func (f *Files[T]) Get() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	every := f.Every
	if every == 0 {
		every = time.Second
	}
	now := time.Now()
	if f.have && now.Sub(f.looked) < every {
		return f.value, nil
	}
	f.looked = now
	stamps, err := stat(f.Paths) // before reading, so that a change in between is seen next time
	if f.have && err == nil && f.bad == "" && same(stamps, f.stamps) {
		return f.value, nil
	}
	var value T
	if err == nil {
		value, err = f.Load()
	}
	if err == nil {
		f.value, f.have, f.stamps, f.bad = value, true, stamps, ""
		return f.value, nil
	}
	told := f.bad == err.Error() && same(stamps, f.stamps)
	f.stamps, f.bad = stamps, err.Error()
	if f.have {
		if !told && f.Tell != nil {
			f.Tell(err)
		}
		return f.value, nil
	}
	return f.value, err
}

func stat(paths []string) ([]os.FileInfo, error) {
	out := make([]os.FileInfo, len(paths))
	for i, p := range paths {
		var err error
		if out[i], err = os.Stat(p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func same(a, b []os.FileInfo) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}
