package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/config/tree"
)

// layer is what one layer says about a key.
type layer struct {
	node *tree.Node
	from tree.Layer
}

// binding is a key's Value without its type.
type binding interface {
	// try decodes the layers over the default and validates the outcome; apply
	// puts it in force and returns who wants to know, nobody if it is the same.
	try(layers []layer) (apply func() []func(), err error)
	typ() reflect.Type
	schema() (*tree.Schema, error)
}

type bound[T any] struct {
	def   T
	value *Value[T]
}

func (b *bound[T]) typ() reflect.Type             { return reflect.TypeFor[T]() }
func (b *bound[T]) schema() (*tree.Schema, error) { return tree.SchemaOf(b.def) }

func (b *bound[T]) try(layers []layer) (func() []func(), error) {
	next := tree.Clone(b.def)
	for _, l := range layers {
		if err := tree.Decode(l.node, &next, l.from); err != nil {
			return nil, err
		}
	}
	if v, ok := any(&next).(interface{ Validate() error }); ok { // a method of T is one of *T
		if err := v.Validate(); err != nil {
			return nil, err
		}
	}
	return func() []func() {
		if reflect.DeepEqual(*b.value.Load(), next) {
			return nil
		}
		return b.value.swap(next)
	}, nil
}

// key is one setting and what is known of it.
type key struct {
	name  string
	value binding

	env    *tree.Node // of the environment; it does not change
	file   *tree.Node // the last good one
	centre *good      // the last good value of the centre, or nil

	layers   []tree.Layer // in force, but for the default
	revision int64        // of the centre's item in force; 0 means none
	pushed   bool         // that item is a push
	lastGood bool         // it comes from the disk
	checked  int64
	refused  int64
	reason   string // of the refusal, "" for none

	wasRefused int64 // before the evaluation under way
	wasReason  string

	fileBad string // why the file there now is refused, "" for none
}

// good is a value of the centre that was decoded and validated.
type good struct {
	text     string // JSON
	revision int64
	node     *tree.Node
	disk     bool // from the last good ones on disk, not from the centre
}

// with is all layers with a node of the centre, nil for none, on top.
func (k *key) with(file, centre *tree.Node) []layer {
	var out []layer
	for _, l := range []layer{{file, tree.File}, {k.env, tree.Environment}, {centre, tree.Centre}} {
		if l.node != nil {
			out = append(out, l)
		}
	}
	return out
}

// refuse notes that revision is not used, and why. It tells whether that is
// other than what was so before this evaluation.
func (k *key) refuse(revision int64, err error) bool {
	k.refused, k.reason = revision, strings.ReplaceAll(err.Error(), "\n", "; ")
	return k.refused != k.wasRefused || k.reason != k.wasReason
}

// parse reads an item of the centre.
func parse(it driver.Item) (*tree.Node, error) {
	switch {
	case it.Err != nil:
		return nil, it.Err
	case it.Node != nil:
		return it.Node, nil
	case len(it.Value) > maxValue:
		return nil, fmt.Errorf("the value has %d bytes, at most %d", len(it.Value), maxValue)
	}
	return tree.JSON(it.Value)
}
