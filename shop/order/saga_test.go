package order_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/shop/order"
	"github.com/surefoot-go/surefoot/shop/pgtest"
	"github.com/surefoot-go/surefoot/shop/shopv1"
)

func TestNext(t *testing.T) {
	all := []order.State{order.New, order.Charging, order.Pending, order.Charged, order.Declining, order.Canceling, order.Paid, order.Declined, order.Canceled, order.Rejected}
	outcomes := []order.Outcome{order.Unknown, order.Succeeded, order.Refused, order.Deferred, order.Abandoned}
	moves := map[string]order.State{ // everything else stays
		"new unknown": order.Canceling, "new succeeded": order.Charging, "new refused": order.Rejected, "new abandoned": order.Canceling,
		"charging unknown": order.Pending, "charging succeeded": order.Charged, "charging refused": order.Declining, "charging deferred": order.Pending,
		"pending succeeded": order.Charged, "pending refused": order.Declining,
		"charged succeeded": order.Paid, "declining succeeded": order.Declined, "canceling succeeded": order.Canceled,
	}
	names := []string{"unknown", "succeeded", "refused", "deferred", "abandoned"}
	for _, s := range all {
		for i, o := range outcomes {
			want, ok := moves[string(s)+" "+names[i]]
			if !ok {
				want = s
			}
			if got := order.Next(s, o); got != want {
				t.Errorf("%s, %s: %s, want %s", s, names[i], got, want)
			}
			if s.Settled() && order.Next(s, o) != s {
				t.Errorf("%s moved", s)
			}
		}
	}
}

// overLimit is a quantity of the dearest SKU that the bank declines.
const overLimit = 200

// TestCrashPoints kills the process before and after each call of the saga,
// and loses each call and each answer, and looks where recovery takes it.
func TestCrashPoints(t *testing.T) {
	for _, c := range []struct {
		call     string
		fault    fault
		quantity int32
		says     string // status the customer hears, "" for an error or none
		ends     string
	}{
		{"Reserve", dieBefore, 1, "", "canceled"},
		{"Reserve", dieAfter, 1, "", "canceled"},
		{"Reserve", lostBefore, 1, "", "canceled"},
		{"Reserve", lostAfter, 1, "", "canceled"},
		{"Charge", dieBefore, 1, "", "paid"},
		{"Charge", dieAfter, 1, "", "paid"},
		{"Charge", lostBefore, 1, "PAYMENT_PENDING", "paid"},
		{"Charge", lostAfter, 1, "PAYMENT_PENDING", "paid"},
		{"bank", lostBefore, 1, "PAYMENT_PENDING", "paid"},
		{"bank", lostAfter, 1, "PAYMENT_PENDING", "paid"},
		{"Confirm", dieBefore, 1, "", "paid"},
		{"Confirm", dieAfter, 1, "", "paid"},
		{"Confirm", lostBefore, 1, "PAID", "paid"},
		{"Confirm", lostAfter, 1, "PAID", "paid"},
		{"warehouse", lostBefore, 1, "PAID", "paid"},
		{"warehouse", lostAfter, 1, "PAID", "paid"},
		{"Charge", lostAfter, overLimit, "PAYMENT_PENDING", "declined"},
		{"bank", lostAfter, overLimit, "PAYMENT_PENDING", "declined"},
		{"Release", dieBefore, overLimit, "", "declined"},
		{"Release", dieAfter, overLimit, "", "declined"},
		{"Release", lostBefore, overLimit, "DECLINED", "declined"},
		{"Release", lostAfter, overLimit, "DECLINED", "declined"},
	} {
		t.Run(fmt.Sprintf("%s/%s", c.call, []string{"", "lostBefore", "lostAfter", "dieBefore", "dieAfter"}[c.fault]), func(t *testing.T) {
			dsn := files(t)
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, dsn)
				defer w.close()
				w.strike(once(c.call, c.fault))
				o, err, died := w.place(t.Context(), w.service(), "k", c.quantity)
				heard := ""
				if err == nil && !died {
					heard = o.Status.String()[len("ORDER_STATUS_"):]
				}
				if heard != c.says || died != (c.fault == dieBefore || c.fault == dieAfter) {
					t.Errorf("the customer heard %q (%v, died %v), want %q", heard, err, died, c.says)
				}
				// Somebody asks again before recovery had its turn. What he is told
				// must stay true.
				var ids []string
				if soon, err, _ := w.place(t.Context(), w.service(), "k", c.quantity); err == nil {
					ids = append(ids, soon.OrderId)
				} else if code := errs.From(err).Code(); code != "in_progress" && code != "order_canceled" {
					t.Errorf("the same key at once: %v", err)
				}
				took := w.settle()
				switch late, err, _ := w.place(t.Context(), w.service(), "k", c.quantity); {
				case c.ends == "canceled":
					if errs.From(err).Code() != "order_canceled" {
						t.Errorf("the same key after recovery: %v %v", late, err)
					}
				case err != nil:
					t.Errorf("the same key after recovery: %v", err)
				case w.state(late.OrderId) != c.ends:
					t.Errorf("ended %s, want %s", w.state(late.OrderId), c.ends)
				case heard != "" && late.OrderId != o.OrderId, len(ids) > 0 && late.OrderId != ids[0]:
					t.Errorf("the same key gave another order")
				}
				if n := w.orders(); n != 1 {
					t.Errorf("%d orders in the book", n)
				}
				// The longest lease is 6s; a step more may be taken after it.
				if took > 15*time.Second {
					t.Errorf("recovery took %v", took)
				}
				w.check(ids)
			})
		})
	}
}

