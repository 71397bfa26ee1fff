package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/core/load"
	"github.com/zeromicro/go-zero/core/stat"
	"github.com/zeromicro/go-zero/rest"
	"github.com/zeromicro/go-zero/rest/handler"
	"github.com/zeromicro/go-zero/rest/httpc"
	"github.com/zeromicro/go-zero/rest/httpx"
)

var serial atomic.Int64

// gozeroClient is httpc.NewService, which has the breaker in it.
func gozeroClient(l *lab, url string) func(ctx context.Context, method, path string) error {
	base := &http.Transport{}
	l.later(base.CloseIdleConnections)
	s := httpc.NewServiceWithClient(fmt.Sprint("target", serial.Add(1)), &http.Client{Transport: base})
	return func(ctx context.Context, method, path string) error {
		resp, err := s.Do(ctx, method, url+path, nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode > 299 {
			return statusError(resp.StatusCode)
		}
		return nil
	}
}

// gozeroServer is rest.MustNewServer with the settings of its generated code:
// all middlewares by default. Its Serverless form is the same handler without a
// port of its own, because a Server cannot be stopped.
func gozeroServer(l *lab, change func(*rest.RestConf), work func(ctx context.Context) error) string {
	var c rest.RestConf
	l.must(conf.FillDefault(&c))
	c.Name = "lab"
	c.DevServer.Enabled = false // a second server on a fixed port, which the experiments do not need
	if change != nil {
		change(&c)
	}
	s, err := rest.NewServer(c)
	l.must(err)
	silenceGozero()
	handle := func(w http.ResponseWriter, r *http.Request) {
		if err := work(r.Context()); err != nil {
			httpx.ErrorCtx(r.Context(), w, err)
			return
		}
		httpx.OkJsonCtx(r.Context(), w, map[string]string{"done": "yes"})
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		s.AddRoute(rest.Route{Method: method, Path: "/x", Handler: handle})
	}
	h, err := rest.NewServerless(s)
	l.must(err)
	return l.web(http.HandlerFunc(h.Serve))
}

func gozeroHTTP(l *lab, work func(ctx context.Context) error) peer {
	url := gozeroServer(l, nil, work)
	call := gozeroClient(l, url)
	return peer{
		wire: "HTTP",
		call: func(ctx context.Context) error { return call(ctx, http.MethodGet, "/x") },
		look: func() string { _, saw := l.fetch(http.MethodGet, url+"/x", ""); return saw },
	}
}

// gozeroPermits sets MaxConns to 2, so that two lost places would show.
func gozeroPermits(l *lab) answer {
	var mended atomic.Bool
	url := gozeroServer(l, func(c *rest.RestConf) { c.MaxConns = 2 }, func(context.Context) error {
		if !mended.Load() {
			panic("bug")
		}
		return nil
	})
	for range 2 {
		l.fetch(http.MethodGet, url+"/x", "")
	}
	mended.Store(true)
	code, _ := l.fetch(http.MethodGet, url+"/x", "")
	return unless(code == http.StatusOK, "2 panics with MaxConns 2, then a good request: served",
		"2 panics with MaxConns 2, then every good request was refused")
}

// shut is a shedder that refuses while it is told to.
type shut struct{ atomic.Bool }

type pass struct{}

func (pass) Pass() {}
func (pass) Fail() {}

func (s *shut) Allow() (load.Promise, error) {
	if s.Load() {
		return nil, load.ErrServiceOverloaded
	}
	return pass{}, nil
}

// gozeroRejections has the two middlewares in the order rest.Server has them.
func gozeroRejections(l *lab) answer {
	var door shut
	var served atomic.Int64
	metrics := stat.NewMetrics("lab")
	url := l.web(handler.BreakerHandler(http.MethodGet, fmt.Sprint("/x", serial.Add(1)), metrics)(
		handler.SheddingHandler(&door, metrics)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))))
	door.Store(true)
	get := func() { l.fetch(http.MethodGet, url, "") }
	return unless(!opens(l, &served, get, get, func() { door.Store(false) }),
		"requests that the server's shedder refused left its breaker closed",
		"requests that the server's shedder refused opened its breaker: good ones were then refused too")
}
