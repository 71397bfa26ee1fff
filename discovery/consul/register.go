package consul

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/internal/consul"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// registration is what an agent is told of an instance.
type registration struct {
	ID      string
	Name    string
	Address string
	Port    int
	Meta    map[string]string
	Weights struct{ Passing, Warning int }
	Check   struct {
		CheckID                        string
		Name                           string
		TTL                            string
		Status                         string
		DeregisterCriticalServiceAfter string
	}
}

// Register implements driver.Registrar. It passes the check three times in each
// TTL and looks about as often as that whether the instance is in the list that
// others get; whatever is not so is put right by registering anew.
func (d *Driver) Register(ctx context.Context, service string, in driver.Instance, told func(bool, error)) error {
	const op = "consul.Register"
	in.ID = cmp.Or(in.ID, in.Addr)
	reg, err := d.registration(op, service, in)
	if err != nil {
		return err
	}
	k := keeper{d: d, c: d.client(), reg: reg, id: in.ID, told: told}
	defer k.leave(context.WithoutCancel(ctx))
	for failing := 0; ; {
		err := k.round(ctx)
		if ctx.Err() != nil {
			return errs.Wrap(ctx.Err(), op)
		}
		wait := d.ttl()/3 - rand.N(d.ttl()/12)
		switch {
		case err != nil:
			wait = min(wait, consul.Wait(failing))
			failing = min(failing+1, 30)
		case !k.visible:
			wait = min(wait, consul.Wait(failing)) // Consul spreads the news
			failing = min(failing+1, 30)
		default:
			failing = 0
		}
		if retry.Wait(ctx, wait) != nil {
			return errs.Wrap(ctx.Err(), op)
		}
	}
}

func (d *Driver) registration(op, service string, in driver.Instance) (registration, error) {
	var r registration
	if err := checkName(op, service); err != nil {
		return r, err
	}
	host, port, err := net.SplitHostPort(in.Addr)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || bad != nil || n == 0 {
		return r, errs.New(errs.Invalid, op, "an instance's address is host:port with a number for the port").With("addr", in.Addr)
	}
	if len(in.ID) > maxName || strings.ContainsAny(in.ID, "\x00\n") {
		return r, errs.New(errs.Invalid, op, "an instance's id has at most 255 bytes of text")
	}
	r = registration{ID: service + ":" + in.ID, Name: service, Address: host, Port: int(n), Meta: map[string]string{metaID: in.ID}}
	for k, v := range in.Labels {
		if k == metaID || k == metaWeight || k == metaVersion || k == metaZone {
			return r, errs.New(errs.Invalid, op, fmt.Sprintf("a label cannot be called %q in Consul", k))
		}
		r.Meta[k] = v
	}
	for k, v := range map[string]string{metaVersion: in.Version, metaZone: in.Zone} {
		if v != "" {
			r.Meta[k] = v
		}
	}
	if in.Weight < 0 {
		r.Meta[metaWeight] = strconv.Itoa(in.Weight)
	}
	for k, v := range r.Meta {
		if !metaKey.MatchString(k) || len(k) > maxMetaKey || len(v) > maxMetaValue || len(r.Meta) > maxMeta {
			return r, errs.New(errs.Invalid, op, fmt.Sprintf("Consul takes at most %d labels of letters, digits, - and _ (%d bytes), with values of %d bytes", maxMeta-4, maxMetaKey, maxMetaValue)).With("label", k)
		}
	}
	r.Weights.Passing, r.Weights.Warning = max(in.Weight, 1), 1
	r.Check.CheckID, r.Check.Name = "ttl:"+r.ID, "the process says that it lives"
	r.Check.TTL, r.Check.Status = d.ttl().String(), "passing"
	r.Check.DeregisterCriticalServiceAfter = max(time.Minute, 2*d.ttl()).String()
	return r, nil
}

// keeper keeps one instance.
type keeper struct {
	d          *Driver
	c          *consul.Client
	reg        registration
	id         string
	told       func(bool, error)
	registered bool // the agent has said that it knows us
	visible    bool
	spoke      bool // told was called
	looked     time.Time
}

// round is one turn: pass the check, or register, and look.
func (k *keeper) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(max(k.d.ttl(), time.Second), 5*time.Second))
	defer cancel()
	if err := k.pass(ctx); err != nil {
		k.tell(false, err)
		return err
	}
	if k.visible && time.Since(k.looked) < k.d.ttl() {
		return nil
	}
	k.looked = time.Now()
	a, err := k.c.Do(ctx, "consul.Register", http.MethodGet, healthPath(k.reg.Name), passing(), nil)
	if err != nil {
		k.tell(false, err)
		return err
	}
	all, err := decode(a)
	if err != nil {
		return err
	}
	for _, in := range all {
		if in.ID == k.id {
			k.tell(true, nil)
			return nil
		}
	}
	if k.visible { // it was there, and is not any more: register anew
		k.registered = false
	}
	k.tell(false, errs.New(errs.NotFound, "consul.Register", "Consul does not list this instance"))
	return nil
}

// pass has the check pass; an agent that does not know it, since it was started
// anew or somebody took the instance off, is told all again.
func (k *keeper) pass(ctx context.Context) error {
	const op = "consul.Register"
	if k.registered {
		a, err := k.c.Do(ctx, op, http.MethodPut, "/v1/agent/check/update/"+url.PathEscape(k.reg.Check.CheckID), nil, map[string]string{"Status": "passing"})
		if err == nil && a.Status == http.StatusOK {
			return nil
		}
		k.registered = false
		if err != nil && a.Status == 0 {
			return err // it does not answer
		}
	}
	a, err := k.c.Do(ctx, op, http.MethodPut, "/v1/agent/service/register", url.Values{"replace-existing-checks": {"true"}}, k.reg)
	if err == nil && a.Status != http.StatusOK {
		err = errs.New(errs.BadGateway, op, "that is not Consul's answer")
	}
	k.registered = err == nil
	return err
}

func (k *keeper) tell(visible bool, err error) {
	if k.spoke && visible == k.visible {
		return
	}
	if !k.spoke && !visible && k.registered {
		return // registered just now; Consul has not listed it yet
	}
	k.visible, k.spoke = visible, true
	if k.told != nil {
		k.told(visible, err)
	}
}

// leave takes the instance off. If that fails Consul does, when the check has
// not passed for long enough.
func (k *keeper) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
	defer cancel()
	_, _ = k.c.Do(ctx, "consul.Register", http.MethodPut, "/v1/agent/service/deregister/"+url.PathEscape(k.reg.ID), nil, nil)
}
