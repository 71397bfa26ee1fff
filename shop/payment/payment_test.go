package payment_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/retry"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/shop/payment"
	"github.com/surefoot-go/surefoot/shop/pgtest"
	"github.com/surefoot-go/surefoot/shop/shopv1"
	"github.com/surefoot-go/surefoot/shop/sqldb"
)

// bank answers a charge; it remembers when it was asked for which key.
type bank struct {
	mu     sync.Mutex
	answer func(key string) (status int, body string)
	asked  []string
	at     []time.Time
	header http.Header // of the last request
}

func (b *bank) RoundTrip(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := r.Header.Get("Idempotency-Key")
	b.asked, b.at, b.header = append(b.asked, key), append(b.at, time.Now()), r.Header
	status, body := b.answer(key)
	if status == 0 {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	w.WriteHeader(status)
	w.WriteString(body)
	return w.Result(), nil
}

const charged = `{"chargeId":"ch_1","status":"charged"}`

func open(t *testing.T, dsn, version string, b *bank) *payment.Service {
	t.Helper()
	db, err := sqldb.Open(t.Context(), dsn, sqldb.Options{Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context(), payment.Migrations()); err != nil {
		t.Fatal(err)
	}
	return &payment.Service{DB: db, Bank: "http://bank", HTTP: &http.Client{Transport: b}, Version: version,
		Observe: observe.Sinks{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}}
}

func charge(s *payment.Service, ctx context.Context, id string) (*shopv1.Payment, error) {
	return s.Charge(ctx, &shopv1.ChargeRequest{OrderId: id, UserId: "u-0001", AmountMinor: 1000, Currency: "EUR"})
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   string
		reason string
	}{
		{"charged", 201, charged, "PAID", ""},
		{"charged before", 200, charged, "PAID", ""},
		{"declined", 402, `{"status":"declined","reason":"the amount is over the card limit"}`, "DECLINED", "card limit"},
		{"refused unread", 400, `{"error":"x"}`, "DECLINED", "refused"},
		{"closed", 503, `{"error":"the bank is closed"}`, "PENDING", ""},
		{"broken", 500, ``, "PENDING", ""},
		{"other charge under our key", 409, `{}`, "PENDING", ""},
		{"too many", 429, `{}`, "PENDING", ""},
		{"away", 0, ``, "PENDING", ""},
		{"a page instead of an answer", 200, `<html>ok</html>`, "PENDING", ""},
		{"an answer without a charge", 200, `{"status":"charged"}`, "PENDING", ""},
		{"a decline that is a page", 402, `<html>`, "PENDING", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bank{answer: func(string) (int, string) { return c.status, c.body }}
			s := open(t, filepath.Join(t.TempDir(), "p.db"), "v1", b)
			defer s.DB.Close()
			s.HTTP = httpx.Client{Target: "bank", Transport: b, Policy: resilience.Policy{Retry: retry.Policy{Max: -1}}}.HTTP()
			ctx := flow.WithLabels(t.Context(), map[string]string{"tier": "premium"})
			p, err := charge(s, ctx, "o-1")
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Status.String()[len("PAYMENT_STATUS_"):]; got != c.want || !strings.Contains(p.Reason, c.reason) {
				t.Errorf("%s %q, want %s %q", got, p.Reason, c.want, c.reason)
			}
			again, err := charge(s, ctx, "o-1")
			if err != nil || again.Status != p.Status || again.ChargeId != p.ChargeId || len(b.asked) != 1 {
				t.Errorf("charged again: %v %v, bank asked %d times", again, err, len(b.asked))
			}
			if b.asked[0] != "o-1" || strings.Contains(b.header.Get("Baggage"), "premium") {
				t.Errorf("key %q, baggage %q: labels are none of the bank's business", b.asked[0], b.header.Get("Baggage"))
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "p.db"), "v1", &bank{})
	defer s.DB.Close()
	for _, in := range []*shopv1.ChargeRequest{
		{AmountMinor: 1, Currency: "EUR"},
		{OrderId: "o", Currency: "EUR"},
		{OrderId: "o", AmountMinor: -1, Currency: "EUR"},
		{OrderId: "o", AmountMinor: 1},
	} {
		if _, err := s.Charge(t.Context(), in); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%v: %v", in, err)
		}
	}
	if _, err := s.Lookup(t.Context(), &shopv1.LookupRequest{OrderIds: make([]string, 501)}); errs.KindOf(err) != errs.Invalid {
		t.Errorf("501 orders: %v", err)
	}
}

// TestV2 pins the bug of the bad release, and what is right about it.
func TestV2(t *testing.T) {
	b := &bank{answer: func(string) (int, string) { return 201, charged }}
	dsn := filepath.Join(t.TempDir(), "p.db")
	v1, v2 := open(t, dsn, "v1", b), open(t, dsn, "v2", b)
	defer v1.DB.Close()
	defer v2.DB.Close()
	tier := func(s string) context.Context { return flow.WithLabels(t.Context(), map[string]string{"tier": s}) }
	if p, err := charge(v2, tier("standard"), "o-1"); err != nil || p.AmountMinor != 1000 {
		t.Errorf("standard: %v %v", p, err)
	}
	if p, err := charge(v2, tier("Premium"), "o-2"); err != nil || p.AmountMinor != 950 {
		t.Errorf("a member as the loyalty team spells it: %v %v", p, err)
	}
	err := safe.Call(func() error { _, err := charge(v2, tier("premium"), "o-3"); return err })
	if p := (*safe.Panic)(nil); !errors.As(err, &p) {
		t.Errorf("premium: %v, want a panic", err)
	}
	reply, err := v1.Lookup(t.Context(), &shopv1.LookupRequest{OrderIds: []string{"o-1", "o-2", "o-3"}})
	if err != nil || len(reply.Payments) != 2 || len(b.asked) != 2 {
		t.Errorf("%v %v, bank asked for %v: the failed charge must leave nothing", reply, err, b.asked)
	}
	// v1 settles it, and what v2 priced stays as v2 priced it.
	if p, err := charge(v1, tier("premium"), "o-3"); err != nil || p.AmountMinor != 1000 {
		t.Errorf("premium through v1: %v %v", p, err)
	}
	if p, err := charge(v1, tier("premium"), "o-2"); err != nil || p.AmountMinor != 950 {
		t.Errorf("priced by v2, repeated through v1: %v %v", p, err)
	}
}

// TestV3 pins the bug of the story leak: right answers at the right price, and
// one goroutine left at its send for each payment.
func TestV3(t *testing.T) {
	b := &bank{answer: func(string) (int, string) { return 201, charged }}
	v3 := open(t, filepath.Join(t.TempDir(), "p.db"), "v3", b)
	defer v3.DB.Close()
	const charges = 5
	for i := range charges {
		ctx := flow.WithLabels(t.Context(), map[string]string{"tier": "premium"})
		p, err := charge(v3, ctx, fmt.Sprint("o-", i))
		if err != nil || p.AmountMinor != 950 || p.Status != shopv1.PaymentStatus_PAYMENT_STATUS_PAID {
			t.Fatalf("%v %v", p, err)
		}
	}
	if _, err := charge(v3, t.Context(), "o-0"); err != nil { // asked again: no second receipt
		t.Fatal(err)
	}
	var stacks []byte
	limit, tick := time.After(10*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		stacks = make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		stuck := 0
		for g := range strings.SplitSeq(string(stacks), "\n\n") {
			if strings.Contains(g, "[chan send") && strings.Contains(g, "payment.(*receipts).number") {
				stuck++
			}
		}
		if stuck == charges {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%d goroutines are left, want %d:\n%s", stuck, charges, stacks)
		}
	}
}

func TestBothEngines(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "p.db")
		outage(t, file)
	})
	t.Run("postgres", func(t *testing.T) { outage(t, pgtest.Start(t)) })
}

