// Package dns finds instances by DNS: by SRV records, as Kubernetes has them for
// the ports of headless services, or by addresses and a port.
//
//	found := &discovery.Source{Driver: &dns.Driver{}}
//	found.Balancer("_http._tcp.payment.shop.svc.cluster.local", balance.Settings{}) // SRV
//	found.Balancer("payment.shop.svc.cluster.local:8080", balance.Settings{})       // A and AAAA
//
// Nobody registers here: whoever runs the instances tells the name server.
package dns

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/resilience/retry"
)

// Driver looks names up again and again. The zero value uses net.DefaultResolver
// every 5s. It is safe for concurrent use; do not change it once it is used.
type Driver struct {
	Resolver *net.Resolver // nil means net.DefaultResolver
	// Every is how long an answer counts, up to a tenth less so that clients do
	// not ask together; 0 or negative means 5s, as long as CoreDNS lets
	// Kubernetes' records live. (Go's resolver does not tell how long they do.)
	Every   time.Duration
	Timeout time.Duration // of one look-up; 0 or negative means 2s
	Zone    string        // what to call the zone of what is found
	Log     *slog.Logger  // nil means slog.Default()
}

var _ driver.Watcher = (*Driver)(nil)

// Watch implements driver.Watcher. service is "_service._proto.name" or
// "name:port". A look-up that fails, or finds no name, is no answer: what was
// found before stays. In an SRV answer only the targets of the lowest priority
// number count; their weights are kept.
func (d *Driver) Watch(ctx context.Context, service string, fn func([]driver.Instance)) error {
	const op = "dns.Watch"
	lookup, err := d.kind(service)
	if err != nil {
		return err
	}
	every := cmp.Or(max(d.Every, 0), 5*time.Second)
	failing := 0
	for {
		wait := every - rand.N(every/10+1)
		in, err := lookup(ctx)
		switch {
		case ctx.Err() != nil:
			return errs.Wrap(ctx.Err(), op)
		case err != nil:
			level := slog.LevelDebug
			if failing++; failing == 3 {
				level = slog.LevelWarn // said once an outage
			}
			d.log().LogAttrs(ctx, level, "dns: the look-up failed", slog.String("name", service), slog.Any("err", err))
			limit := min(wait, time.Duration(failing)*time.Second)
			wait = limit/10 + rand.N(limit-limit/10+1)
		default:
			failing = 0
			fn(in)
		}
		if err := retry.Wait(ctx, wait); err != nil {
			return errs.Wrap(err, op)
		}
	}
}

func (d *Driver) log() *slog.Logger { return cmp.Or(d.Log, slog.Default()) }

func (d *Driver) resolver() *net.Resolver { return cmp.Or(d.Resolver, net.DefaultResolver) }

// kind tells which of the two kinds of names service is.
func (d *Driver) kind(service string) (func(context.Context) ([]driver.Instance, error), error) {
	if parts := strings.SplitN(service, ".", 3); len(parts) == 3 && strings.HasPrefix(parts[0], "_") && strings.HasPrefix(parts[1], "_") && parts[2] != "" {
		return func(ctx context.Context) ([]driver.Instance, error) { return d.srv(ctx, service) }, nil
	}
	host, port, err := net.SplitHostPort(service)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
		return nil, errs.New(errs.Invalid, "dns.Watch", `a name to look up is "_service._proto.name" or "name:port"`).With("name", service)
	}
	return func(ctx context.Context) ([]driver.Instance, error) { return d.addresses(ctx, host, port) }, nil
}

func (d *Driver) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, cmp.Or(max(d.Timeout, 0), 2*time.Second))
}

func (d *Driver) addresses(ctx context.Context, host, port string) ([]driver.Instance, error) {
	ctx, cancel := d.limited(ctx)
	defer cancel()
	found, err := d.resolver().LookupHost(ctx, host)
	if err != nil {
		return nil, err
	}
	var out []driver.Instance
	for _, ip := range found {
		out = append(out, d.instance(net.JoinHostPort(ip, port), 0))
	}
	return sorted(out), nil
}

func (d *Driver) srv(ctx context.Context, name string) ([]driver.Instance, error) {
	ctx, cancel := d.limited(ctx)
	defer cancel()
	_, found, err := d.resolver().LookupSRV(ctx, "", "", name)
	if err != nil && len(found) == 0 { // some of the records may be bad
		return nil, err
	}
	var out []driver.Instance
	for _, s := range found {
		if s.Target == "." {
			continue // "not available here", as RFC 2782 has it
		}
		if s.Priority == found[0].Priority { // the answer is sorted by it
			out = append(out, d.instance(net.JoinHostPort(strings.TrimSuffix(s.Target, "."), strconv.Itoa(int(s.Port))), int(s.Weight)))
		}
	}
	if len(out) == 0 {
		return nil, errs.New(errs.NotFound, "dns.Watch", "the name server says that it is not available")
	}
	return sorted(out), nil
}

func (d *Driver) instance(addr string, weight int) driver.Instance {
	return driver.Instance{ID: addr, Addr: addr, Zone: d.Zone, Weight: weight}
}

// sorted is in by id, each once.
func sorted(in []driver.Instance) []driver.Instance {
	slices.SortFunc(in, func(a, b driver.Instance) int { return strings.Compare(a.ID, b.ID) })
	return slices.CompactFunc(in, func(a, b driver.Instance) bool { return a.ID == b.ID })
}
