package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server/store"
)

// LogLine is one log record in the answer to a search.
type LogLine struct {
	At         Time              `json:"at"`
	Service    string            `json:"service"`
	Version    string            `json:"version"`
	Severity   string            `json:"severity"` // TRACE, DEBUG, INFO, WARN, ERROR, FATAL or empty
	Body       string            `json:"body"`
	TraceID    string            `json:"traceId"`
	SpanID     string            `json:"spanId"`
	Attributes map[string]string `json:"attributes"`
}

func (a *API) searchLogs(w http.ResponseWriter, r *http.Request) error {
	const op = "api.SearchLogs"
	q := store.LogQuery{Service: r.FormValue("service"), Contains: r.FormValue("q")}
	p := params{r: r}
	q.From, q.To = p.time("from"), p.time("to")
	q.Limit = p.count("limit", 200, 2000)
	q.MinSeverity = p.severity("severity")
	if text := r.FormValue("traceId"); text != "" {
		id, err := parseTraceID(text)
		if err != nil {
			p.bad = append(p.bad, "traceId must be 32 hexadecimal digits")
		}
		q.TraceID = id
	}
	if err := p.err(op); err != nil {
		return err
	}
	found, err := a.Logs.Search(r.Context(), q)
	if err != nil {
		return errs.Wrap(err, op)
	}
	lines := make([]LogLine, 0, len(found))
	for _, l := range found {
		line := LogLine{
			At: Time(l.At), Service: l.Service, Version: l.Version, Severity: severityName(l.Severity),
			Body: l.Body, Attributes: orEmptyMap(l.Attrs),
		}
		if !l.TraceID.IsZero() {
			line.TraceID = l.TraceID.String()
		}
		if !l.SpanID.IsZero() {
			line.SpanID = l.SpanID.String()
		}
		lines = append(lines, line)
	}
	return writeJSON(w, http.StatusOK, map[string]any{"logs": lines})
}

// severities are OTLP's ranges of four numbers each, from 1.
var severities = [...]string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}

func severityName(n int) string {
	if n < 1 || n > 24 {
		return ""
	}
	return severities[(n-1)/4]
}

// severity reads a name or an OTLP number as the least severity wanted.
func (p *params) severity(name string) int {
	text := p.r.FormValue(name)
	if text == "" {
		return 0
	}
	for i, s := range severities {
		if strings.EqualFold(text, s) {
			return i*4 + 1
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 24 {
		p.bad = append(p.bad, name+" must be TRACE, DEBUG, INFO, WARN, ERROR, FATAL or a number from 0 to 24")
	}
	return n
}