// TestChaos places orders while calls and answers get lost and processes die at
// random, on both engines, and proves that the books agree afterwards.
func TestChaos(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint("seed", seed), func(t *testing.T) { chaos(t, seed, 150, files(t)) })
		}
	})
	t.Run("postgres", func(t *testing.T) {
		server := pgtest.Start(t)
		chaos(t, 1, 60, func(name string) string { return pgtest.Database(t, server, name) })
	})
}

func chaos(t *testing.T, seed uint64, orders int, dsn func(string) string) {
	made := map[string]string{} // outside the bubble: CREATE DATABASE needs real time
	for _, name := range []string{"orders", "payments", "stock"} {
		made[name] = dsn(name)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(name string) string { return made[name] })
		defer w.close()
		var mu sync.Mutex
		rng := rand.New(rand.NewPCG(seed, 1))
		struck := map[fault]int{}
		w.strike(func(string) fault {
			mu.Lock()
			defer mu.Unlock()
			f := none
			if rng.IntN(100) < 20 {
				f = fault(1 + rng.IntN(4))
			}
			struck[f]++
			return f
		})
		// Recovery's own process dies now and then as well.
		recovering, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			for recovering.Err() == nil {
				func() {
					defer func() { recover() }()
					w.service().Recover(recovering)
				}()
			}
		})
		var accepted []string
		var customers sync.WaitGroup
		for i := range orders {
			time.Sleep(50 * time.Millisecond) // fake: 20 orders a second
			customers.Go(func() {
				quantity := int32(1)
				if i%10 == 0 {
					quantity = overLimit
				}
				// He asks again with the same key, as a good client does.
				for range 3 {
					o, err, died := w.place(t.Context(), w.service(), fmt.Sprint("k", i), quantity)
					if err == nil && !died {
						mu.Lock()
						accepted = append(accepted, o.OrderId)
						mu.Unlock()
						return
					}
					time.Sleep(700 * time.Millisecond)
				}
			})
		}
		customers.Wait()
		stop()
		all.Wait()
		w.strike(func(string) fault { return none })
		took := w.settle()
		w.check(accepted)
		t.Logf("%d orders, %d accepted, faults %v, settled %v after the last order", orders, len(accepted), struck, took)
		if n := w.orders(); n != orders {
			t.Errorf("%d orders in the book of %d placed", n, orders)
		}
		if len(accepted) < orders/3 {
			t.Errorf("only %d of %d accepted", len(accepted), orders)
		}
	})
}

