// Package driver is what a store of settings has to be able to do to serve
// package config. It is for those who write a driver; package drivertest proves
// one.
//
//	type Store struct{ ... }
//	func (s *Store) Watch(ctx context.Context, prefix string, fn func(driver.Snapshot)) error
package driver

import (
	"context"

	"github.com/surefoot-go/surefoot/config/tree"
)

// Item is one setting as it is stored.
type Item struct {
	Key      string     // in full, such as surefoot/config/order/limits
	Value    []byte     // JSON; for a person only, if Node or Err is set
	Revision int64      // at which it was written last; larger is later, within one store
	Node     *tree.Node // what a driver has parsed itself; nil means that Value is JSON
	Err      error      // why it can not be read, such as a file that does not parse
}

// Snapshot is everything under a prefix at one moment.
type Snapshot struct {
	Items    []Item // sorted by Key; each Key once
	Revision int64  // of the store when it was so; 0 if it has none
}

// Driver reads settings. Its methods are safe for concurrent use.
type Driver interface {
	// Watch calls fn with everything under prefix, first as it is and then after
	// each change, from one goroutine, until ctx ends; it returns ctx's error then,
	// or one of kind errs.Unavailable once the driver is closed. Nothing else ends
	// it. Changes written together are seen together. While the store does not
	// answer, fn is not called; Watch tries again for ever, with jittered pauses.
	// While it does answer, fn is called at least every 10s, changed or not.
	// fn owns the Snapshot; the Nodes are not to be changed.
	Watch(ctx context.Context, prefix string, fn func(Snapshot)) error
}

// Any as a revision means: whatever is there. 0 means that nothing is there.
const Any int64 = -1

// Writer is a Driver that can be written to.
type Writer interface {
	Driver
	// Put writes value if the revision of key is still rev and returns the new
	// one; otherwise the error is of kind errs.Conflict and nothing changes.
	Put(ctx context.Context, key string, value []byte, rev int64) (int64, error)
	// Delete removes key if its revision is still rev, which is an error of kind
	// errs.Conflict otherwise; Any removes what is there, even nothing.
	Delete(ctx context.Context, key string, rev int64) error
}
