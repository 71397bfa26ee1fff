package config

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/config/driver"
)

// kept is the file of last good values: what the centre said, so a secret in it
// is a reference.
type kept struct {
	Service string          `json:"service"`
	At      time.Time       `json:"at"`
	Store   int64           `json:"store"` // revision of the centre's store
	Items   json.RawMessage `json:"items"` // []keptItem
	Sum     string          `json:"sum"`   // SHA-256 of Items, hexadecimal
}

type keptItem struct {
	Key      string `json:"key"` // without the service's prefix
	Value    string `json:"value"`
	Revision int64  `json:"revision"`
}

func (c *Config) keptPath() string { return filepath.Join(c.LastGood, c.Service+".lastgood.json") }

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// save writes the good values of the centre to the disk when they are others
// than those there. Config's lock is held.
func (c *Config) save(ctx context.Context) {
	if c.LastGood == "" || c.disk || c.heard.IsZero() {
		return
	}
	items := []keptItem{}
	for _, k := range c.keys {
		if k.centre != nil {
			items = append(items, keptItem{k.name, k.centre.text, k.centre.revision})
		}
	}
	for name, it := range c.known { // of settings that are not bound yet
		bound := slices.ContainsFunc(c.keys, func(k *key) bool { return k.name == name })
		if !bound && c.centre[name] != nil {
			items = append(items, it)
		}
	}
	slices.SortFunc(items, func(a, b keptItem) int { return strings.Compare(a.Key, b.Key) })
	raw, err := json.Marshal(items)
	if err != nil || sum(raw) == c.saved {
		return
	}
	b, err := json.Marshal(kept{c.Service, time.Now().UTC(), c.seen, raw, sum(raw)})
	if err == nil {
		err = replace(c.keptPath(), b)
	}
	if err != nil {
		c.sinks.Log.WarnContext(ctx, "config: the last good values cannot be kept on disk; a start without the centre will not have them", "err", err)
		return
	}
	c.saved = sum(raw)
}

// replace writes a file so that a reader, and a crash, finds the old or the new
// one whole.
func replace(path string, b []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".lastgood-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // err says what happened
		}
	}()
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// recall takes the centre's items from the disk. Config's lock is held.
func (c *Config) recall(ctx context.Context) {
	const text = "config: the centre does not answer"
	if c.LastGood == "" {
		c.sinks.Log.WarnContext(ctx, text+"; starting without it")
		return
	}
	items, at, store, err := c.read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.sinks.Log.WarnContext(ctx, text+", and no last good values are on the disk; starting without it")
		return
	case err != nil:
		c.sinks.Log.ErrorContext(ctx, text+", and the last good values on the disk cannot be used; starting without it", "err", err)
		return
	}
	c.sinks.Log.WarnContext(ctx, text+"; starting with the last good values", "from", at, "keys", len(items))
	c.seen = store
	c.centre, c.disk = map[string]*driver.Item{}, true
	for _, it := range items {
		c.centre[it.Key] = &driver.Item{Key: c.prefix() + it.Key, Value: []byte(it.Value), Revision: it.Revision}
	}
}

// remember reads the last good values although the centre answers: it may have
// bad ones, or have lost some. Config's lock is held.
func (c *Config) remember(ctx context.Context) {
	if c.LastGood == "" {
		return
	}
	items, _, store, err := c.read()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.sinks.Log.ErrorContext(ctx, "config: the last good values on the disk cannot be used", "err", err)
		}
		return
	}
	c.known, c.centre, c.seen = map[string]keptItem{}, map[string]*driver.Item{}, store
	for _, it := range items {
		c.known[it.Key] = it
		c.centre[it.Key] = &driver.Item{Key: c.prefix() + it.Key, Value: []byte(it.Value), Revision: it.Revision}
	}
}

func (c *Config) read() (items []keptItem, at time.Time, store int64, err error) {
	b, err := os.ReadFile(c.keptPath())
	if err != nil {
		return nil, at, 0, err
	}
	k, items, err := decodeKept(b, c.Service)
	if err != nil {
		return nil, at, 0, fmt.Errorf("%s: %w", c.keptPath(), err)
	}
	return items, k.At, k.Store, nil
}

func decodeKept(b []byte, service string) (k kept, items []keptItem, err error) {
	if err := json.Unmarshal(b, &k); err != nil {
		return k, nil, err
	}
	if sum(k.Items) != k.Sum {
		return k, nil, errors.New("it is damaged: its sum does not fit")
	}
	if k.Service != service {
		return k, nil, fmt.Errorf("it belongs to service %q", k.Service)
	}
	err = json.Unmarshal(k.Items, &items)
	return k, items, err
}
