// Package api answers questions about the control plane over HTTP, under
// /api/v1, and passes on the few orders it takes. What each path takes and
// gives is written in openapi.yaml, which is served at /api/v1/openapi.yaml;
// a test holds the document and the routes together.
//
//	a := &api.API{Live: live, Spans: spans, Logs: logs, Series: series, ...}
//	http.Serve(listener, api.Guard(a.Handler(), api.LocalHosts(), a.Refuse))
//
// Errors have the shape every part of Surefoot uses, except on the two paths
// that answer as Prometheus does. It keeps nothing itself: each answer is read
// from the room that owns it, through an interface declared here. It does not
// authenticate: bind it to loopback, or put a proxy that does in front.
package api

import (
	"context"
	_ "embed"
	"net/http"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/catalog"
	"github.com/surefoot-go/surefoot/server/diagnose"
	"github.com/surefoot-go/surefoot/server/store"
	"github.com/surefoot-go/surefoot/server/topology"
	"github.com/surefoot-go/surefoot/server/vitals"
)

// queryLimit is the longest one request may search or evaluate.
const queryLimit = 20 * time.Second

// maxSearches is how many searches and queries run at once; one more is
// answered 503 with Retry-After. They share the machine with ingest.
const maxSearches = 16

//go:embed openapi.yaml
var document []byte

// API is the HTTP API. Set all fields before Handler; Hub may be nil, then no
// events are served. An API is safe for concurrent use when its fields are.
type API struct {
	Version   string // of the program, for /overview
	Live      live
	Spans     store.Spans
	Logs      store.Logs
	Series    store.Series
	Incidents incidents
	Catalog   catalogue
	Routes    routes
	Settings  settings
	Centre    centre
	Hub       *Hub
	Observe   observe.Sinks // the API's own spans and log lines

	searches chan struct{}
	server   httpx.Server
}

// live is the picture of the last second.
type live interface {
	Ready() bool
	Topology() topology.Topology
	Ingest() Ingest
	Findings(service string) []vitals.Finding // open ones first; never nil
}

// incidents are those kept, open ones first, then newest first.
type incidents interface {
	Incidents() []alert.Incident
	Report(ctx context.Context, id string) (diagnose.Report, error) // NotFound when there is none
}

type catalogue interface {
	Entry(name string) (catalog.Entry, bool)
}

// Ingest is how much telemetry has come in since the process started.
type Ingest struct {
	SpansPerSecond float64 `json:"spansPerSecond"` // over the last 10 s
	Spans          int64   `json:"spans"`
	Logs           int64   `json:"logs"`
	Points         int64   `json:"points"`
	Refused        int64   `json:"refused"`        // requests refused whole, and items refused in the others
	DroppedBatches int64   `json:"droppedBatches"` // not counted in the live picture; kept all the same
}

// A route is one line of the table that Handler serves; the test of
// openapi.yaml reads it too.
type route struct {
	pattern string // of http.ServeMux
	op      string
	do      func(http.ResponseWriter, *http.Request) error
	heavy   bool // searches or evaluates: bounded in time and number
}

