//go:build unix

package main

import (
	"syscall"
	"time"
)

// raise lets this process open n files, if it may, and returns how many it can.
func raise(n uint64) int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	if l.Cur < n {
		more := syscall.Rlimit{Cur: n, Max: max(n, l.Max)}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &more) != nil {
			more = syscall.Rlimit{Cur: l.Max, Max: l.Max}
			_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &more) // what holds is read below
		}
		_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	}
	return int(l.Cur)
}

// used is the processors' time this process has taken so far.
func used() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
