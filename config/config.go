package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/config/tree"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/safe"
)

// Config is the settings of one process. Set the fields, Bind the settings,
// Load, then Run; only Service is required. It is safe for concurrent use and
// must not be copied; its fields must not change once Load was called.
type Config struct {
	Service  string // whose settings
	Instance string // which process of it, for pushes; "" is chosen by shares only
	Version  string // of the service, for people

	Files  driver.Driver // such as files.Folder; nil means no files
	Centre driver.Driver // such as etcd.Settings; nil means no centre

	// EnvPrefix begins the names of environment variables, ORDER for
	// ORDER_CLIENT_BANK_TIMEOUT (see tree.Variable and tree.Environ); "" means the
	// service's name, "-" means none are read.
	EnvPrefix string
	// LastGood is the folder where the last good values of the centre are kept, so
	// that a process can start with them while the centre is away; "" means nowhere.
	// Processes of one service may share it.
	LastGood string
	// Wait is how long Load waits for the centre; 0 means 2s, negative means not
	// at all.
	Wait    time.Duration
	Observe observe.Sinks

	once   sync.Once
	sinks  observe.Sinks
	routes *canary.Table

	loading sync.Mutex // one Load at a time

	mu     sync.Mutex
	loaded bool
	keys   []*key                  // in the order of Bind
	files  map[string]*driver.Item // by key
	centre map[string]*driver.Item // by key
	pushes map[string]*driver.Item // by key
	heard  time.Time               // when the centre answered last; zero for never
	begun  time.Time
	seen   int64                   // revision of the centre's store
	lost   map[string]*driver.Item // what a store that started over lacks
	disk   bool                    // the centre's items are those of the disk
	known  map[string]keptItem     // last good values that were on disk, by key
	saved  string                  // the sum of what is on the disk
}

func (c *Config) init() {
	c.once.Do(func() {
		c.sinks = c.Observe.OrDefault()
		c.begun = time.Now()
		c.measure()
	})
}

// Bind makes a setting: its key (see ValidKey), and its value where no layer
// says otherwise. T is decoded as package tree does; if T or *T has a method
// Validate() error, no value that it refuses is ever used. A setting may be bound
// after Load, too; what the layers say then counts at once, and what is wrong
// with it is logged. Bind panics on a key that is no key or was bound before, and
// on a T that is no setting.
func Bind[T any](c *Config, name string, def T) *Value[T] {
	if !ValidKey(name) {
		panic(fmt.Sprintf("config: %q is no key", name))
	}
	v := Fixed(tree.Clone(def))
	b := &bound[T]{def: def, value: v}
	if _, err := b.schema(); err != nil {
		panic(fmt.Sprintf("config: %s: %v", name, err))
	}
	c.mu.Lock()
	if slices.ContainsFunc(c.keys, func(k *key) bool { return k.name == name }) {
		c.mu.Unlock()
		panic(fmt.Sprintf("config: the key %q is bound twice", name))
	}
	k := &key{name: name, value: b}
	c.keys = append(c.keys, k)
	var said []event
	if c.loaded {
		if err := c.environ(k); err != nil {
			said = append(said, event{name, 0, tree.Environment, err})
		}
		_, more := c.settle(k) // nobody wants to know yet
		said = append(said, more...)
		if !k.settled { // without the file, then
			bad := k.fileBad
			_, more := c.evaluate(k, nil, offer{c.centre[name], c.pushes[name]})
			said, k.fileBad = append(said, more...), bad
		}
		if !k.settled {
			said = append(said, event{name, 0, tree.Default, cmp.Or(k.wrong, errors.New("no layer has a valid value"))})
		}
	}
	c.mu.Unlock()
	if len(said) > 0 {
		c.speak(context.Background(), said)
	}
	return v
}

// Routes has Run keep table as the canary routes of the centre; call it before
// Run.
func (c *Config) Routes(table *canary.Table) { c.routes = table }

// settle evaluates a key for the first time. Config's lock is held.
func (c *Config) settle(k *key) (tell []func(), said []event) {
	if it, ok := c.known[k.name]; ok && c.centre[k.name] != nil && !c.disk {
		if n, err := tree.JSON([]byte(it.Value)); err == nil {
			k.centre = &good{text: it.Value, revision: it.Revision, node: n, disk: true}
		}
	}
	return c.evaluate(k, c.files[k.name], offer{c.centre[k.name], c.pushes[k.name]})
}

