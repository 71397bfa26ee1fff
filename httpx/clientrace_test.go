//go:build race

package httpx_test

const raceEnabled = true // sync.Pool forgets on purpose, and what escapes differs
