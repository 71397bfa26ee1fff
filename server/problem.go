package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// Problem is why a Server cannot start, when the one who starts it can mend
// it: the field of Server to change and what is wrong with its value.
type Problem struct {
	Field  string // of Server: "Dir", "Addr", "OTLPGRPC", "OTLPHTTP", "Etcd", "EtcdPeer" or "Catalog"
	Value  string
	Reason Reason
	Err    error // the cause, for a log
}

// Reason says what is wrong with a Problem's value.
type Reason string

// Reasons of a Problem.
const (
	Taken      Reason = "the address is taken by another program"
	BadAddress Reason = "not an address to listen on; it is host:port"
	Reachable  Reason = "other machines reach this address and nothing here authenticates; use loopback or set Remote"
	Unwritable Reason = "the folder cannot be written"
	InUse      Reason = "the folder is in use by another copy"
	Unreadable Reason = "the folder cannot be read"
	Damaged    Reason = "the data in the folder cannot be used; move it away to start empty, or restore a copy"
)

// Error is one line for the log; a program that knows its flags says it better.
func (p *Problem) Error() string {
	if c := p.Cause(); c != "" {
		return fmt.Sprintf("server: %s %s: %s (%s)", p.Field, p.Value, p.Reason, c)
	}
	return fmt.Sprintf("server: %s %s: %s", p.Field, p.Value, p.Reason)
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Err }

// Cause is the innermost reason in the operating system's words, such as
// "permission denied"; empty when there is none.
func (p *Problem) Cause() string {
	var errno syscall.Errno
	if errors.As(p.Err, &errno) {
		return errno.Error()
	}
	var addr *net.AddrError
	if errors.As(p.Err, &addr) {
		return addr.Err
	}
	if p.Err == nil {
		return ""
	}
	text := p.Err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}

// lockDir makes dir, checks that it can be written and keeps other copies out
// until the returned func is called.
func lockDir(dir string) (func() error, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &Problem{"Dir", dir, Unwritable, err}
	}
	f, err := fileutil.TryLockFile(filepath.Join(dir, "surefoot.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		return nil, &Problem{"Dir", dir, InUse, err}
	}
	if err != nil {
		return nil, &Problem{"Dir", dir, Unwritable, err}
	}
	// A folder can hold a lock file and still refuse new ones.
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return nil, errors.Join(&Problem{"Dir", dir, Unwritable, err}, f.Close())
	}
	return f.Close, errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// checkAddress refuses what is not host:port, and without remote what is not
// loopback.
func checkAddress(field, addr string, remote bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return &Problem{field, addr, BadAddress, err}
	}
	if strings.HasPrefix(field, "Etcd") && net.ParseIP(host) == nil {
		return &Problem{field, addr, BadAddress, &net.AddrError{Err: "the host must be an IP address", Addr: host}}
	}
	if !remote && !loopback(host) {
		return &Problem{Field: field, Value: addr, Reason: Reachable}
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// listen binds addr for the field it comes from.
func listen(field, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, &Problem{field, addr, Taken, err}
	default:
		return nil, &Problem{field, addr, BadAddress, err}
	}
}

// free tells whether addr could be bound now, for an engine that binds later
// itself.
func free(field, addr string) error {
	ln, err := listen(field, addr)
	if err != nil {
		return err
	}
	return ln.Close()
}

// readable checks a folder that the caller named.
func readable(field, dir string) error {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	}
	if err == nil {
		var f *os.File
		if f, err = os.Open(dir); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		return &Problem{field, dir, Unreadable, err}
	}
	return nil
}
