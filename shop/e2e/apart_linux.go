package e2e

import (
	"os"
	"syscall"
)

// apart puts a child in its own process group, so that Ctrl-C reaches the demo
// alone and it can stop them in order, and has the kernel kill it should the
// demo die first.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func terminate(p *os.Process) { _ = p.Signal(syscall.SIGTERM) }