// environ reads a key's variables.
func (c *Config) environ(k *key) error {
	prefix := c.EnvPrefix
	switch prefix {
	case "-":
		return nil
	case "":
		prefix = tree.Variable(c.Service)
	}
	n, _, err := tree.Environ(prefix+"_"+tree.Variable(k.name), k.value.typ(), os.LookupEnv)
	if err == nil && n != nil {
		err = k.value.check(layer{n, tree.Environment})
	}
	if err == nil {
		k.env = n
	}
	return err
}

// prefix is where this service's settings are.
func (c *Config) prefix() string { return Prefix + c.Service + "/" }

// Load reads files and environment, and waits for the centre as long as Wait
// says; while it is away the last good values on the disk stand in. Call it
// before the process serves. The error is of kind errs.Invalid, with every
// mistake in files, environment and defaults as details; a mistake in the centre
// is logged and what is below it is used.
func (c *Config) Load(ctx context.Context) error {
	const op = "config.Load"
	c.loading.Lock()
	defer c.loading.Unlock()
	if c.Service == "" || strings.Contains(c.Service, "/") || !ValidKey(c.Service) {
		return errs.New(errs.Invalid, op, "the settings need the name of their service")
	}
	c.init()
	if c.isLoaded() {
		return nil
	}
	var files, centre *driver.Snapshot
	if c.Files != nil {
		var err error
		if files, err = first(ctx, c.Files, c.prefix(), 10*time.Second); err != nil {
			return errs.New(errs.Unavailable, op, "the files of settings cannot be read").Because(err)
		}
	}
	if wait := c.wait(); c.Centre != nil && wait > 0 {
		centre, _ = first(ctx, c.Centre, c.prefix(), wait) // away: Run goes on
	}
	if err := ctx.Err(); err != nil {
		return errs.Wrap(err, op)
	}
	return c.begin(ctx, files, centre)
}

func (c *Config) wait() time.Duration {
	if c.Wait == 0 {
		return 2 * time.Second
	}
	return max(c.Wait, 0)
}

func (c *Config) isLoaded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loaded
}

// first is the first snapshot of a driver.
func first(ctx context.Context, d driver.Driver, prefix string, wait time.Duration) (*driver.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var got *driver.Snapshot
	err := safe.Call(func() error {
		return d.Watch(ctx, prefix, func(s driver.Snapshot) {
			if got == nil {
				got = &s
				cancel()
			}
		})
	})
	if got != nil {
		return got, nil
	}
	return nil, err
}

// begin puts the first values in force.
func (c *Config) begin(ctx context.Context, files, centre *driver.Snapshot) error {
	var bad []string
	var tell []func()
	var said []event
	c.mu.Lock()
	if files != nil {
		c.files, _ = c.sort(files)
	}
	switch {
	case centre != nil:
		c.remember(ctx)
		c.take(ctx, centre)
	case c.Centre != nil:
		c.recall(ctx)
	}
	for _, k := range c.keys {
		if err := c.environ(k); err != nil {
			bad = append(bad, lines("environment, "+k.name, err)...)
			continue
		}
		t, more := c.settle(k)
		tell, said = append(tell, t...), append(said, more...)
		switch {
		case k.fileBad != nil:
			bad = append(bad, lines("file of "+k.name, errors.New(k.fileBad.reason))...)
		case !k.settled && k.wrong != nil:
			of := "default"
			if c.files[k.name] != nil {
				of += ", file"
			}
			if k.env != nil {
				of += ", environment"
			}
			bad = append(bad, lines(of+" of "+k.name, k.wrong)...)
		}
	}
	said = slices.DeleteFunc(said, func(e event) bool { return e.layer == tree.File && e.err != nil }) // returned
	c.loaded = len(bad) == 0
	if c.loaded {
		c.save(ctx)
	}
	c.mu.Unlock()
	c.speak(ctx, said)
	c.tell(tell)
	if len(bad) > 0 {
		return errs.New(errs.Invalid, "config.Load", "the settings are wrong").Detail(bad...)
	}
	return nil
}

func lines(of string, err error) []string {
	var out []string
	for l := range strings.SplitSeq(err.Error(), "\n") {
		out = append(out, of+": "+l)
	}
	return out
}

// sort tells values and pushes apart, by key.
func (c *Config) sort(s *driver.Snapshot) (values, pushes map[string]*driver.Item) {
	values, pushes = map[string]*driver.Item{}, map[string]*driver.Item{}
	for i := range s.Items {
		name := strings.TrimPrefix(s.Items[i].Key, c.prefix())
		if pushed, ok := strings.CutPrefix(name, PushDir+"/"); ok {
			pushes[pushed] = &s.Items[i]
		} else {
			values[name] = &s.Items[i]
		}
	}
	return values, pushes
}
