package config

import (
	"fmt"
	"reflect"

	"github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/config/tree"
	"github.com/surefoot-go/surefoot/safe"
)

// layer is what one layer says about a key.
type layer struct {
	node *tree.Node
	from tree.Layer
}

// binding is a key's Value without its type. Its methods survive whatever a
// type's own code does.
type binding interface {
	// check decodes one layer alone, without Validate.
	check(l layer) error
	// try decodes the layers over the default and validates the outcome; apply
	// puts it in force and returns who wants to know, and whether it is another.
	try(layers []layer) (apply func() (tell []func(), changed bool), err error)
	typ() reflect.Type
	schema() (*tree.Schema, error)
}

type bound[T any] struct {
	def   T
	value *Value[T]
}

func (b *bound[T]) typ() reflect.Type             { return reflect.TypeFor[T]() }
func (b *bound[T]) schema() (*tree.Schema, error) { return tree.SchemaOf(b.def) }

func (b *bound[T]) decode(layers []layer) (next T, err error) {
	err = safe.Call(func() error {
		next = tree.Clone(b.def)
		for _, l := range layers {
			if err := tree.Decode(l.node, &next, l.from); err != nil {
				return err
			}
		}
		return nil
	})
	return next, err
}

func (b *bound[T]) check(l layer) error {
	_, err := b.decode([]layer{l})
	return err
}

func (b *bound[T]) try(layers []layer) (func() ([]func(), bool), error) {
	next, err := b.decode(layers)
	if err != nil {
		return nil, err
	}
	err = safe.Call(func() error {
		type validator interface{ Validate() error }
		v, ok := any(&next).(validator) // a method of T is one of *T
		if !ok {
			v, ok = any(next).(validator) // T is a pointer
		}
		if ok {
			return v.Validate()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return func() ([]func(), bool) {
		if reflect.DeepEqual(*b.value.Load(), next) {
			return nil, false
		}
		return b.value.swap(next), true
	}, nil
}

// key is one setting and what is known of it.
type key struct {
	name  string
	value binding

	env     *tree.Node // of the environment; it does not change
	file    *tree.Node // the last good one
	centre  *good      // the last good value of the centre, or nil
	settled bool       // what is in force is valid
	wrong   error      // why it is not

	layers   []tree.Layer // in force, but for the default
	revision int64        // of the centre's item in force; 0 means none
	pushed   bool         // that item is a push
	lastGood bool         // it comes from the disk
	checked  int64

	fileBad, itemBad, pushBad *refusal // what is there and not used, nil for nothing
}

// refusal is why something is not used.
type refusal struct {
	revision int64
	reason   string
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

// refused is the newest refusal of something of the centre, nil for none.
func (k *key) refused() *refusal {
	if k.itemBad == nil || k.pushBad != nil && k.pushBad.revision > k.itemBad.revision {
		return k.pushBad
	}
	return k.itemBad
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
