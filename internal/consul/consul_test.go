package consul_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/internal/consul"
)

func TestDo(t *testing.T) {
	var got *http.Request
	status, body := 200, `{}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.Background())
		w.Header().Set("X-Consul-Index", "17")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	defer srv.Close()
	c := &consul.Client{Addr: strings.TrimPrefix(srv.URL, "http://"), Token: "t0ken", Datacenter: "dc2"}
	a, err := c.Do(t.Context(), "op", "PUT", "/v1/x", nil, map[string]int{"a": 1})
	if err != nil || a.Index != 17 || got.Header.Get("X-Consul-Token") != "t0ken" || got.URL.Query().Get("dc") != "dc2" {
		t.Errorf("%+v, %v, %v", a, err, got)
	}
	for _, c2 := range []struct {
		status int
		kind   errs.Kind
	}{{404, 0}, {409, 0}, {400, errs.Invalid}, {403, errs.Forbidden}, {401, errs.Forbidden}, {500, errs.Unavailable}, {429, errs.Invalid}} {
		status, body = c2.status, "secret words"
		_, err := c.Do(t.Context(), "op", "GET", "/", nil, nil)
		if c2.kind == 0 && err != nil || c2.kind != 0 && (errs.KindOf(err) != c2.kind || strings.Contains(errs.From(err).Message(), "secret")) {
			t.Errorf("%d: %v", c2.status, err)
		}
	}
	srv.Close()
	if _, err := c.Do(t.Context(), "op", "GET", "/", nil, nil); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("nobody there: %v", err)
	}
}

// TestFollow: the index is handed on, taken back when it goes back, and never
// asked for in a loop.
func TestFollow(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	answers := []string{"5", "9", "9", "3", "4", "0", "bad"}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Query().Get("index"))
		index := answers[min(len(asked), len(answers))-1]
		if index == "bad" {
			w.WriteHeader(500)
			return
		}
		w.Header().Set("X-Consul-Index", index)
		fmt.Fprint(w, len(asked))
	}))
	defer srv.Close()
	c := &consul.Client{Addr: srv.URL, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	told := 0
	err := c.Follow(ctx, "op", "/v1/x", nil, func(consul.Answer) error {
		if told++; told == 2 {
			return errors.New("cannot be read") // asked for again, without waiting
		}
		return nil
	})
	if errs.KindOf(err) != errs.Timeout {
		t.Errorf("ended with %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(asked[:7], ","); got != ",5,,9,,4," || told != 6 || len(asked) > 30 {
		t.Errorf("asked %q, %d times; told %d", got, len(asked), told)
	}
}
