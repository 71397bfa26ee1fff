package consul

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/internal/consul"
)

// The driver meets a real agent in server/outage; here are answers that a real
// one does not give on demand.

func TestDecode(t *testing.T) {
	s, err := decode(consul.Answer{Status: 200, Index: 7, Body: []byte(`[{"Key":"b","Value":"eA==","ModifyIndex":5},{"Key":"a","Value":"e30=","ModifyIndex":6},{"Key":"dir/","Value":null,"ModifyIndex":1}]`)})
	if err != nil || s.Revision != 7 || len(s.Items) != 2 || s.Items[0].Key != "a" || string(s.Items[1].Value) != "x" || s.Items[1].Revision != 5 {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := decode(consul.Answer{Status: 404, Index: 9}); err != nil || len(s.Items) != 0 || s.Revision != 9 {
		t.Errorf("nothing there: %+v, %v", s, err)
	}
	for _, a := range []consul.Answer{{Status: 404}, {Status: 200, Index: 1, Body: []byte("<html>")}, {Status: 200, Index: 1, Body: []byte(`[{"Key":"a","Value":"%"}]`)}} {
		if _, err := decode(a); errs.KindOf(err) != errs.BadGateway {
			t.Errorf("%+v: %v", a, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`[{"Key":"b","Value":"eA==","ModifyIndex":5}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decode(consul.Answer{Status: 200, Index: 1, Body: b})
		for i := range s.Items {
			if err != nil || i > 0 && s.Items[i-1].Key >= s.Items[i].Key {
				t.Fatalf("%+v, %v", s, err)
			}
		}
	})
}

func TestWrites(t *testing.T) {
	status, body := 200, `{"Results":[{"KV":{"ModifyIndex":12}}]}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	defer srv.Close()
	d := &Driver{Addr: srv.URL}
	if rev, err := d.Put(t.Context(), "a", []byte("1"), driver.Any); err != nil || rev != 12 {
		t.Error(rev, err)
	}
	for _, c := range []struct {
		status int
		body   string
		kind   errs.Kind
	}{{409, `{"Errors":[{"What":"index is stale"}]}`, errs.Conflict}, {404, "", errs.BadGateway}, {200, "x", errs.BadGateway}, {403, "", errs.Forbidden}, {500, "", errs.Unavailable}} {
		status, body = c.status, c.body
		if _, err := d.Put(t.Context(), "a", nil, 3); errs.KindOf(err) != c.kind {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := d.Put(t.Context(), "/a", nil, 0); errs.KindOf(err) != errs.Invalid {
		t.Error(err)
	}
	if err := d.Watch(t.Context(), "", nil); errs.KindOf(err) != errs.Invalid {
		t.Error(err)
	}
}

func ExampleDriver() {
	d := &Driver{Addr: "127.0.0.1:8500"}
	fmt.Println(d.Watch(context.Background(), "/no", nil))
	// Output: consul.Watch: invalid_request: a prefix of keys is text, without / in front
}
