package load_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/shop/load"
)

// shop answers like the gateway; no network, so that time can be fake.
type shop func(n int, r *http.Request) (status int, body string, err error)

type asked struct {
	mu     sync.Mutex
	shop   shop
	at     []time.Time
	bodies []string
}

func (a *asked) RoundTrip(r *http.Request) (*http.Response, error) {
	raw, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	n := len(a.at)
	a.at, a.bodies = append(a.at, time.Now()), append(a.bodies, string(raw))
	a.mu.Unlock()
	status, body, err := a.shop(n, r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func run(t *testing.T, p load.Plan, s shop, d time.Duration) (*load.Generator, *asked) {
	a := &asked{shop: s}
	p.URL, p.Transport = "http://gateway", a
	g := load.New(p)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := g.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return g, a
}

func TestArrivalsArePoissonAndRepeatable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		paid := func(n int, _ *http.Request) (int, string, error) { return 201, `{"orderId":"o","status":"paid"}`, nil }
		start := time.Now()
		g, a := run(t, load.Plan{}, paid, 100*time.Second)
		s := g.Stats()
		// 2000 expected; the standard deviation of a Poisson count is its root.
		if off := math.Abs(float64(s.Sent) - 2000); off > 3*math.Sqrt(2000) {
			t.Errorf("%d arrivals in 100s at 20/s", s.Sent)
		}
		var sum, squares float64
		prev := start
		for _, at := range a.at {
			gap := at.Sub(prev).Seconds()
			prev, sum, squares = at, sum+gap, squares+gap*gap
		}
		n := float64(len(a.at))
		mean := sum / n
		if cv := math.Sqrt(squares/n-mean*mean) / mean; cv < 0.9 || cv > 1.1 {
			t.Errorf("gaps have a coefficient of variation of %.2f; exponential ones have 1", cv)
		}
		again := time.Now()
		_, b := run(t, load.Plan{}, paid, 100*time.Second)
		for i := range min(len(a.at), len(b.at)) {
			if a.at[i].Sub(start) != b.at[i].Sub(again) || cut(a.bodies[i]) != cut(b.bodies[i]) {
				t.Fatalf("arrival %d differs between runs of one seed", i)
			}
		}
	})
}

// cut takes the idempotency key off, which differs between runs.
func cut(body string) string { return body[:strings.Index(body, "idempotencyKey")] }

func TestArrivalsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := run(t, load.Plan{MaxInFlight: 50}, func(_ int, r *http.Request) (int, string, error) {
			<-r.Context().Done() // never answers
			return 0, "", r.Context().Err()
		}, 60*time.Second)
		s := g.Stats()
		if s.Sent < 550 || s.Dropped < 400 || s.Refused["timeout"] != s.Sent || s.InFlight != 0 {
			t.Errorf("%+v: want 50 out at a time for 5s each, the rest dropped and counted", s)
		}
	})
}

func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "accepted.jsonl")
		g, a := run(t, load.Plan{Rate: 100, Record: file}, func(n int, r *http.Request) (int, string, error) {
			time.Sleep(time.Duration(n%10) * 10 * time.Millisecond)
			switch n % 5 {
			case 0:
				return 201, `{"orderId":"o-` + r.Method + `","status":"payment_pending"}`, nil
			case 1:
				return 503, `{"error":"unavailable","orderId":"not-accepted"}`, nil
			case 2:
				return 502, `<html>`, nil
			case 3:
				return 0, "", io.ErrUnexpectedEOF
			}
			return 201, `{"orderId":"o","status":"paid"}`, nil
		}, 10*time.Second)
		s := g.Stats()
		fifth := int64(len(a.at) / 5)
		for name, got := range map[string]int64{"pending": s.Pending, "paid": s.Statuses["paid"], "unavailable": s.Refused["unavailable"], "http_502": s.Refused["http_502"], "no_answer": s.Refused["no_answer"]} {
			if got < fifth || got > fifth+1 {
				t.Errorf("%s: %d of %d", name, got, s.Sent)
			}
		}
		if s.P50 < 40*time.Millisecond || s.P50 > 50*time.Millisecond || s.P99 < 90*time.Millisecond || s.Max != 90*time.Millisecond {
			t.Errorf("p50 %v p99 %v max %v", s.P50, s.P99, s.Max)
		}
		if got := g.Accepted(); int64(len(got)) != s.Accepted {
			t.Errorf("%d accepted ids, %d accepted", len(got), s.Accepted)
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var lines int64
		for sc := bufio.NewScanner(f); sc.Scan(); lines++ {
			var o load.Order
			if err := json.Unmarshal(sc.Bytes(), &o); err != nil || o.ID == "" || o.Status == "" {
				t.Fatalf("record line %q: %v", sc.Text(), err)
			}
		}
		if lines != s.Accepted {
			t.Errorf("%d lines recorded, %d accepted", lines, s.Accepted)
		}
		if text := s.String(); !strings.Contains(text, "payment_pending") || !strings.Contains(text, "http_502") {
			t.Error(text)
		}
	})
}
