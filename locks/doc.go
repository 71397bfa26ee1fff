// Package locks has the mutexes of package sync with a name: they count where
// goroutines wait for them, and, when asked, find deadlocks before they happen.
//
// A Mutex or RWMutex stands wherever one of package sync does; the zero value
// works. [Contended] tells which locks are waited for. [Check] turns checking on
// for the whole process, at any time; so does building with the tag lockcheck,
// from the start. Checked locks learn in which order they are taken and report
//
//   - two orders that can deadlock together, before they do, with both stacks,
//   - locks held, or waited for, longer than a limit, with the holder's stack,
//   - a goroutine that locks again what it holds, for reading too where a
//     writer may come between,
//   - on request, a lock that is unlocked by another goroutine.
//
// Guarded keeps a value that cannot be reached without its lock.
//
//	type Cart struct {
//		mu    locks.Mutex // or locks.Mutex{Name: "cart"}
//		items []Item
//	}
//
//	stop := locks.Check(locks.Checks{Order: true, Report: func(p locks.Problem) {
//		slog.Error(p.Text)
//	}})
//	defer stop()
//
// It starts no goroutine. It does not find deadlocks by channels or WaitGroups,
// does not break a deadlock, and is not for tests of data races: use go test -race.
package locks