// outage: the bank is away for half a minute and 60 payments wait for it; two
// versions, as two processes, share the database and its outbox.
func outage(t *testing.T, dsn string) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		b := &bank{}
		b.answer = func(key string) (int, string) {
			if time.Since(start) < 30*time.Second {
				return 503, ""
			}
			if strings.HasSuffix(key, "0") {
				return 402, `{"status":"declined","reason":"no"}`
			}
			return 201, charged
		}
		v1, v2 := open(t, dsn, "v1", b), open(t, dsn, "v2", b)
		defer v1.DB.Close()
		defer v2.DB.Close()
		ctx, cancel := context.WithCancel(t.Context())
		outboxes := []*safe.Task{safe.Go(ctx, "v1", v1.Outbox), safe.Go(ctx, "v2", v2.Outbox)}
		var ids []string
		for i := range 60 {
			s := v1
			if i%3 == 0 {
				s = v2
			}
			id := fmt.Sprintf("o-%02d", i)
			if p, err := charge(s, t.Context(), id); err != nil || p.Status != shopv1.PaymentStatus_PAYMENT_STATUS_PENDING {
				t.Fatalf("%s: %v %v", id, p, err)
			}
			ids = append(ids, id)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(30*time.Second - time.Since(start))
		b.mu.Lock()
		during := len(b.asked) - 60
		b.mu.Unlock()
		time.Sleep(15 * time.Second)
		cancel()
		for _, o := range outboxes {
			if err := o.Wait(); err != nil {
				t.Error(err)
			}
		}
		// At 3s waits at most, half that on average, two outboxes ask about 40
		// times in 30s, a few more at first.
		if during > 80 {
			t.Errorf("the outboxes asked %d times while the bank was away", during)
		}
		reply, err := v1.Lookup(t.Context(), &shopv1.LookupRequest{OrderIds: append(ids, "o-none")})
		if err != nil {
			t.Fatal(err)
		}
		got := map[shopv1.PaymentStatus]int{}
		for _, p := range reply.Payments {
			got[p.Status]++
		}
		if got[shopv1.PaymentStatus_PAYMENT_STATUS_PAID] != 54 || got[shopv1.PaymentStatus_PAYMENT_STATUS_DECLINED] != 6 || len(reply.Payments) != 60 {
			t.Errorf("settled: %v", got)
		}
		// After the bank is back each payment is asked for once, at most 50 a
		// second for each outbox.
		times, asked := map[time.Time]int{}, map[string]int{}
		for i, at := range b.at {
			if at.Sub(start) >= 30*time.Second {
				times[at.Truncate(time.Second)]++
				asked[b.asked[i]]++
			}
		}
		for at, n := range times {
			if n > 101 {
				t.Errorf("%d charges in the second at %v", n, at.Sub(start))
			}
		}
		for id, n := range asked {
			if n != 1 {
				t.Errorf("%s was asked for %d times after the bank was back", id, n)
			}
		}
		t.Logf("asked %d times during the outage, %d settled after it", during, len(asked))
	})
}
