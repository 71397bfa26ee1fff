package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/alert"
	"github.com/surefoot-go/surefoot/server/catalog"
	"github.com/surefoot-go/surefoot/server/topology"
)

// recent is how many incidents an overview shows.
const recent = 10

// Overview is everything a first look needs.
type Overview struct {
	At        Time             `json:"at"`
	Ready     bool             `json:"ready"`
	Version   string           `json:"version"`
	Services  []topology.Node  `json:"services"` // what sends spans, and what is called outside
	Incidents []alert.Incident `json:"incidents"`
	Ingest    Ingest           `json:"ingest"`
	Routes    []Route          `json:"routes"`
}

// Service is one node of the topology with all that is known about it.
type Service struct {
	topology.Node
	Operations []topology.Operation `json:"operations"`
	Callers    []topology.Edge      `json:"callers"`
	Callees    []topology.Edge      `json:"callees"`
	Catalog    *Card                `json:"catalog"` // null when the catalog does not know it
	Runbook    string               `json:"runbook"` // Markdown; empty when there is none
	Breakers   []Breaker            `json:"breakers"`
}

// Card is what the catalog says about a service.
type Card struct {
	Owner       string         `json:"owner"`
	Description string         `json:"description"`
	Lifecycle   string         `json:"lifecycle"`
	Links       []catalog.Link `json:"links"`
	DependsOn   []string       `json:"dependsOn"`
}

// Breaker is the state of one circuit breaker of one instance of a service.
type Breaker struct {
	Target   string `json:"target"`
	State    string `json:"state"` // closed, half-open or open
	Instance string `json:"instance"`
}

// Overview gathers the state of this second, as GET /api/v1/overview answers
// it. It is also what Hub sends each second.
func (a *API) Overview(ctx context.Context, now time.Time) (Overview, error) {
	routes, err := a.Routes.Routes(ctx)
	if err != nil {
		return Overview{}, errs.Wrap(err, "api.Overview")
	}
	all := a.Incidents.Incidents()
	return Overview{
		At: Time(now), Ready: a.Live.Ready(), Version: a.Version,
		Services: a.Live.Topology().Nodes, Incidents: all[:min(len(all), recent)],
		Ingest: a.Live.Ingest(), Routes: routes,
	}, nil
}

func (a *API) overview(w http.ResponseWriter, r *http.Request) error {
	o, err := a.Overview(r.Context(), time.Now())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, o)
}

func (a *API) topology(w http.ResponseWriter, r *http.Request) error {
	t := a.Live.Topology()
	switch r.FormValue("format") {
	case "", "json":
		return writeJSON(w, http.StatusOK, t)
	case "mermaid":
		return writeText(w, "text/vnd.mermaid; charset=utf-8", []byte(topology.Mermaid(t)))
	case "dot":
		return writeText(w, "text/vnd.graphviz; charset=utf-8", []byte(topology.DOT(t)))
	default:
		return errs.New(errs.Invalid, "api.Topology", "request parameters failed validation").Detail("format must be json, mermaid or dot")
	}
}

func (a *API) service(w http.ResponseWriter, r *http.Request) error {
	const op = "api.Service"
	name := r.PathValue("name")
	t := a.Live.Topology()
	node, seen := t.Node(name)
	entry, known := a.Catalog.Entry(name)
	if !a.knows(name) {
		return unknownService(op, name)
	}
	if !seen {
		node = a.idle(name, entry.Owner)
	}
	page := Service{
		Node: node, Operations: t.Operations[name], Callers: t.Callers(name), Callees: t.Callees(name), Breakers: []Breaker{},
	}
	if page.Operations == nil {
		page.Operations = []topology.Operation{}
	}
	if known {
		page.Catalog = &Card{Owner: entry.Owner, Description: entry.Description, Lifecycle: entry.Lifecycle, Links: entry.Links, DependsOn: orEmpty(entry.DependsOn)}
		if page.Catalog.Links == nil {
			page.Catalog.Links = []catalog.Link{}
		}
		if entry.Runbook != nil {
			page.Runbook = entry.Runbook.Text
		}
	}
	breakers, err := a.breakers(r.Context(), name)
	if err != nil {
		return errs.Wrap(err, op)
	}
	page.Breakers = append(page.Breakers, breakers...)
	return writeJSON(w, http.StatusOK, page)
}

// breakers reads the newest state of each breaker that the service reported.
func (a *API) breakers(ctx context.Context, service string) ([]Breaker, error) {
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	res, err := a.Series.Query(ctx, "surefoot_breaker_state{service_name="+strconv.Quote(service)+"}", time.Now())
	if err != nil {
		return nil, err
	}
	var out []Breaker
	for _, s := range res.Series {
		if len(s.Points) == 0 {
			continue
		}
		state := "closed"
		switch s.Points[len(s.Points)-1].Value {
		case 1:
			state = "half-open"
		case 2:
			state = "open"
		}
		out = append(out, Breaker{Target: s.Labels["surefoot_target"], State: state, Instance: s.Labels["service_instance_id"]})
	}
	return out, nil
}

func (a *API) listIncidents(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]any{"incidents": a.Incidents.Incidents()})
}

func (a *API) oneIncident(w http.ResponseWriter, r *http.Request) error {
	for _, inc := range a.Incidents.Incidents() {
		if inc.ID == r.PathValue("id") {
			return writeJSON(w, http.StatusOK, inc)
		}
	}
	return errs.New(errs.NotFound, "api.Incident", "no incident has this id")
}

func (a *API) report(w http.ResponseWriter, r *http.Request) error {
	const op = "api.Report"
	lang := r.FormValue("lang")
	if lang == "" {
		lang = "en"
	}
	if lang != "en" && lang != "zh" {
		return errs.New(errs.Invalid, op, "request parameters failed validation").Detail("lang must be en or zh")
	}
	format := r.FormValue("format")
	if format == "" && strings.Contains(r.Header.Get("Accept"), "application/json") {
		format = "json"
	}
	if format != "" && format != "json" && format != "markdown" {
		return errs.New(errs.Invalid, op, "request parameters failed validation").Detail("format must be markdown or json")
	}
	report, err := a.Incidents.Report(r.Context(), r.PathValue("id"))
	if err != nil {
		return errs.Wrap(err, op)
	}
	w.Header().Set("Vary", "Accept")
	if format == "json" {
		return writeJSON(w, http.StatusOK, report)
	}
	return writeText(w, "text/markdown; charset=utf-8", []byte(report.Text(lang)))
}
