package bank_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/surefoot-go/surefoot/shop/bank"
)

func open(t *testing.T, file string) *bank.Bank {
	t.Helper()
	b, err := bank.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func call(h http.Handler, method, path, key, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func sum(t *testing.T, h http.Handler) (s bank.Sum) {
	t.Helper()
	w := call(h, "GET", "/charges/sum", "", "")
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Code != 200 {
		t.Fatalf("sum: %d %s", w.Code, w.Body)
	}
	return s
}

func TestCharge(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "bank.db"))
	const good = `{"orderId":"o-1","account":"u-1","amount":1250,"currency":"EUR"}`
	for _, c := range []struct {
		name, key, body string
		status          int
		says            string
	}{
		{"first", "k1", good, 201, `"status":"charged"`},
		{"again", "k1", good, 200, `"status":"charged"`},
		{"same key, other amount", "k1", strings.Replace(good, "1250", "1251", 1), 409, "another charge"},
		{"over the limit", "k2", strings.Replace(good, "1250", "1000001", 1), 402, "card limit"},
		{"over the limit again", "k2", strings.Replace(good, "1250", "1000001", 1), 402, "card limit"},
		{"no key", "", good, 400, "Idempotency-Key"},
		{"no money", "k3", strings.Replace(good, "1250", "0", 1), 400, "positive"},
		{"no order", "k3", `{"amount":1,"currency":"EUR"}`, 400, "orderId"},
		{"not JSON", "k3", `{"amount":`, 400, "JSON"},
		{"huge", "k3", `{"orderId":"` + strings.Repeat("x", 1<<17), 400, "JSON"},
	} {
		if w := call(b.Handler(), "POST", "/charges", c.key, c.body); w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d %s, want %d with %q", c.name, w.Code, w.Body, c.status, c.says)
		}
	}
	if got, want := sum(t, b.Handler()), (bank.Sum{Count: 1, Orders: 1, Amount: 1250}); got != want {
		t.Errorf("sum %+v, want %+v", got, want)
	}
}

func TestOneKeyIsOneChargeUnderConcurrency(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "bank.db"))
	h := b.Handler()
	var all sync.WaitGroup
	var mu sync.Mutex
	codes, ids := map[int]int{}, map[string]bool{}
	for i := range 60 {
		all.Go(func() {
			key := fmt.Sprint("k", i%3)
			w := call(h, "POST", "/charges", key, fmt.Sprintf(`{"orderId":"o-%s","amount":100,"currency":"EUR"}`, key))
			var c bank.Charge
			json.NewDecoder(bytes.NewReader(w.Body.Bytes())).Decode(&c)
			mu.Lock()
			defer mu.Unlock()
			codes[w.Code]++
			ids[c.ChargeID] = true
		})
	}
	all.Wait()
	if codes[201] != 3 || codes[200] != 57 || len(ids) != 3 {
		t.Errorf("answers %v, charge ids %v: want 3 new, 57 repeats, 3 ids", codes, ids)
	}
	if got, want := sum(t, h), (bank.Sum{Count: 3, Orders: 3, Amount: 300}); got != want {
		t.Errorf("sum %+v, want %+v", got, want)
	}
}

func TestModes(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "bank.db"))
	const charge = `{"orderId":"o-1","amount":5,"currency":"EUR"}`
	set := func(mode string, want int) {
		t.Helper()
		if w := call(b.Admin(), "PUT", "/admin/mode", "", mode); w.Code != want {
			t.Fatalf("mode %s: %d %s", mode, w.Code, w.Body)
		}
	}
	set(`{"mode":"down"}`, 200)
	if w := call(b.Handler(), "POST", "/charges", "k", charge); w.Code != 503 {
		t.Errorf("down answered %d", w.Code)
	}
	if got := sum(t, b.Admin()); got.Count != 0 {
		t.Errorf("down booked %+v", got)
	}
	set(`{"mode":"slow","delayMs":1}`, 200)
	if w := call(b.Handler(), "POST", "/charges", "k", charge); w.Code != 201 {
		t.Errorf("slow answered %d", w.Code)
	}
	set(`{"mode":"sideways"}`, 400)
	set(`{"mode":"slow","delayMs":-1}`, 400)
	set(`{`, 400)
	set(`{"mode":"up"}`, 200)
	if w := call(b.Handler(), "PUT", "/admin/mode", "", `{"mode":"down"}`); w.Code != 404 {
		t.Errorf("the customers' side has the switch: %d", w.Code)
	}
}

func TestRestartKeepsTheLedger(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a b%20c?.db")
	const charge = `{"orderId":"o-1","amount":5,"currency":"EUR"}`
	b := open(t, file)
	call(b.Handler(), "POST", "/charges", "k", charge)
	b.Close()
	b = open(t, file)
	if w := call(b.Handler(), "POST", "/charges", "k", charge); w.Code != 200 {
		t.Errorf("repeat after restart: %d %s", w.Code, w.Body)
	}
	for _, path := range []string{"/charges", "/charges?orderId=o-1", "/charges?limit=1"} {
		if w := call(b.Handler(), "GET", path, "", ""); w.Code != 200 || strings.Count(w.Body.String(), "chargeId") != 1 {
			t.Errorf("GET %s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := call(b.Handler(), "GET", "/charges?twice=true", "", ""); strings.TrimSpace(w.Body.String()) != `{"charges":[]}` {
		t.Errorf("twice: %s", w.Body)
	}
	if w := call(b.Handler(), "GET", "/charges?limit=0", "", ""); w.Code != 400 {
		t.Errorf("limit=0: %d", w.Code)
	}
}
