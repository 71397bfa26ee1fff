// Package driver is what a registry has to be able to do to serve package
// discovery: say which instances a service has, and keep one listed. It is for
// those who write a driver; package drivertest proves one.
//
//	type Registry struct{ ... }
//	func (r *Registry) Watch(ctx context.Context, service string, fn func([]driver.Instance)) error
//	func (r *Registry) Register(ctx context.Context, service string, in driver.Instance, told func(bool, error)) error
package driver

import (
	"context"

	"github.com/surefoot-go/surefoot/resilience/balance"
)

// Instance is one process that serves a service.
type Instance = balance.Instance

// Watcher finds the instances of services. Its methods are safe for concurrent
// use.
type Watcher interface {
	// Watch calls fn with all instances of service, sorted by ID, first as they
	// are and then after each change, from one goroutine, until ctx ends; it
	// returns ctx's error then, or one of kind errs.Unavailable once the driver is
	// closed, or errs.Invalid for a name that can never be one. Nothing else ends it.
	//
	// fn gets what the registry says, even if that is nothing: an empty set means
	// that the registry answered so. While the registry does not answer, fn is not
	// called; Watch tries again for ever, with jittered pauses, and once it is back
	// calls fn with what is there then, changed or not. While it does answer, fn is
	// called at least every 10s, changed or not: a set that was not heard for longer
	// is old. fn owns the slice.
	Watch(ctx context.Context, service string, fn func([]Instance)) error
}

// Registrar keeps instances listed. Its methods are safe for concurrent use.
type Registrar interface {
	// Register lists in under service and keeps it listed until ctx ends, then
	// takes it off within 2s and returns ctx's error; or one of kind
	// errs.Unavailable once the driver is closed, or errs.Invalid for an instance
	// that can never be listed. Nothing else ends it: whatever breaks the listing,
	// it lists anew with jittered pauses, for ever.
	//
	// told, if not nil, hears from one goroutine whether watchers can see the
	// instance, as read back from the registry: true once they can, false with the
	// reason when they may not any more, and so on, without repetition. The
	// first call may be false, with the reason for the delay.
	Register(ctx context.Context, service string, in Instance, told func(visible bool, err error)) error
}
