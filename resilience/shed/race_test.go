//go:build race

package shed_test

// race says that the race detector is on, which is ten times slower.
const race = true
