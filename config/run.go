package config

import (
	"context"
	"time"

	"github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/safe"
)

// Run keeps the settings true until ctx ends, and returns ctx's error; it calls
// Load if nobody did, and returns its error. While the centre is away everything
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
	heard := make(chan news)
	var tasks []*safe.Task
	const files, centre = "config files", "config centre"
	follow := func(name string, fn func(context.Context) error) { tasks = append(tasks, safe.Go(ctx, name, fn)) }
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
			if ctx.Err() == nil {
				c.sinks.Log.Error("config: no longer watched", "what", name, "err", err)
			}
			return nil
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
		c.centre, c.pushes = c.sort(&s)
		c.heard, c.disk = time.Now(), false
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
	for _, fn := range tell {
		if err := safe.Call(func() error { fn(); return nil }); err != nil {
			c.sinks.Log.Error("config: a callback failed", "err", err)
		}
	}
}
