package command

import (
	"os"
	"runtime/pprof"
)

// Profile writes a CPU profile of this process to the file at path until stop
// is called. An empty path is none.
func Profile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		_ = f.Close() // err says why
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // a profile cut short is no profile: its reader says so
	}, nil
}