// TestBadRelease: payment v2 fails for premium users; their orders are accepted
// and settled through v1, whatever the route says.
func TestBadRelease(t *testing.T) {
	dsn := files(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dsn)
		defer w.close()
		w.must(w.routes.Set(canary.Route{Service: "payment", Stable: "v1", Canary: "v2", Match: map[string]string{"tier": "premium"}, Weight: 100}))
		var ids []string
		for i, tier := range []string{"standard", "premium", "premium", "standard"} {
			ctx := flow.WithLabels(t.Context(), map[string]string{"tier": tier})
			o, err, _ := w.place(ctx, w.service(), fmt.Sprint("k", i), 1)
			if err != nil {
				t.Fatal(err)
			}
			want := shopv1.OrderStatus_ORDER_STATUS_PAID
			if tier == "premium" {
				want = shopv1.OrderStatus_ORDER_STATUS_PAYMENT_PENDING
			}
			if o.Status != want {
				t.Errorf("%s user: %s, want %s", tier, o.Status, want)
			}
			ids = append(ids, o.OrderId)
		}
		if took := w.settle(); took > 5*time.Second {
			t.Errorf("settled through v1 after %v", took)
		}
		w.check(ids)
		for _, id := range ids {
			if got := w.state(id); got != "paid" {
				t.Errorf("%s ended %s", id, got)
			}
		}
	})
}

// TestLongOutage: the bank is away for a minute under load. Everything is
// accepted, and paid soon after.
func TestLongOutage(t *testing.T) {
	dsn := files(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dsn)
		defer w.close()
		var away sync.Map
		away.Store("bank", true)
		w.strike(func(call string) fault {
			if _, ok := away.Load(call); ok {
				return lostBefore
			}
			return none
		})
		var ids []string
		for i := range 200 {
			time.Sleep(50 * time.Millisecond)
			o, err, _ := w.place(t.Context(), w.service(), fmt.Sprint("k", i), 1)
			if err != nil || o.Status != shopv1.OrderStatus_ORDER_STATUS_PAYMENT_PENDING {
				t.Fatalf("order %d: %v %v", i, o, err)
			}
			ids = append(ids, o.OrderId)
		}
		time.Sleep(50 * time.Second)
		away.Delete("bank")
		took := w.settle()
		// Two outboxes at 50 a second each, up to 4s until a payment is due and
		// 3s until its outbox looks; then up to 4s until order asks.
		if took > 16*time.Second {
			t.Errorf("settled %v after the bank came back", took)
		}
		t.Logf("200 pending orders settled %v after the bank came back", took)
		w.check(ids)
	})
}

func TestPlaceRefuses(t *testing.T) {
	dsn := files(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dsn)
		defer w.close()
		s := w.service()
		for _, c := range []struct {
			name    string
			in      *shopv1.PlaceRequest
			kind    errs.Kind
			id      string
			details int
		}{
			{"nothing", &shopv1.PlaceRequest{}, errs.Invalid, "invalid_request", 4},
			{"too many", &shopv1.PlaceRequest{UserId: "u", Sku: "sku-01", Quantity: 1001, IdempotencyKey: "a"}, errs.Invalid, "invalid_request", 1},
			{"unknown SKU", &shopv1.PlaceRequest{UserId: "u", Sku: "sku-99", Quantity: 1, IdempotencyKey: "b"}, errs.NotFound, "unknown_sku", 0},
		} {
			_, err := s.Place(t.Context(), c.in)
			if e := errs.From(err); err == nil || e.Kind() != c.kind || e.Code() != c.id || len(e.Details()) != c.details {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if _, err := s.Get(t.Context(), &shopv1.GetOrderRequest{OrderId: "o-none"}); errs.KindOf(err) != errs.NotFound {
			t.Errorf("no such order: %v", err)
		}
		_, err := w.stock.DB.Exec(t.Context(), "UPDATE stock SET available = 1, at_start = 1 WHERE sku = ?", "sku-01")
		w.must(err)
		_, err = s.Place(t.Context(), &shopv1.PlaceRequest{UserId: "u", Sku: "sku-01", Quantity: 2, IdempotencyKey: "c"})
		if e := errs.From(err); err == nil || e.Kind() != errs.Conflict || e.Code() != "sold_out" {
			t.Errorf("sold out: %v", err)
		}
		w.settle()
		w.check(nil)
	})
}
