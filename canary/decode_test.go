package canary_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/surefoot-go/surefoot/canary"
)

func TestDecode(t *testing.T) {
	good := `{"service":"payment","stable":"v1","canary":"v2","match":{"tier":"premium"},"weight":10,"revision":3,"review":{"version":"v2","reason":"x","since":"2026-11-23T04:05:06Z","pending":true}}`
	for _, c := range []struct {
		name, key, value, says string
	}{
		{"good", "surefoot/route/payment", good, ""},
		{"service from the key", "surefoot/route/payment", `{"stable":"v1"}`, ""},
		{"another service", "surefoot/route/order", good, `"order"`},
		{"elsewhere", "surefoot/config/payment", good, "not under"},
		{"no JSON", "surefoot/route/payment", `{`, "JSON"},
		{"not valid", "surefoot/route/payment", `{"stable":"v1","weight":-1}`, "weight"},
		{"huge", "surefoot/route/payment", good + strings.Repeat(" ", 1<<16), "at most"},
	} {
		r, err := canary.Decode(c.key, []byte(c.value), 42)
		if c.says == "" && (err != nil || r.Service != "payment" || r.Revision != 42) {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
		if c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"service":"s","stable":"v1","canary":"v2","weight":1,"review":{"version":"v2"}}`))
	f.Add([]byte(`{"stable":"v1","match":{"a":"b"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := canary.Decode(canary.Prefix+"s", b, 7)
		if err != nil {
			return
		}
		if err := r.Validate(); err != nil {
			t.Fatalf("decoded a route that is not valid: %v", err)
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := canary.Decode(canary.Prefix+"s", again, 7); err != nil {
			t.Fatalf("not readable again: %v: %s", err, again)
		}
	})
}
