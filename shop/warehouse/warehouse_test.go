package warehouse_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/surefoot-go/surefoot/shop/warehouse"
)

func call(h http.Handler, method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestDispatch(t *testing.T) {
	file := filepath.Join(t.TempDir(), "warehouse.db")
	wh, err := warehouse.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	const goods = `{"orderId":"o-1","sku":"sku-1","quantity":2}`
	for _, c := range []struct {
		name, body string
		status     int
	}{
		{"first", goods, 201},
		{"again", goods, 200},
		{"other goods", strings.Replace(goods, "2", "3", 1), 409},
		{"no order", `{"sku":"sku-1","quantity":2}`, 400},
		{"nothing", `{"orderId":"o-2","sku":"sku-1","quantity":0}`, 400},
		{"not JSON", `{`, 400},
	} {
		if code, body := call(wh.Handler(), "POST", "/dispatches", c.body); code != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, code, body, c.status)
		}
	}
	wh.Close()
	if wh, err = warehouse.Open(file); err != nil {
		t.Fatal(err)
	}
	defer wh.Close()
	if _, body := call(wh.Handler(), "GET", "/dispatches/sum", ""); body != `{"orders":1,"items":2}` {
		t.Errorf("after a restart: %s", body)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	wh, err := warehouse.Open(filepath.Join(t.TempDir(), "warehouse.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer wh.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := wh.Serve(ctx, ln); err != nil {
			t.Error(err)
		}
	})
	res, err := http.Get("http://" + ln.Addr().String() + "/dispatches/sum")
	if err != nil || res.StatusCode != 200 {
		t.Errorf("%v %v", res, err)
	} else {
		res.Body.Close()
	}
	cancel()
	all.Wait()
}