func (a *API) table() []route {
	return []route{
		{"GET /healthz", "api.Health", a.health, false},
		{"GET /readyz", "api.Ready", a.ready, false},
		{"GET /api/v1/openapi.yaml", "api.Document", a.openapi, false},
		{"GET /api/v1/overview", "api.Overview", a.overview, false},
		{"GET /api/v1/topology", "api.Topology", a.topology, false},
		{"GET /api/v1/services/{name}", "api.Service", a.service, false},
		{"GET /api/v1/services/{name}/vitals", "api.Vitals", a.vitals, true},
		{"GET /api/v1/query", "api.Query", a.query, true},
		{"POST /api/v1/query", "api.Query", a.query, true},
		{"GET /api/v1/query_range", "api.QueryRange", a.queryRange, true},
		{"POST /api/v1/query_range", "api.QueryRange", a.queryRange, true},
		{"GET /api/v1/traces", "api.SearchTraces", a.searchTraces, true},
		{"GET /api/v1/traces/{id}", "api.Trace", a.oneTrace, true},
		{"GET /api/v1/logs", "api.SearchLogs", a.searchLogs, true},
		{"GET /api/v1/incidents", "api.Incidents", a.listIncidents, false},
		{"GET /api/v1/incidents/{id}", "api.Incident", a.oneIncident, false},
		{"GET /api/v1/incidents/{id}/report", "api.Report", a.report, false},
		{"GET /api/v1/routes", "api.Routes", a.listRoutes, false},
		{"PUT /api/v1/routes/{service}", "api.PutRoute", a.putRoute, false},
		{"POST /api/v1/routes/{service}/clear", "api.ClearRoute", a.clearRoute, false},
		{"GET /api/v1/config/{key...}", "api.GetConfig", a.getConfig, false},
		{"PUT /api/v1/config/{key...}", "api.PutConfig", a.putConfig, false},
		{"GET /api/v1/instances", "api.Instances", a.listInstances, false},
		{"GET /api/v1/services/{name}/config", "api.ServiceConfig", a.serviceConfig, true},
		{"GET /api/v1/services/{name}/config/{key...}", "api.GetValue", a.getValue, false},
		{"POST /api/v1/services/{name}/config/{key...}", "api.PostValue", a.postValue, false},
		{"DELETE /api/v1/services/{name}/config/{key...}", "api.AbortPush", a.abortPush, false},
		{"GET /api/v1/audit", "api.Audit", a.audit, false},
		{"GET /api/v1/events", "api.Events", a.events, false},
	}
}

// Handler returns the handler of every path of the API; any other path under
// / is NotFound. Call it once.
func (a *API) Handler() http.Handler {
	a.searches = make(chan struct{}, maxSearches)
	a.server = httpx.Server{Service: "surefoot", Observe: a.Observe, MaxBody: maxBody, Edge: true}
	mux := http.NewServeMux()
	for _, r := range a.table() {
		do := r.do
		if r.heavy {
			do = a.bounded(r.op, do)
		}
		mux.Handle(r.pattern, a.server.Handle(r.op, headers(do)))
	}
	mux.Handle("/", a.server.Handle("api.Unknown", func(_ http.ResponseWriter, r *http.Request) error {
		return a.unknown(mux, r)
	}))
	return mux
}

// unknown tells a wrong method from a wrong path.
func (a *API) unknown(mux *http.ServeMux, r *http.Request) error {
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete} {
		if method == r.Method {
			continue
		}
		try := r.Clone(r.Context())
		try.Method = method
		if _, pattern := mux.Handler(try); pattern != "/" {
			return errs.New(errs.Invalid, "api.Unknown", "this path does not take this method; see /api/v1/openapi.yaml").ID("method_not_allowed").Status(http.StatusMethodNotAllowed)
		}
	}
	return errs.New(errs.NotFound, "api.Unknown", "there is nothing at this path; see /api/v1/openapi.yaml")
}

// Refuse writes err as the API writes errors; give it to Guard.
func (a *API) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	a.server.WriteError(w, r, err)
}

func headers(do func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		return do(w, r)
	}
}

func (a *API) bounded(op string, do func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		select {
		case a.searches <- struct{}{}:
			defer func() { <-a.searches }()
		default:
			return errs.New(errs.Unavailable, op, "too many searches run at once").RetryAfter(time.Second)
		}
		ctx, cancel := context.WithTimeout(r.Context(), queryLimit)
		defer cancel()
		return do(w, r.WithContext(ctx))
	}
}

func (a *API) health(w http.ResponseWriter, _ *http.Request) error {
	return writeText(w, "text/plain; charset=utf-8", []byte("ok\n"))
}

func (a *API) ready(w http.ResponseWriter, _ *http.Request) error {
	if !a.Live.Ready() {
		return errs.New(errs.Unavailable, "api.Ready", "the control plane is starting or stopping").RetryAfter(time.Second)
	}
	return writeText(w, "text/plain; charset=utf-8", []byte("ready\n"))
}

func (a *API) openapi(w http.ResponseWriter, _ *http.Request) error {
	return writeText(w, "application/yaml", document)
}

func (a *API) events(w http.ResponseWriter, r *http.Request) error {
	if a.Hub == nil {
		return errs.New(errs.Unimplemented, "api.Events", "this control plane sends no events")
	}
	return a.Hub.serve(w, r)
}

func writeText(w http.ResponseWriter, kind string, body []byte) error {
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(body) // a client that left is nobody's error
	return nil
}
