package diagnose_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/detect"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/topology"
)

// shop plays the reference shop under 20 orders a second, sends its spans
// through the rooms as server does, and keeps them.
type shop struct {
	r      *rand.Rand
	now    time.Time
	n      uint64
	fault  string
	fails  int // bank failures in a row; ten open payment's breaker
	probed time.Time
	spans  []store.Span
	logs   []store.Log
	graph  topology.Graph
	detect detect.Detector
	book   alert.Book
	topo   topology.Topology
	open   *alert.Incident
	opened func(alert.Event)

	findings []detect.Symptom // what services say of themselves
	silent   bool             // no spans arrive
}

func newShop() *shop {
	return &shop{r: rand.New(rand.NewPCG(5, 6)), now: time.Date(2026, 11, 23, 4, 5, 0, 0, time.UTC)}
}

// Window and Search make shop a store.
func (s *shop) Window(_ context.Context, from, to time.Time, yield func(store.Span) bool) error {
	sorted := slices.Clone(s.spans)
	slices.SortStableFunc(sorted, func(a, b store.Span) int { return a.Start.Compare(b.Start) })
	for _, sp := range sorted {
		if !sp.Start.Before(from) && sp.Start.Before(to) && !yield(sp) {
			return nil
		}
	}
	return nil
}

func (s *shop) Search(_ context.Context, q store.LogQuery) (out []store.Log, err error) {
	for _, l := range slices.Backward(s.logs) {
		if (q.TraceID.IsZero() || q.TraceID == l.TraceID) && l.Severity >= q.MinSeverity &&
			strings.Contains(strings.ToLower(l.Body), strings.ToLower(q.Contains)) && len(out) < q.Limit {
			out = append(out, l)
		}
	}
	return out, nil
}

func (s *shop) id() (id store.SpanID) {
	s.n++
	binary.BigEndian.PutUint64(id[:], s.n*0x9e3779b97f4a7c15)
	return id
}

func (s *shop) ms(median float64) time.Duration {
	return time.Duration(median * (0.7 + 0.6*s.r.Float64()) * 1e6)
}

// second lets a second of orders happen and the rooms see it a second later.
func (s *shop) second() {
	var batch []store.Span
	n := 15 + s.r.IntN(11)
	if s.silent {
		n = 0
	}
	for i := range n {
		batch = append(batch, s.order(s.now.Add(time.Duration(i)*time.Second/time.Duration(n)))...)
	}
	s.spans = append(s.spans, batch...)
	s.now = s.now.Add(time.Second)
	s.graph.Fold(batch, s.now)
	symptoms := append(s.detect.Step(s.now, s.graph.Stats(s.now)), s.findings...)
	s.topo = detect.Paint(s.graph.Snapshot(s.now), symptoms)
	for _, ev := range s.book.Step(s.now, symptoms, s.topo) {
		inc := ev.Incident
		s.open = &inc
		if s.opened != nil {
			s.opened(ev)
		}
	}
}

