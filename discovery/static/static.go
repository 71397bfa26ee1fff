// Package static is a list of instances that does not come from a registry: from
// a file, a flag, or a test.
//
//	found := &discovery.Source{Driver: static.New(map[string][]driver.Instance{"bank": {{Addr: "10.0.0.7:8080"}}})}
package static

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/errs"
)

// again is how often a watcher hears what it has heard before.
const again = 5 * time.Second

// Driver is a list of instances by service. The zero value knows nobody. It is
// safe for concurrent use and must not be copied.
type Driver struct {
	mu       sync.Mutex
	services map[string][]driver.Instance
	changed  chan struct{} // closed at the next Set; nil when nobody waits
}

var _ driver.Watcher = (*Driver)(nil)

// New returns a Driver that knows services.
func New(services map[string][]driver.Instance) *Driver {
	d := new(Driver)
	for name, in := range services {
		d.Set(name, in)
	}
	return d
}

// Set replaces the instances of one service. One without an ID has its Addr as
// that.
func (d *Driver) Set(service string, in []driver.Instance) {
	list := slices.Clone(in)
	for i := range list {
		list[i].ID = cmp.Or(list[i].ID, list[i].Addr)
	}
	slices.SortStableFunc(list, func(a, b driver.Instance) int { return strings.Compare(a.ID, b.ID) })
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.services == nil {
		d.services = map[string][]driver.Instance{}
	}
	d.services[service] = list
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

// Watch implements driver.Watcher.
func (d *Driver) Watch(ctx context.Context, service string, fn func([]driver.Instance)) error {
	const op = "static.Watch"
	if service == "" {
		return errs.New(errs.Invalid, op, "a service has a name")
	}
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		d.mu.Lock()
		if d.changed == nil {
			d.changed = make(chan struct{})
		}
		changed, now := d.changed, slices.Clone(d.services[service])
		d.mu.Unlock()
		fn(now)
		select {
		case <-ctx.Done():
			return errs.Wrap(ctx.Err(), op)
		case <-changed:
		case <-tick.C:
		}
	}
}
