package service

import (
	"testing"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/flow"
)

// A target without a route pays nothing for routes.
func TestLaneWithoutRouteAllocatesNothing(t *testing.T) {
	var s Service
	lane := s.lane("payment")
	ctx := flow.WithLabels(t.Context(), map[string]string{"tier": "premium", flow.LabelUser: "ada"})
	if n := testing.AllocsPerRun(100, func() { lane(ctx) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
	if err := s.Routes().Set(canary.Route{Service: "payment", Stable: "v1", Canary: "v2", Weight: 100}); err != nil {
		t.Fatal(err)
	}
	if got := lane(ctx); got != "v2" {
		t.Errorf("lane %q, want v2", got)
	}
}
