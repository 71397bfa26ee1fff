package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/surefoot-go/surefoot/config/tree"
	"github.com/surefoot-go/surefoot/errs"
)

// Listed is one entry of the registry.
type Listed struct {
	Service string            `json:"service"`
	ID      string            `json:"id"`
	Addr    string            `json:"addr"`
	Version string            `json:"version"`
	Zone    string            `json:"zone"`
	Weight  int               `json:"weight"`
	Labels  map[string]string `json:"labels"` // never nil
}

// Value is one setting of a service in the config centre, with who wrote it.
type Value struct {
	Key      string `json:"key"` // below the service's name
	Value    string `json:"value"`
	Revision int64  `json:"revision"`
	By       string `json:"by"` // "" when it was written past the control plane, and long ago
	Why      string `json:"why"`
	At       *Time  `json:"at"` // nil when that is not known
	Schema   bool   `json:"schema"`
}

// Applied is what one process says it runs of one setting.
type Applied struct {
	Instance string `json:"instance"`
	Version  string `json:"version"`
	Key      string `json:"key"`
	Revision int64  `json:"revision"` // 0 for none from the centre
	Checked  int64  `json:"checked"`  // highest one that passed its checks
	Refused  int64  `json:"refused"`  // newest one refused; 0 for none
}

// Push is a release of a setting, under way or ended.
type Push struct {
	ID        string        `json:"id"`
	Key       string        `json:"key"`
	Stage     string        `json:"stage"` // check, one, share, all
	Share     int           `json:"share"` // percent of the instances that run it now
	Instances []string      `json:"instances"`
	Since     Time          `json:"since"`
	By        string        `json:"by"`
	Why       string        `json:"why"`
	Value     string        `json:"value"`
	Diff      []tree.Change `json:"diff"`
	State     string        `json:"state"` // running, committed, rolled_back, aborted
	Reason    string        `json:"reason"`
	ReasonZh  string        `json:"reasonZh"`
}

// ServiceConfig is all there is to say about a service's settings. No list is
// nil.
type ServiceConfig struct {
	Service string    `json:"service"`
	Keys    []Value   `json:"keys"`
	Applied []Applied `json:"applied"`
	Pushes  []Push    `json:"pushes"` // running ones first, then those that ended, newest first
}

// Past is one entry of a setting's history.
type Past struct {
	Revision int64         `json:"revision"`
	At       Time          `json:"at"`
	By       string        `json:"by"`
	Why      string        `json:"why"`
	Value    string        `json:"value"` // "" when it was deleted
	Diff     []tree.Change `json:"diff"`  // to the entry before
}

// PushOrder asks for a push.
type PushOrder struct {
	Value      string
	By, Why    string
	Share      int     // percent after the first instance; 0 means 25
	ForSeconds float64 // each stage; 0 means 30
	Force      bool    // go on where no instance reports
}

// centre is the settings of services. Errors: Invalid with details for a bad
// name, key or value, NotFound, Conflict when a push of the key is under way or
// somebody else was faster.
type centre interface {
	Instances(ctx context.Context, service string) ([]Listed, error) // "" means all; never nil
	ServiceConfig(ctx context.Context, service string) (ServiceConfig, error)
	Value(ctx context.Context, service, key string) (Value, error)
	History(ctx context.Context, service, key string) ([]Past, error)                   // newest first, never nil
	CheckValue(ctx context.Context, service, key, value string) ([]tree.Change, error)  // writes nothing
	WriteValue(ctx context.Context, service, key, value, by, why string) (Value, error) // at once
	RollbackValue(ctx context.Context, service, key, to, by, why string) (Value, error) // to is a revision or "previous"
	StartPush(ctx context.Context, service, key string, order PushOrder) (Push, error)  // returns when it is written down
	AbortPush(ctx context.Context, service, key, by, why string) (Push, error)
}

func (a *API) listInstances(w http.ResponseWriter, r *http.Request) error {
	list, err := a.Centre.Instances(r.Context(), r.URL.Query().Get("service"))
	if err != nil {
		return errs.Wrap(err, "api.Instances")
	}
	return writeJSON(w, http.StatusOK, map[string]any{"instances": list})
}

