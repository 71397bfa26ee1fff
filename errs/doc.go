// Package errs is the one error of a service: what a program switches on, what
// a person may read, and the road the failure took through the system.
//
//	const op = "order.Place"
//	if n <= 0 {
//		return errs.New(errs.Invalid, op, "quantity must be positive").With("sku", sku)
//	}
//	if err := inv.Reserve(ctx, sku, n); err != nil {
//		return errs.Wrap(err, op) // same code, id and trace; one more hop
//	}
//
// The message and the details are written for strangers, and so are the values
// given to Arg, which a Catalog puts into texts in other languages. The cause, the values
// given to With and every stack are for the log and never reach Encode. An
// *Error does not change once made: every method that would change it returns
// a changed copy, so errors may be package variables and may be shared between
// goroutines.
//
// It is not a logger and it captures no stack: see package safe for panics and
// packages httpx and grpcx for the borders where errors meet a wire.
package errs
