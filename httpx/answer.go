package httpx

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/surefoot-go/surefoot/errs"
)

// answer writes e. The headers of the answer that was planned are removed where
// they would lie about this one.
func answer(w http.ResponseWriter, r *http.Request, e *errs.Error, s Server) {
	e = e.In(s.Catalog, r.Header["Accept-Language"]...)
	o := errs.Options{Edge: s.Edge, Problem: wantsProblem(r.Header.Values("Accept"))}
	body := errs.Encode(e, o)
	h := w.Header()
	for _, name := range []string{"Content-Encoding", "Content-Range", "Etag", "Last-Modified", "Accept-Ranges", "Content-Disposition"} {
		h.Del(name)
	}
	h.Set("Content-Type", o.ContentType())
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept, Accept-Language")
	h.Del("Content-Language")
	if l := e.Language(); l != "" {
		h.Set("Content-Language", l)
	}
	if d := e.RetryDelay(); d > 0 {
		h.Set("Retry-After", seconds64(d))
	}
	w.WriteHeader(e.HTTP())
	_, _ = w.Write(body) // the client is gone: nobody is left to tell
}

// wantsProblem says whether an Accept header names problem+json at least as
// willingly as plain JSON. Wildcards ask for nothing in particular.
func wantsProblem(accept []string) bool {
	var problem, plain float64
	for _, line := range accept[:min(len(accept), 8)] {
		if len(line) > 2048 || !strings.Contains(strings.ToLower(line), "problem") {
			continue
		}
		for item := range strings.SplitSeq(line, ",") {
			kind, params, _ := strings.Cut(item, ";")
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case errs.TypeProblem:
				problem = max(problem, quality(params))
			case errs.TypeJSON:
				plain = max(plain, quality(params))
			}
		}
	}
	return problem > 0 && problem >= plain
}

// quality reads q from the parameters of an Accept item; 1 if there is none.
func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(k, "q") {
			q, err := strconv.ParseFloat(v, 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}