func (a *API) serviceConfig(w http.ResponseWriter, r *http.Request) error {
	c, err := a.Centre.ServiceConfig(r.Context(), r.PathValue("name"))
	if err != nil {
		return errs.Wrap(err, "api.ServiceConfig")
	}
	return writeJSON(w, http.StatusOK, c)
}

func (a *API) getValue(w http.ResponseWriter, r *http.Request) error {
	const op = "api.GetValue"
	service, key := r.PathValue("name"), r.PathValue("key")
	switch r.URL.Query().Get("history") {
	case "":
		v, err := a.Centre.Value(r.Context(), service, key)
		if err != nil {
			return errs.Wrap(err, op)
		}
		return writeJSON(w, http.StatusOK, v)
	case "1", "true":
		list, err := a.Centre.History(r.Context(), service, key)
		if err != nil {
			return errs.Wrap(err, op)
		}
		return writeJSON(w, http.StatusOK, map[string]any{"history": list})
	}
	return errs.New(errs.Invalid, op, "the query failed validation").Detail("history must be 1 or left out")
}

// postValue starts a push, or with now, check or ?rollback= does what these
// say.
func (a *API) postValue(w http.ResponseWriter, r *http.Request) error {
	const op = "api.PostValue"
	var in struct {
		Value      *string `json:"value"`
		By         string  `json:"by"`
		Why        string  `json:"why"`
		Share      int     `json:"share"`
		ForSeconds float64 `json:"forSeconds"`
		Force      bool    `json:"force"`
		Now        bool    `json:"now"`
		Check      bool    `json:"check"`
	}
	if err := decode(r, &in); err != nil {
		return err
	}
	in.By = strings.TrimSpace(in.By)
	to, back := r.URL.Query().Get("rollback"), r.URL.Query().Has("rollback")
	var bad []string
	if in.By == "" && (back || !in.Check) {
		bad = append(bad, "by must name the person who asks for this")
	}
	if rev, err := strconv.ParseInt(to, 10, 64); back && to != "previous" && (err != nil || rev < 1) {
		bad = append(bad, "rollback must be a revision, or previous")
	}
	if in.Value == nil && !back {
		bad = append(bad, "value must be given")
	}
	if in.Share < 0 || in.Share > 100 {
		bad = append(bad, "share must be from 1 to 100, in percent")
	}
	if in.ForSeconds != 0 && (in.ForSeconds < 1 || in.ForSeconds > 3600) {
		bad = append(bad, "forSeconds must be from 1 to 3600")
	}
	if len(bad) > 0 {
		return errs.New(errs.Invalid, op, "the change failed validation").Detail(bad...)
	}
	ctx, service, key := r.Context(), r.PathValue("name"), r.PathValue("key")
	code := http.StatusOK
	var out any
	var err error
	switch {
	case back:
		out, err = a.Centre.RollbackValue(ctx, service, key, to, in.By, in.Why)
	case in.Check:
		var diff []tree.Change
		diff, err = a.Centre.CheckValue(ctx, service, key, *in.Value)
		out = map[string]any{"diff": append([]tree.Change{}, diff...)}
	case in.Now:
		out, err = a.Centre.WriteValue(ctx, service, key, *in.Value, in.By, in.Why)
	default:
		code = http.StatusAccepted
		out, err = a.Centre.StartPush(ctx, service, key, PushOrder{
			Value: *in.Value, By: in.By, Why: in.Why, Share: in.Share, ForSeconds: in.ForSeconds, Force: in.Force,
		})
	}
	if err != nil {
		return errs.Wrap(err, op)
	}
	return writeJSON(w, code, out)
}

func (a *API) abortPush(w http.ResponseWriter, r *http.Request) error {
	const op = "api.AbortPush"
	var in struct {
		By  string `json:"by"`
		Why string `json:"why"`
	}
	if err := decode(r, &in); err != nil {
		return err
	}
	if in.By = strings.TrimSpace(in.By); in.By == "" {
		return errs.New(errs.Invalid, op, "say who takes the push back").Detail("by must name the person who asks for this")
	}
	p, err := a.Centre.AbortPush(r.Context(), r.PathValue("name"), r.PathValue("key"), in.By, in.Why)
	if err != nil {
		return errs.Wrap(err, op)
	}
	return writeJSON(w, http.StatusOK, p)
}
