package pebble

import (
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// waitFS is the file system with one difference: a write that finds the disk
// full waits for room instead of failing. Pebble cannot go on after a failed
// write to its log and would end the process; here it only stands still, Put
// refuses meanwhile (see disk.full), and all goes on when room is back.
//
// A failed fsync is not tried again: the kernel may have dropped the pages, so
// a second fsync that succeeds proves nothing.
type waitFS struct {
	vfs.FS
	disk *disk
}

// disk knows whether some write waits for room.
type disk struct {
	closing chan struct{} // closed: waiting writes give up
	every   time.Duration // how often a waiting write tries again
	log     *slog.Logger

	mu      sync.Mutex
	waiting int
	full    chan struct{} // closed while waiting > 0
}

func newDisk(log *slog.Logger) *disk {
	return &disk{closing: make(chan struct{}), every: 100 * time.Millisecond, log: log, full: make(chan struct{})}
}

// whenFull returns a channel that is closed while, or as soon as, a write
// waits for room.
func (d *disk) whenFull() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.full
}

func (d *disk) enter(op string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting++; d.waiting == 1 {
		close(d.full)
		d.log.Error("disk is full: the store stands still until there is room", "op", op, "err", err)
	}
}

func (d *disk) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting--; d.waiting == 0 {
		d.full = make(chan struct{})
		d.log.Info("disk has room again: the store goes on")
	}
}

// try runs f until it returns something else than "disk full" or the store is
// closing.
func (d *disk) try(op string, f func() error) error {
	err := f()
	if !isFull(err) {
		return err
	}
	d.enter(op, err)
	defer d.leave()
	t := time.NewTicker(d.every)
	defer t.Stop()
	for {
		select {
		case <-d.closing:
			return err
		case <-t.C:
		}
		if err = f(); !isFull(err) {
			return err
		}
	}
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func (fs *waitFS) open(op string, f func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	err := fs.disk.try(op, func() (err error) {
		file, err = f()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &waitFile{File: file, disk: fs.disk}, nil
}

func (fs *waitFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.open("create", func() (vfs.File, error) { return fs.FS.Create(name, c) })
}

func (fs *waitFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return fs.open("open", func() (vfs.File, error) { return fs.FS.OpenReadWrite(name, c, opts...) })
}

func (fs *waitFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.open("reuse", func() (vfs.File, error) { return fs.FS.ReuseForWrite(oldname, newname, c) })
}

func (fs *waitFS) Link(oldname, newname string) error {
	return fs.disk.try("link", func() error { return fs.FS.Link(oldname, newname) })
}

func (fs *waitFS) Rename(oldname, newname string) error {
	return fs.disk.try("rename", func() error { return fs.FS.Rename(oldname, newname) })
}

// Unwrap implements vfs.FS.
func (fs *waitFS) Unwrap() vfs.FS { return fs.FS }

type waitFile struct {
	vfs.File
	disk *disk
}

func (f *waitFile) Write(p []byte) (int, error) {
	done := 0
	err := f.disk.try("write", func() error {
		n, err := f.File.Write(p[done:])
		done += n
		return err
	})
	return done, err
}

func (f *waitFile) WriteAt(p []byte, off int64) (int, error) {
	done := 0
	err := f.disk.try("write", func() error {
		n, err := f.File.WriteAt(p[done:], off+int64(done))
		done += n
		return err
	})
	return done, err
}

// Preallocate is a wish: a disk too full to grant it says so at the write.
func (f *waitFile) Preallocate(off, n int64) error {
	if err := f.File.Preallocate(off, n); !isFull(err) {
		return err
	}
	return nil
}

// usage is how many bytes of dir's disk are free for this process.
func (d *disk) usage(dir string) (uint64, error) {
	u, err := vfs.Default.GetDiskUsage(dir)
	return u.AvailBytes, err
}
