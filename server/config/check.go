package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	settings "github.com/surefoot-go/surefoot/config"
	"github.com/surefoot-go/surefoot/config/tree"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/resilience/shed"
)

// builtin are the keys that every service understands. What a service decodes
// strictly is decoded here in the same way before it is written.
var builtin = []struct {
	key    string // with a slash at the end: what follows is a target's name
	decode func(n *tree.Node) error
}{
	{"log", decodes[struct {
		Level slog.Level `json:"level"`
	}]},
	{"sampling", decodes[sampling]},
	{"door", decodes[shed.Settings]},
	{"client/", decodes[resilience.Policy]},
	{"balance/", decodes[balance.Settings]},
	{"rollout", decodes[rule]},
}

type sampling struct {
	Ratio float64 `json:"ratio"`
}

// Validate implements the check that package config makes.
func (s sampling) Validate() error {
	if s.Ratio < 0 || s.Ratio > 1 {
		return errors.New("ratio must be from 0 to 1")
	}
	return nil
}

// rule is the rule of a canary as the API writes it.
type rule struct {
	MaxErrorShare float64 `json:"maxErrorShare"`
	ForSeconds    float64 `json:"forSeconds"`
}

// Validate implements the check that package config makes.
func (r rule) Validate() error {
	if r.MaxErrorShare < 0 || r.MaxErrorShare > 1 || r.ForSeconds < 0 || r.ForSeconds > 3600 {
		return errors.New("maxErrorShare is 0 to 1, forSeconds 0 to 3600")
	}
	return nil
}

func decodes[T any](n *tree.Node) error {
	var v T
	if err := tree.Decode(n, &v, tree.Centre); err != nil {
		return err
	}
	if c, ok := any(&v).(interface{ Validate() error }); ok {
		return c.Validate()
	}
	return nil
}

// CheckValue tells what a value would change, or as an error of kind Invalid,
// with a detail for each problem, why it may not be written: it is no JSON, not
// what the service has published for the key, or not what a built-in key takes.
// It writes nothing.
func (s *Store) CheckValue(ctx context.Context, service, key string, value []byte) ([]tree.Change, error) {
	const op = "config.CheckValue"
	full := settings.Key(service, key)
	if err := checkKey(op, full); err != nil {
		return nil, err
	}
	if err := s.allowed(ctx, op, full, value); err != nil {
		return nil, err
	}
	cur, err := s.current(ctx, full)
	if err != nil {
		return nil, errs.Wrap(err, op)
	}
	if check := s.owner(full); check != nil {
		if err := check(full, cur.Value, value); err != nil {
			return nil, refused(op, full, err)
		}
	}
	return Diff(string(cur.Value), string(value)), nil
}

// Diff lists what differs between two values, as JSON; "" is for none. One that
// is no JSON differs as a whole.
func Diff(before, after string) []tree.Change {
	parse := func(text string) (*tree.Node, bool) {
		if text == "" {
			return nil, true
		}
		n, err := tree.JSON([]byte(text))
		return n, err == nil
	}
	a, okA := parse(before)
	b, okB := parse(after)
	switch {
	case okA && okB:
		return append([]tree.Change{}, tree.Diff(a, b)...)
	case before == after:
		return []tree.Change{}
	}
	return []tree.Change{{Before: before, After: after}}
}

// allowed checks a value by what is known of its key.
func (s *Store) allowed(ctx context.Context, op, full string, value []byte) error {
	if len(value) > maxValue {
		return errs.New(errs.Invalid, op, fmt.Sprintf("a value is text of at most %d bytes", maxValue))
	}
	n, err := tree.JSON(value)
	if err != nil {
		return refused(op, full, err)
	}
	service, key, _ := strings.Cut(strings.TrimPrefix(full, Prefix), "/")
	for _, b := range builtin {
		if key == b.key || strings.HasSuffix(b.key, "/") && strings.HasPrefix(key, b.key) {
			if err := b.decode(n); err != nil {
				return refused(op, full, err)
			}
		}
	}
	schema, err := s.schema(ctx, service, key)
	if err != nil {
		return errs.Wrap(err, op)
	}
	if schema != nil {
		if err := schema.Check(n, tree.Centre); err != nil {
			return refused(op, full, err)
		}
	}
	return nil
}

// schema is what the service has published for a key; nil for none, or for one
// that can not be read, which a newer version of the library may have written.
func (s *Store) schema(ctx context.Context, service, key string) (*tree.Schema, error) {
	it, err := s.current(ctx, settings.SchemaPrefix+service+"/"+key)
	if err != nil || it.Revision == 0 {
		return nil, err
	}
	var out tree.Schema
	if err := json.Unmarshal(it.Value, &out); err != nil {
		s.log().WarnContext(ctx, "unreadable schema", slog.String("key", it.Key), slog.Any("error", err))
		return nil, nil
	}
	return &out, nil
}

// Schemas tells which keys of a service have one.
func (s *Store) Schemas(ctx context.Context, service string) (map[string]bool, error) {
	prefix := settings.SchemaPrefix + service + "/"
	items, _, err := s.KV.List(ctx, prefix)
	out := make(map[string]bool, len(items))
	for _, it := range items {
		out[it.Key[len(prefix):]] = true
	}
	return out, errs.Wrap(err, "config.Schemas")
}

func refused(op, key string, err error) error {
	return errs.New(errs.Invalid, op, "the value is refused").Detail(lines(err)...).With("key", key)
}
