//go:build !linux

package e2e

import (
	"os"
	"syscall"
)

// apart: only Linux can tie a child's life to ours.
func apart() *syscall.SysProcAttr { return nil }

func terminate(p *os.Process) {
	if p.Signal(os.Interrupt) != nil {
		_ = p.Kill()
	}
}
