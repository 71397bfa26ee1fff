//go:build !linux

package storetest

import "testing"

// SmallDisk mounts a file system of its own, in memory, of so many bytes, and
// returns its folder. It needs root on Linux and skips the test elsewhere.
func SmallDisk(t *testing.T, bytes string) string {
	t.Helper()
	t.Skip("SKIPPED: no small disk to fill: run as root on Linux to test a full disk")
	return ""
}

// Fill takes all the room that dir's disk has left and returns what gives it
// back.
func Fill(t *testing.T, dir string) (empty func()) {
	t.Helper()
	return func() {}
}
