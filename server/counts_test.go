package server

import (
	"fmt"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/push"
	"github.com/surefoot-go/surefoot/server/store"
)

func TestCallsAreCountedByInstance(t *testing.T) {
	var c counts
	now := time.Date(2026, 11, 24, 4, 5, 6, 0, time.UTC)
	span := func(service, instance string, kind store.Kind, failed bool) store.Span {
		return store.Span{Resource: store.Resource{Service: service, Instance: instance}, Kind: kind, Error: failed, Duration: time.Millisecond}
	}
	c.add(now, []store.Span{
		span("order", "a", store.KindServer, false), span("order", "a", store.KindServer, true), span("order", "b", store.KindServer, false),
		span("order", "a", store.KindClient, true), span("order", "", store.KindServer, true), span("pay", "a", store.KindServer, true),
	})
	totals, lately := c.of("order", now)
	if len(totals) != 2 || totals["a"] != (push.Count{Calls: 2, Errors: 1, Time: 2 * time.Millisecond}) || lately.Calls != 3 {
		t.Errorf("%+v, %+v", totals, lately)
	}
	now = now.Add(90 * time.Second)
	if _, lately := c.of("order", now); lately.Calls != 3 {
		t.Errorf("a window ago: %+v", lately)
	}
	now = now.Add(2 * time.Minute)
	if totals, lately := c.of("order", now); lately.Calls != 0 || totals["a"].Calls != 2 {
		t.Errorf("long ago: %+v, %+v", totals, lately)
	}
	for i := range mostCounted + 100 {
		c.add(now, []store.Span{span("many", fmt.Sprint(i), store.KindServer, false)})
	}
	if n := len(c.seen); n != mostCounted {
		t.Errorf("%d instances are counted", n)
	}
	c.add(now.Add(11*time.Minute), []store.Span{span("order", "a", store.KindServer, false)})
	if n := len(c.seen); n != 1 {
		t.Errorf("%d instances are still known", n)
	}
}
