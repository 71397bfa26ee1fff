//go:build !linux

package main

import "time"

func exact() (free func()) { return func() {} }

// pause may end late by what the system's timers are coarse.
func pause(d time.Duration) { time.Sleep(d) }
