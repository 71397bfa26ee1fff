package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/go-kratos/kratos/v2/log"
	"github.com/go-kratos/kratos/v2/middleware"
	"github.com/go-kratos/kratos/v2/middleware/logging"
	"github.com/go-kratos/kratos/v2/middleware/ratelimit"
	"github.com/go-kratos/kratos/v2/middleware/recovery"
	"github.com/go-kratos/kratos/v2/middleware/tracing"
	khttp "github.com/go-kratos/kratos/v2/transport/http"
	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/rest"
	zhttpx "github.com/zeromicro/go-zero/rest/httpx"
	"github.com/zeromicro/go-zero/rest/pathvar"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/safe"
)

// order is the answer of every HTTP server here, encoded as JSON by each.
type order struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Amount int    `json:"amount"`
}

func find(id string) order { return order{id, "paid", 1299} }

const (
	httpRoute   = "/v1/orders/{id}"
	httpPath    = "/v1/orders/17"
	contentType = "application/json"
)

// bare is what every framework is compared with: net/http's own mux.
func bare(w http.ResponseWriter, r *http.Request) {
	raw, err := json.Marshal(find(r.PathValue("id")))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(raw)
}

func serveHTTP(l net.Listener, h http.Handler, also ...func()) server {
	s := &http.Server{Handler: h}
	task := safe.Go(context.Background(), "http", func(context.Context) error { return s.Serve(l) })
	return server{addr: l.Addr().String(), stop: func() {
		_ = s.Close()
		_ = task.Wait()
		for _, f := range also {
			f()
		}
	}}
}

func httpBare(_ context.Context, l net.Listener) (server, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+httpRoute, bare)
	return serveHTTP(l, mux), nil
}

// httpOurs has every guard and all telemetry on.
func httpOurs(share float64) start {
	return func(ctx context.Context, l net.Listener) (server, error) {
		sinks, flush := sinks(share)
		mux := http.NewServeMux()
		mux.Handle("GET "+httpRoute, ours(sinks).Handle("order.Get", func(w http.ResponseWriter, r *http.Request) error {
			return httpx.Write(w, http.StatusOK, find(r.PathValue("id")))
		}))
		return serveHTTP(l, mux, flush), nil
	}
}

// httpOtel is net/http with OpenTelemetry's spans and metrics and nothing else.
func httpOtel(share float64) start {
	return func(_ context.Context, l net.Listener) (server, error) {
		sinks, flush := sinks(share)
		mux := http.NewServeMux()
		mux.HandleFunc("GET "+httpRoute, bare)
		return serveHTTP(l, otelhttp.NewHandler(mux, "orders", otelhttp.WithTracerProvider(sinks.Tracer),
			otelhttp.WithMeterProvider(sinks.Meter), otelhttp.WithPropagators(propagators)), flush), nil
	}
}

// kratosGuards are the middlewares its documentation puts into a service.
func kratosGuards(share float64) ([]middleware.Middleware, func()) {
	sinks, flush := sinks(share)
	logger := log.With(log.NewStdLogger(io.Discard), "ts", log.DefaultTimestamp, "caller", log.DefaultCaller,
		"service.name", "bench", "trace.id", tracing.TraceID(), "span.id", tracing.SpanID())
	log.SetLogger(logger)
	return []middleware.Middleware{
		recovery.Recovery(), tracing.Server(tracing.WithTracerProvider(sinks.Tracer)), logging.Server(logger), ratelimit.Server(),
	}, flush
}

func httpKratos(share float64) start {
	return func(ctx context.Context, l net.Listener) (server, error) {
		guards, flush := kratosGuards(share)
		s := khttp.NewServer(khttp.Listener(l), khttp.Middleware(guards...))
		// What its code generator writes for a method with this route.
		s.Route("/").GET(httpRoute, func(c khttp.Context) error {
			khttp.SetOperation(c, "/bench.Orders/Get")
			h := c.Middleware(func(_ context.Context, req any) (any, error) { return find(req.(string)), nil })
			v, err := h(c, c.Vars().Get("id"))
			if err != nil {
				return err
			}
			return c.Result(http.StatusOK, v)
		})
		task := safe.Go(ctx, "kratos", s.Start)
		return server{addr: l.Addr().String(), stop: func() {
			_ = s.Close()
			_ = task.Wait()
			flush()
		}}, nil
	}
}

// httpZero has go-zero's own defaults, its log discarded. It listens itself, so
// it gets l's port.
func httpZero(share float64) start {
	return func(ctx context.Context, l net.Listener) (server, error) {
		_, flush := global(share)
		host, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return server{}, err
		}
		var c rest.RestConf
		if err := conf.FillDefault(&c); err != nil {
			return server{}, err
		}
		c.Name, c.Host = "bench", host
		c.Port, _ = strconv.Atoi(port)
		c.Telemetry.Disabled = true // global has set the provider that all have
		c.DevServer.Enabled = false
		discard := logx.NewWriter(io.Discard)
		logx.SetWriter(discard)
		if err := l.Close(); err != nil {
			return server{}, err
		}
		s, err := rest.NewServer(c)
		if err != nil {
			return server{}, err
		}
		logx.SetWriter(discard) // again: NewServer has put its own in place
		s.AddRoute(rest.Route{Method: http.MethodGet, Path: "/v1/orders/:id", Handler: func(w http.ResponseWriter, r *http.Request) {
			zhttpx.OkJsonCtx(r.Context(), w, find(pathvar.Vars(r)["id"]))
		}})
		task := safe.Go(ctx, "go-zero", func(context.Context) error {
			s.Start()
			return errors.New("ended")
		})
		return server{addr: l.Addr().String(), stop: func() {
			s.Stop()
			flush()
			_ = task // it ends with the process: Stop does not wait for Start
		}}, waitFor(l.Addr().String())
	}
}
