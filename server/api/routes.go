package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/surefoot-go/surefoot/errs"
)

// Route says which version of a service serves whom, and when its canary is
// taken off.
type Route struct {
	Service  string            `json:"service"`
	Stable   string            `json:"stable"`
	Canary   string            `json:"canary"`
	Match    map[string]string `json:"match"`  // user labels that must all match; empty matches every user
	Weight   int               `json:"weight"` // share of matching users who get the canary, in percent
	Revision int64             `json:"revision"`
	Rule     Rule              `json:"rule"`
	Review   *Review           `json:"review"` // nil when no version waits for review
}

// Rule takes a canary off when its error share stays over MaxErrorShare for
// ForSeconds. Zero fields mean 0.03 and 30, the reference release process.
type Rule struct {
	MaxErrorShare float64 `json:"maxErrorShare"` // 0..1
	ForSeconds    float64 `json:"forSeconds"`
}

// Review says that a version was taken off and who must look at it before it
// may serve again.
type Review struct {
	Version string `json:"version"`
	Reason  string `json:"reason"`
	Since   Time   `json:"since"`
	Pending bool   `json:"pending"`
}

// Setting is one value of the config centre.
type Setting struct {
	Key      string `json:"key"` // below surefoot/config/
	Value    string `json:"value"`
	Revision int64  `json:"revision"`
}

// Change is one line of the audit trail.
type Change struct {
	At       Time   `json:"at"`
	By       string `json:"by"`
	Why      string `json:"why"`
	Key      string `json:"key"`
	Before   string `json:"before"`
	After    string `json:"after"`
	Revision int64  `json:"revision"`
}

// AnyRevision means that a change does not care what it replaces.
const AnyRevision int64 = -1

// routes changes routes. Errors: Conflict with the id "pending_review" for a
// version that waits for review, Conflict when rev is not the revision now,
// NotFound for a route that is not there, Invalid for one that makes no sense.
type routes interface {
	Routes(ctx context.Context) ([]Route, error) // sorted by service, never nil
	// PutRoute leaves the rule as it is when rule is nil.
	PutRoute(ctx context.Context, r Route, rule *Rule, rev int64, by, why string) (Route, error)
	ClearRoute(ctx context.Context, service, by, note string) (Route, error)
}

// settings changes raw values of the config centre; errors as for routes.
type settings interface {
	Setting(ctx context.Context, key string) (Setting, error)
	PutSetting(ctx context.Context, key, value string, rev int64, by, why string) (Setting, error)
	Audit(ctx context.Context) ([]Change, error) // newest first, never nil
}

func (a *API) listRoutes(w http.ResponseWriter, r *http.Request) error {
	list, err := a.Routes.Routes(r.Context())
	if err != nil {
		return errs.Wrap(err, "api.Routes")
	}
	return writeJSON(w, http.StatusOK, map[string]any{"routes": list})
}

func (a *API) putRoute(w http.ResponseWriter, r *http.Request) error {
	const op = "api.PutRoute"
	var in struct {
		Service string            `json:"service"`
		Stable  string            `json:"stable"`
		Canary  string            `json:"canary"`
		Match   map[string]string `json:"match"`
		Weight  int               `json:"weight"`
		Rule    *Rule             `json:"rule"`
		By      string            `json:"by"`
		Why     string            `json:"why"`

		// So that what GET gave can be changed and sent back.
		Revision int64           `json:"revision"` // when above 0, the same as If-Match
		Review   json.RawMessage `json:"review"`   // not the caller's to set; ignored
	}
	if err := decode(r, &in); err != nil {
		return err
	}
	rev, err := ifMatch(r)
	if err != nil {
		return err
	}
	if rev == AnyRevision && in.Revision > 0 {
		rev = in.Revision
	}
	service := r.PathValue("service")
	var bad []string
	if in.Service != "" && in.Service != service {
		bad = append(bad, "service must be the one in the path")
	}
	if strings.TrimSpace(in.By) == "" {
		bad = append(bad, "by must name the person who asks for this")
	}
	if in.Weight < 0 || in.Weight > 100 {
		bad = append(bad, "weight must be from 0 to 100")
	}
	if in.Rule != nil && (in.Rule.MaxErrorShare < 0 || in.Rule.MaxErrorShare > 1) {
		bad = append(bad, "rule.maxErrorShare must be from 0 to 1")
	}
	if in.Rule != nil && (in.Rule.ForSeconds < 0 || in.Rule.ForSeconds > 3600) {
		bad = append(bad, "rule.forSeconds must be from 0 to 3600")
	}
	if len(bad) > 0 {
		return errs.New(errs.Invalid, op, "the route failed validation").Detail(bad...)
	}
	out, err := a.Routes.PutRoute(r.Context(), Route{
		Service: service, Stable: in.Stable, Canary: in.Canary, Match: in.Match, Weight: in.Weight,
	}, in.Rule, rev, strings.TrimSpace(in.By), in.Why)
	if err != nil {
		return errs.Wrap(err, op)
	}
	return writeJSON(w, http.StatusOK, out)
}

