// Package load places orders at a fixed mean rate, open loop: arrivals do not
// wait for answers, so a slow shop is as loaded as a fast one.
//
//	g := load.New(load.Plan{URL: "http://127.0.0.1:17610", Rate: 20})
//	err := g.Run(ctx) // until ctx ends and the last answer is in
//	fmt.Println(g.Stats())
//	ids := g.Accepted() // what the shop must not lose
//
// Arrivals are Poisson, from a fixed seed: two runs send the same orders at the
// same moments. It does not try again: what the shop answers is what it
// measures.
package load

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/surefoot-go/surefoot/locks"
	"github.com/surefoot-go/surefoot/safe"
)

// Plan says what to send. The zero value of each field but URL works.
type Plan struct {
	URL         string            // base URL of the gateway; required
	Rate        float64           // mean orders per second; 0 means 20
	Seed        uint64            // of arrivals and their content; 0 means 1
	Users, SKUs int               // how many of each the shop has; 0 means 1000 and 50
	MaxInFlight int               // requests without an answer; 0 means 256. An arrival beyond it is dropped and counted
	Timeout     time.Duration     // limit of one request; 0 means 5s
	Record      string            // file to append each accepted order to, one JSON object a line; "" means none
	Transport   http.RoundTripper // nil means one of its own that keeps its connections
}

// Generator runs a Plan once. Its methods are safe for concurrent use.
type Generator struct {
	plan Plan
	run  string // makes idempotency keys differ between runs on one database
	book locks.Guarded[book]
}

// book is what a run has come to so far.
type book struct {
	stats    Stats
	latency  histogram
	accepted []Order
	record   *os.File
}

// Order is one accepted order: the shop has said 201 to it.
type Order struct {
	ID     string    `json:"orderId"`
	Status string    `json:"status"` // when accepted
	Key    string    `json:"idempotencyKey"`
	At     time.Time `json:"at"`
}

// New returns a generator that has not started.
func New(p Plan) *Generator {
	if p.Rate == 0 {
		p.Rate = 20
	}
	if p.Seed == 0 {
		p.Seed = 1
	}
	if p.Users == 0 {
		p.Users = 1000
	}
	if p.SKUs == 0 {
		p.SKUs = 50
	}
	if p.MaxInFlight == 0 {
		p.MaxInFlight = 256
	}
	if p.Timeout == 0 {
		p.Timeout = 5 * time.Second
	}
	g := &Generator{plan: p, run: rand.Text()[:8], book: locks.Guarded[book]{Name: "load.book"}}
	g.book.Store(book{stats: Stats{Statuses: map[string]int64{}, Refused: map[string]int64{}}})
	return g
}

// Run sends until ctx ends, waits for the answers under way (at most
// Plan.Timeout), and returns nil, or what kept it from starting. Call it once.
func (g *Generator) Run(ctx context.Context) (err error) {
	if g.plan.Record != "" {
		record, err := os.OpenFile(g.plan.Record, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("load: the record cannot be written: %w", err)
		}
		defer record.Close()
		g.book.With(func(b *book) { b.record = record })
	}
	client := &http.Client{Transport: g.plan.Transport, Timeout: g.plan.Timeout}
	if client.Transport == nil {
		own := &http.Transport{
			DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
			MaxIdleConnsPerHost: 32,
			IdleConnTimeout:     30 * time.Second,
		}
		defer own.CloseIdleConnections()
		client.Transport = own
	}
	// The arrivals end with ctx; a request that is out is not cut off, or the
	// shop would have accepted an order we know nothing of.
	out := context.WithoutCancel(ctx)
	rng := mrand.New(mrand.NewPCG(g.plan.Seed, 7600))
	flying := safe.Group{Name: "load", Max: -1, All: true} // bounded by MaxInFlight, which does not block
	next, timer := time.Now(), time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		next = next.Add(time.Duration(rng.ExpFloat64() / g.plan.Rate * float64(time.Second)))
		o := arrival{
			User: fmt.Sprintf("u-%04d", 1+rng.IntN(g.plan.Users)),
			SKU:  fmt.Sprintf("sku-%02d", 1+rng.IntN(g.plan.SKUs)),
			// One to three pieces: no order comes near the bank's card limit.
			Quantity: 1 + rng.IntN(3),
			Key:      fmt.Sprintf("load-%s-%06d", g.run, n),
		}
		timer.Reset(time.Until(next)) // one that is late is sent at once: the mean rate holds
		select {
		case <-timer.C:
		case <-ctx.Done():
			return flying.Wait()
		}
		if !g.depart() {
			continue
		}
		flying.Go(out, func(ctx context.Context) error {
			g.send(ctx, client, o)
			return nil
		})
	}
}

type arrival struct {
	User     string `json:"userId"`
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
	Key      string `json:"idempotencyKey"`
}

// depart counts a request in, or drops it.
func (g *Generator) depart() (leaves bool) {
	g.book.With(func(b *book) {
		if leaves = b.stats.InFlight < int64(g.plan.MaxInFlight); !leaves {
			b.stats.Dropped++
			return
		}
		b.stats.Sent++
		b.stats.InFlight++
	})
	return leaves
}

func (g *Generator) send(ctx context.Context, client *http.Client, o arrival) {
	begun := time.Now()
	answered, why := place(ctx, client, g.plan.URL, o)
	took := time.Since(begun)
	g.book.With(func(b *book) {
		b.stats.InFlight--
		b.latency.add(took)
		if answered.OrderID == "" {
			b.stats.Refused[why]++
			return
		}
		b.accept(Order{ID: answered.OrderID, Status: answered.Status, Key: o.Key, At: begun.UTC()})
	})
}

func (b *book) accept(o Order) {
	b.stats.Accepted++
	b.stats.Statuses[o.Status]++
	if o.Status == "payment_pending" {
		b.stats.Pending++
	}
	b.accepted = append(b.accepted, o)
	if b.record == nil {
		return
	}
	if line, err := json.Marshal(o); err == nil {
		if _, err := b.record.Write(append(line, '\n')); err != nil {
			b.stats.Refused["record_not_written"]++
		}
	}
}

type answer struct {
	OrderID string `json:"orderId"`
	Status  string `json:"status"`
	Error   string `json:"error"`
}

// place makes one request. why names the failure when there is no order id:
// the error id the shop gave, "http_<status>", "timeout" or "no_answer".
func place(ctx context.Context, client *http.Client, url string, o arrival) (a answer, why string) {
	body, err := json.Marshal(o)
	if err != nil {
		return a, "no_answer"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/orders", bytes.NewReader(body))
	if err != nil {
		return a, "no_answer"
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		if t, ok := err.(interface{ Timeout() bool }); ok && t.Timeout() {
			return a, "timeout"
		}
		return a, "no_answer"
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return a, "no_answer"
	}
	if json.Unmarshal(raw, &a) != nil || res.StatusCode != http.StatusCreated {
		if a.OrderID = ""; a.Error != "" {
			return a, a.Error
		}
		return a, fmt.Sprintf("http_%d", res.StatusCode)
	}
	return a, ""
}

// Accepted returns every order accepted so far, in the order of the answers.
// The caller owns the slice.
func (g *Generator) Accepted() []Order {
	var out []Order
	g.book.Read(func(b book) { out = append(out, b.accepted...) })
	return out
}
