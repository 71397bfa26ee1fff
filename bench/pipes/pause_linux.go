package main

import (
	"runtime"
	"syscall"
	"time"
)

// exact keeps this goroutine on a thread whose pauses end on time: the kernel
// may otherwise let one sleep 50 µs longer, and Go's timers a millisecond.
func exact() (free func()) {
	const setTimerSlack = 29
	runtime.LockOSThread()
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, 1, 0)
	return runtime.UnlockOSThread
}

func pause(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil)
}
