package config

import (
	"context"
	"time"

	"github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/safe"
)

// Run keeps the settings true until ctx ends, and returns ctx's error; it calls
// Load if nobody did, and returns its error. It also returns if a driver gives
// up, which drivers do only when they are closed: start it again then, as package
// supervise does; one Run at a time. While the centre is away everything
// stays as it is.
func (c *Config) Run(ctx context.Context) error {
	if err := c.Load(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	type news struct {
		centre bool
		snap   driver.Snapshot
	}
	heard, ended := make(chan news), make(chan error, 2)
	var tasks []*safe.Task
	const files, centre = "config files", "config centre"
	follow := func(name string, fn func(context.Context) error) {
		tasks = append(tasks, safe.Go(ctx, name, fn, func(err error) {
			if err != nil {
				select {
				case ended <- err:
				default: // one is enough
				}
			}
		}))
	}
	for name, d := range map[string]driver.Driver{files: c.Files, centre: c.Centre} {
		if d == nil {
			continue
		}
		follow(name, func(ctx context.Context) error {
			err := d.Watch(ctx, c.prefix(), func(s driver.Snapshot) {
				select {
				case heard <- news{name == centre, s}:
				case <-ctx.Done():
				}
			})
			return errs.New(errs.Unavailable, "config.Run", name+": no longer watched").Because(err)
		})
	}
	if c.Centre != nil {
		follow("config schemas", func(ctx context.Context) error { c.publish(ctx); return nil })
		if c.routes != nil {
			follow("config routes", c.followRoutes)
		}
	}
	defer func() {
		cancel()
		for _, t := range tasks {
			<-t.Done()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-ended:
			if ctx.Err() == nil {
				return err
			}
		case n := <-heard:
			c.hear(ctx, n.centre, n.snap)
		}
	}
}

// hear takes in a snapshot, and tells who wants to know.
func (c *Config) hear(ctx context.Context, centre bool, s driver.Snapshot) {
	var tell []func()
	var said []event
	c.mu.Lock()
	if centre {
		c.take(ctx, &s)
	} else {
		c.files, _ = c.sort(&s)
	}
	for _, k := range c.keys {
		t, e := c.evaluate(k, c.files[k.name], offer{c.centre[k.name], c.pushes[k.name]})
		tell, said = append(tell, t...), append(said, e...)
	}
	if centre {
		c.save(ctx)
	}
	c.mu.Unlock()
	c.speak(ctx, said)
	c.tell(tell)
}

func (c *Config) tell(fns []func()) {
	for _, fn := range fns {
		if err := safe.Call(func() error { fn(); return nil }); err != nil {
			c.sinks.Log.Error("config: a callback failed", "err", err)
		}
	}
}

// take takes in what the centre has. A store that started over, such as one
// whose disk was lost, has deleted nothing: what it lacks stays until somebody
// writes it anew. Config's lock is held.
func (c *Config) take(ctx context.Context, s *driver.Snapshot) {
	values, pushes := c.sort(s)
	if s.Revision > 0 && s.Revision < c.seen {
		if c.lost == nil {
			c.lost = map[string]*driver.Item{}
		}
		lacks := 0
		for name, it := range c.centre {
			if values[name] == nil {
				c.lost[name] = it
				lacks++
			}
		}
		if lacks > 0 {
			c.sinks.Log.ErrorContext(ctx, "config: the centre has started over and lacks values; those in force stay",
				"keys", lacks, "revision", s.Revision, "before", c.seen)
		}
	}
	for name, it := range c.lost {
		if values[name] != nil {
			delete(c.lost, name)
		} else {
			values[name] = it
		}
	}
	c.centre, c.pushes, c.seen = values, pushes, s.Revision
	c.heard, c.disk = time.Now(), false
}