// order is the spans of one order at a time.
func (s *shop) order(at time.Time) []store.Span {
	var trace store.TraceID
	id := s.id()
	copy(trace[8:], id[:])
	var out []store.Span
	add := func(sp store.Span) store.SpanID {
		sp.TraceID, sp.ID = trace, s.id()
		if sp.Version == "" {
			sp.Version = "v1"
		}
		out = append(out, sp)
		return sp.ID
	}
	res := func(name string) store.Resource { return store.Resource{Service: name} }
	fail := func(sp *store.Span, kind, text string) {
		sp.Error, sp.Message = true, text
		if sp.Attrs == nil {
			sp.Attrs = map[string]string{}
		}
		sp.Attrs["error.type"] = kind
		sp.Events = append(sp.Events, store.Event{Name: "exception", Attrs: map[string]string{"exception.type": kind, "exception.message": text}})
	}
	slowUser := s.ms(4)
	if s.fault == "user-slow" {
		slowUser += s.ms(800)
	}
	slowDB := s.ms(2)
	if s.fault == "db-slow" {
		slowDB += s.ms(500)
	}
	pay, payErr, version := s.charge(at.Add(slowUser+5*time.Millisecond), add, res, fail)
	inv := s.ms(6)
	total := slowUser + slowDB + pay + inv + s.ms(8)

	root := store.Span{Resource: res("gateway"), Name: "POST /orders", Kind: store.KindServer, Start: at, Duration: total}
	rootAt := len(out)
	rootID := add(root)
	user := add(store.Span{Resource: res("gateway"), Parent: rootID, Name: "GET", Kind: store.KindClient, Start: at, Duration: slowUser + s.ms(1),
		Attrs: map[string]string{"peer.service": "user", "http.request.method": "GET"}})
	add(store.Span{Resource: res("user"), Parent: user, Name: "GET /users/{id}", Kind: store.KindServer, Start: at, Duration: slowUser})
	begin := at.Add(slowUser)
	call := add(store.Span{Resource: res("gateway"), Parent: rootID, Name: "shop.Order/Place", Kind: store.KindClient, Start: begin, Duration: total - slowUser - s.ms(2),
		Attrs: map[string]string{"peer.service": "order", "rpc.system": "grpc"}})
	callAt := len(out) - 1
	order := add(store.Span{Resource: res("order"), Parent: call, Name: "shop.Order/Place", Kind: store.KindServer, Start: begin, Duration: total - slowUser - s.ms(3)})
	orderAt := len(out) - 1
	add(store.Span{Resource: res("order"), Parent: order, Name: "INSERT orders", Kind: store.KindClient, Start: begin, Duration: slowDB,
		Attrs: map[string]string{"db.system.name": "sqlite", "db.namespace": "order"}})
	begin = begin.Add(slowDB)
	invCall := store.Span{Resource: res("order"), Parent: order, Name: "shop.Inventory/Reserve", Kind: store.KindClient, Start: begin, Duration: inv,
		Attrs: map[string]string{"peer.service": "inventory", "rpc.system": "grpc"}}
	if s.fault == "inventory-dead" {
		fail(&invCall, "unavailable", "connection refused")
		add(invCall)
		for _, k := range []int{orderAt, callAt, rootAt} {
			fail(&out[k], "unavailable", "inventory is not available at the moment")
		}
		// what was said of payment did not happen
		return slices.DeleteFunc(out, func(sp store.Span) bool { return sp.Service == "payment" })
	}
	invID := add(invCall)
	add(store.Span{Resource: res("inventory"), Parent: invID, Name: "shop.Inventory/Reserve", Kind: store.KindServer, Start: begin, Duration: inv - 500*time.Microsecond})
	begin = begin.Add(inv)
	payCall := store.Span{Resource: res("order"), Parent: order, Name: "shop.Payment/Charge", Kind: store.KindClient, Start: begin, Duration: pay + s.ms(1),
		Attrs: map[string]string{"peer.service": "payment", "rpc.system": "grpc"}}
	switch payErr {
	case "":
	case "internal_error":
		fail(&payCall, payErr, "payment made a mistake") // order keeps the order as pending
	case "timeout":
		fail(&payCall, payErr, "payment did not answer in time")
		for _, k := range []int{orderAt, callAt, rootAt} {
			fail(&out[k], "timeout", "the request took too long")
		}
	}
	payID := add(payCall)
	for k := range out { // charge wrote its spans before it had a parent
		if out[k].Service == "payment" && out[k].Kind == store.KindServer {
			out[k].Parent = payID
		}
	}
	_ = version
	return out
}

// charge is payment's part; it returns how long it took and how it failed.
func (s *shop) charge(at time.Time, add func(store.Span) store.SpanID, res func(string) store.Resource, fail func(*store.Span, string, string)) (time.Duration, string, string) {
	sp := store.Span{Resource: res("payment"), Name: "shop.Payment/Charge", Kind: store.KindServer, Start: at, Duration: s.ms(12)}
	sp.Version = "v1"
	if s.fault == "bad-release" && s.r.Float64() < .25 {
		sp.Version = "v2"
		fail(&sp, "internal_error", "nil discount for tier premium")
		sp.Duration = s.ms(2)
		add(sp)
		return sp.Duration, "internal_error", "v2"
	}
	if s.fault == "payment-hangs" {
		sp.Duration = 2 * time.Second
		sp.Error, sp.Attrs = true, map[string]string{"error.type": "canceled"}
		add(sp)
		return 2 * time.Second, "timeout", "v1"
	}
	bank := store.Span{Resource: res("payment"), Name: "POST", Kind: store.KindClient, Start: at.Add(time.Millisecond), Duration: s.ms(5),
		Attrs: map[string]string{"peer.service": "bank", "http.request.method": "POST", "server.address": "127.0.0.1"}}
	bank.Version = "v1"
	broken := s.fault == "bank-down" || s.fault == "bank-slow"
	if !broken {
		s.fails = 0
	}
	if broken && s.fails >= 10 && s.now.Sub(s.probed) < time.Second {
		sp.Events = append(sp.Events, store.Event{Name: "surefoot.breaker.rejected", At: at, Attrs: map[string]string{"surefoot.target": "bank"}})
		sp.Duration = s.ms(2)
		add(sp)
		return sp.Duration, "", "v1"
	}
	switch s.fault {
	case "bank-down":
		bank.Duration = s.ms(.5)
		fail(&bank, "unavailable", "dial tcp 127.0.0.1:17620: connect: connection refused")
		sp.Duration = s.ms(3)
	case "bank-slow":
		bank.Duration = 400 * time.Millisecond
		fail(&bank, "timeout", "no answer from bank in time")
		sp.Duration = 402 * time.Millisecond
	}
	if broken {
		s.probed = s.now
		if s.fails++; s.fails == 10 {
			s.logs = append(s.logs, store.Log{Resource: res("payment"), At: at, Severity: 13, Body: "breaker open",
				Attrs: map[string]string{"target": "bank", "from": "closed", "to": "open", "error": bank.Message}})
		}
	}
	id := add(sp)
	bank.Parent = id
	add(bank)
	return sp.Duration, "", "v1"
}
