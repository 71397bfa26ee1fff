package fault_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/shop/fault"
)

func TestProxyBreaksAndHeals(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "ok")
	}))
	defer upstream.Close()
	p, err := fault.Listen("bank", "127.0.0.1:0", upstream.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	client := &http.Client{Timeout: 150 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	get := func() error {
		resp, err := client.Get("http://" + p.Addr())
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		_, err = io.ReadAll(resp.Body)
		return err
	}
	steps := []struct {
		name string
		do   func() error
		up   bool
	}{
		{"forwards", func() error { return nil }, true},
		{"refuses when cut", func() error { p.Cut(); return nil }, false},
		{"cut twice", func() error { p.Cut(); return nil }, false},
		{"heals", p.Heal, true},
		{"is late when delayed", func() error { return p.Delay(time.Second) }, false},
		{"heals again", p.Heal, true},
		{"heals when well", p.Heal, true},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if err := get(); (err == nil) != s.up {
			t.Fatalf("%s: got error %v, want answer %v", s.name, err, s.up)
		}
	}
}

func TestListenOnATakenPortFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if p, err := fault.Listen("bank", ln.Addr().String(), "127.0.0.1:1"); err == nil {
		p.Close()
		t.Fatal("no error for a taken port")
	}
}
