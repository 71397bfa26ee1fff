// Package consul finds instances in Consul and registers there, over its HTTP
// API.
//
//	found := &discovery.Source{Driver: &consul.Driver{Addr: "127.0.0.1:8500"}}
//
// An instance is a service of the agent with a TTL check that its process keeps
// passing. Whoever else registers in Consul is found, too: meta "version" and
// "zone" are the instance's, the rest are labels.
//
// Tested against a real agent, Consul 1.9.17; newer ones were not tried. The
// requests are those of the documentation of the API, read up to 1.15
// (agent/service/register, agent/check/update,
// health/service with blocking queries).
package consul

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/internal/consul"
)

// Driver is a driver of package discovery. The zero value asks the agent on this
// machine. It is safe for concurrent use; do not change it once it is used.
type Driver struct {
	Addr       string // of an agent, host:port or a URL; "" means 127.0.0.1:8500
	Token      string // of Consul's ACL; "" means none
	Datacenter string // to find instances in; "" means the agent's
	// TTL is how long an instance counts as passing after its process was last
	// heard of; 0 or negative means 10s. It is taken off a minute after that, the
	// least that Consul allows.
	TTL  time.Duration
	HTTP *http.Client // nil means one made for it
	Log  *slog.Logger // nil means slog.Default()
}

var (
	_ driver.Watcher   = (*Driver)(nil)
	_ driver.Registrar = (*Driver)(nil)
)

// What Consul takes of a service's meta.
const (
	maxMeta      = 64 // pairs
	maxMetaKey   = 128
	maxMetaValue = 512
	maxName      = 255
)

// Names in the meta of an instance that are its fields.
const (
	metaID      = "surefoot-id"
	metaWeight  = "surefoot-weight" // only where Consul's own weights cannot say it
	metaVersion = "version"
	metaZone    = "zone"
)

var metaKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func (d *Driver) client() *consul.Client {
	return &consul.Client{Addr: d.Addr, Token: d.Token, Datacenter: d.Datacenter, HTTP: d.HTTP, Log: d.Log}
}

func (d *Driver) ttl() time.Duration { return cmp.Or(max(d.TTL, 0), 10*time.Second) }

// Watch implements driver.Watcher by blocking queries for the instances whose
// checks all pass.
func (d *Driver) Watch(ctx context.Context, service string, fn func([]driver.Instance)) error {
	const op = "consul.Watch"
	if err := checkName(op, service); err != nil {
		return err
	}
	return d.client().Follow(ctx, op, healthPath(service), passing(), func(a consul.Answer) error {
		in, err := decode(a)
		if err == nil {
			fn(in)
		}
		return err
	})
}

func healthPath(service string) string { return "/v1/health/service/" + url.PathEscape(service) }

func passing() url.Values { return url.Values{"passing": {"1"}} }

func checkName(op, name string) error {
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == 0x7f || r == '\uFFFD' }) {
		return errs.New(errs.Invalid, op, "a service's name has 1 to 255 bytes of text without spaces and /").With("name", name)
	}
	return nil
}

// entry is an instance as Consul lists it.
type entry struct {
	Node    struct{ Address string }
	Service struct {
		ID      string
		Address string
		Port    int
		Meta    map[string]string
		Weights struct{ Passing int }
	}
}

// decode reads a list of instances.
func decode(a consul.Answer) ([]driver.Instance, error) {
	var all []entry
	if err := json.Unmarshal(a.Body, &all); a.Status != http.StatusOK || err != nil {
		return nil, errs.New(errs.BadGateway, "consul.Watch", "that is not Consul's answer").Because(err)
	}
	out := make([]driver.Instance, 0, len(all))
	for _, e := range all {
		host := cmp.Or(e.Service.Address, e.Node.Address)
		if host == "" || e.Service.Port < 1 || e.Service.Port > 65535 {
			continue // nobody could call it
		}
		in := driver.Instance{
			ID: cmp.Or(e.Service.Meta[metaID], e.Service.ID), Addr: net.JoinHostPort(host, strconv.Itoa(e.Service.Port)),
			Version: e.Service.Meta[metaVersion], Zone: e.Service.Meta[metaZone], Weight: max(e.Service.Weights.Passing, 0),
		}
		if w, err := strconv.Atoi(e.Service.Meta[metaWeight]); err == nil {
			in.Weight = w
		}
		for k, v := range e.Service.Meta {
			if k == metaID || k == metaVersion || k == metaZone || k == metaWeight {
				continue
			}
			if in.Labels == nil {
				in.Labels = map[string]string{}
			}
			in.Labels[k] = v
		}
		out = append(out, in)
	}
	slices.SortFunc(out, func(a, b driver.Instance) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Addr, b.Addr)) })
	return slices.CompactFunc(out, func(a, b driver.Instance) bool { return a.ID == b.ID }), nil
}
