package e2e

import (
	"context"

	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/shop/invariant"
	"github.com/surefoot-go/surefoot/shop/load"
)

// startLoad puts orders on the gateway until endLoad.
func (s *system) startLoad(ctx context.Context) {
	s.load = load.New(load.Plan{URL: "http://" + s.addr(portGateway), Rate: s.d.Rate})
	ctx, s.stopLoad = context.WithCancel(ctx)
	done := make(chan struct{})
	s.loadDone = done
	safe.Go(ctx, "e2e.load", func(ctx context.Context) error {
		defer close(done)
		return s.load.Run(ctx)
	})
}

// endLoad stops the arrivals and waits for the answers under way. It may be
// called twice, or before startLoad.
func (s *system) endLoad() {
	if s.stopLoad == nil {
		return
	}
	s.stopLoad()
	<-s.loadDone
}

// checker knows where this system's books are.
func (s *system) checker() invariant.Checker {
	c := invariant.Checker{
		Bank:      "http://" + s.addr(portBankAdmin),
		Warehouse: "http://" + s.addr(portWarehouse),
		Orders:    s.path("order.db"),
		Payments:  s.path("payment.db"),
		Stock:     s.path("inventory.db"),
	}
	for _, o := range s.load.Accepted() {
		c.Accepted = append(c.Accepted, o.ID)
	}
	return c
}
