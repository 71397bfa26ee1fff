package payment

import (
	"context"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/safe"
)

// receipts is what v3 brought: a number for the customer's receipt. It is a
// nicety, so no charge waits long for it.
type receipts struct {
	patience time.Duration // how long a charge waits for its number
	printing time.Duration // how long the printer takes
}

// receiptsOf returns the receipts of a version, nil before v3. In the tests of
// v3 the printer was idle and quicker than the patience; in production it has
// every customer's receipts to print.
func receiptsOf(version string) *receipts {
	if version != "v3" {
		return nil
	}
	return &receipts{patience: 2 * time.Millisecond, printing: 25 * time.Millisecond}
}

// number has a receipt printed and returns its number, or "" when that takes
// too long.
//
// This is the bug that the story leak releases. Whoever leaves by the timer
// takes the only reader of answer with him, and the channel has no room: the
// goroutine that printed stays at its send for ever, with all that it holds.
// Every answer of the service is right, and none is late. It must stay: the
// point is that the leak is found while it is small. The cure is room for one
// answer: make(chan string, 1).
func (r *receipts) number(ctx context.Context, orderID string) string {
	answer := make(chan string)
	safe.Go(context.WithoutCancel(ctx), "payment.receipt", func(ctx context.Context) error {
		number := r.print(ctx, orderID)
		answer <- number
		return nil
	})
	late := time.NewTimer(r.patience)
	defer late.Stop()
	select {
	case number := <-answer:
		return number
	case <-late.C:
		return ""
	}
}

// print is the printer: slow, and never wrong.
func (r *receipts) print(ctx context.Context, orderID string) string {
	t := time.NewTimer(r.printing)
	defer t.Stop()
	select {
	case <-t.C:
		return "r-" + strings.TrimPrefix(orderID, "o-")
	case <-ctx.Done():
		return ""
	}
}