func (a *API) clearRoute(w http.ResponseWriter, r *http.Request) error {
	const op = "api.ClearRoute"
	var in struct {
		By   string `json:"by"`
		Note string `json:"note"`
	}
	if err := decode(r, &in); err != nil {
		return err
	}
	if strings.TrimSpace(in.By) == "" {
		return errs.New(errs.Invalid, op, "a review needs a name").Detail("by must name the person who reviewed the version")
	}
	out, err := a.Routes.ClearRoute(r.Context(), r.PathValue("service"), strings.TrimSpace(in.By), in.Note)
	if err != nil {
		return errs.Wrap(err, op)
	}
	return writeJSON(w, http.StatusOK, out)
}

func (a *API) getConfig(w http.ResponseWriter, r *http.Request) error {
	s, err := a.Settings.Setting(r.Context(), r.PathValue("key"))
	if err != nil {
		return errs.Wrap(err, "api.GetConfig")
	}
	w.Header().Set("ETag", strconv.Quote(strconv.FormatInt(s.Revision, 10)))
	return writeJSON(w, http.StatusOK, s)
}

func (a *API) putConfig(w http.ResponseWriter, r *http.Request) error {
	const op = "api.PutConfig"
	var in struct {
		Value *string `json:"value"`
		By    string  `json:"by"`
		Why   string  `json:"why"`
	}
	if err := decode(r, &in); err != nil {
		return err
	}
	rev, err := ifMatch(r)
	if err != nil {
		return err
	}
	var bad []string
	if in.Value == nil {
		bad = append(bad, "value must be given")
	}
	if strings.TrimSpace(in.By) == "" {
		bad = append(bad, "by must name the person who asks for this")
	}
	if len(bad) > 0 {
		return errs.New(errs.Invalid, op, "the change failed validation").Detail(bad...)
	}
	s, err := a.Settings.PutSetting(r.Context(), r.PathValue("key"), *in.Value, rev, strings.TrimSpace(in.By), in.Why)
	if err != nil {
		return errs.Wrap(err, op)
	}
	return writeJSON(w, http.StatusOK, s)
}

func (a *API) audit(w http.ResponseWriter, r *http.Request) error {
	list, err := a.Settings.Audit(r.Context())
	if err != nil {
		return errs.Wrap(err, "api.Audit")
	}
	return writeJSON(w, http.StatusOK, list)
}

// ifMatch reads the revision a change was made from, bare or quoted.
func ifMatch(r *http.Request) (int64, error) {
	text := strings.Trim(strings.TrimPrefix(r.Header.Get("If-Match"), "W/"), `"`)
	if text == "" || text == "*" {
		return AnyRevision, nil
	}
	rev, err := strconv.ParseInt(text, 10, 64)
	if err != nil || rev < 0 {
		return 0, errs.New(errs.Invalid, "api.IfMatch", "If-Match must be a revision, a whole number").ID("invalid_if_match")
	}
	return rev, nil
}
