package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/discovery"
	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
	"github.com/surefoot-go/surefoot/resilience/retry"
	"github.com/surefoot-go/surefoot/supervise"
)

// Registry is where this service is listed for others while it serves, and where
// Client finds others. Driver is required.
type Registry struct {
	Driver interface {
		driver.Watcher
		driver.Registrar
	}
	// Hidden keeps the service off the list; it still finds others.
	Hidden bool
	// Addr is where others reach its HTTP listener, host:port; "" means the
	// listener's own, with the first address of this machine that others can reach
	// in place of one that means all. GRPC is the same for a gRPC server, put into
	// the label "grpc" (see discovery.Via); "" means none, an empty host this machine.
	Addr, GRPC string
	Zone       string            // where it runs
	Weight     int               // its share beside other instances; 0 means 1
	Labels     map[string]string // whatever else others should know
	// Old, Grace and Alarm are those of discovery.Source and
	// discovery.Registration; zero means their defaults.
	Old, Grace, Alarm time.Duration
}

// instance is service.instance.id.
func (s *Service) instance() string {
	if s.Instance != "" {
		return s.Instance
	}
	host, _ := os.Hostname() // without one the process id names the instance
	return strings.TrimPrefix(host+"-"+strconv.Itoa(os.Getpid()), "-")
}

// Discovery is what finds other services in Registry, nil without one. It knows
// nobody before Run. Safe for concurrent use.
func (s *Service) Discovery() *discovery.Source {
	if s.Registry == nil {
		return nil
	}
	s.foundOnce.Do(func() {
		s.found = &discovery.Source{Driver: s.Registry.Driver, Old: s.Registry.Old, Grace: s.Registry.Grace, Observe: s.Observe()}
	})
	return s.found
}

func (s *Service) checkRegistry() error {
	if s.Registry == nil {
		return nil
	}
	if s.Registry.Driver == nil {
		return errors.New("service: Registry needs a Driver")
	}
	for _, addr := range []string{s.Registry.Addr, s.Registry.GRPC} {
		if addr == "" {
			continue
		}
		if _, port, err := net.SplitHostPort(addr); err != nil || port == "" || port == "0" {
			return fmt.Errorf("service: Registry: %q is no host:port that others can reach", addr)
		}
	}
	return nil
}

// registration lists the service from the moment it is ready on; nil if nobody
// wants that.
func (s *Service) registration(l net.Listener) *discovery.Registration {
	r := s.Registry
	if r == nil || r.Hidden {
		return nil
	}
	in := balance.Instance{ID: s.instance(), Addr: reachable(cmp.Or(r.Addr, l.Addr().String())), Version: s.version(), Zone: r.Zone, Weight: r.Weight, Labels: maps.Clone(r.Labels)}
	if r.GRPC != "" {
		if in.Labels == nil {
			in.Labels = map[string]string{}
		}
		in.Labels["grpc"] = reachable(r.GRPC)
	}
	return &discovery.Registration{Driver: r.Driver, Service: s.Name, Instance: in, Alarm: r.Alarm, Observe: s.sinks}
}

// list is the worker that keeps the service listed.
func (s *Service) list(r *discovery.Registration) supervise.Worker {
	return supervise.Worker{Name: "registration", Run: func(ctx context.Context) error {
		for pause := 50 * time.Millisecond; !s.Readiness(ctx).Ready; pause = min(2*pause, 2*time.Second) { // nobody is to call it before
			if retry.Wait(ctx, pause) != nil {
				return nil
			}
		}
		return r.Run(ctx)
	}}
}

// listed adds that others cannot see the service.
func (s *Service) listed(r *Readiness) {
	run := s.running.Load()
	if run == nil || run.listing == nil {
		return
	}
	if visible, _, why := run.listing.Visible(); !visible {
		text := "not visible in the registry"
		if why != nil {
			text += ": " + errs.From(why).Message()
		}
		r.Degraded = append(r.Degraded, text)
	}
}

// reachable puts this machine's address in the place of one that means all.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || host != "" && (ip == nil || !ip.IsUnspecified()) {
		return addr
	}
	own, _ := net.InterfaceAddrs() // without them it is reachable from here only
	best := "127.0.0.1"
	for _, a := range own {
		n, ok := a.(*net.IPNet)
		if !ok || !n.IP.IsGlobalUnicast() {
			continue
		}
		if best = n.IP.String(); n.IP.To4() != nil {
			break
		}
	}
	return net.JoinHostPort(best, port)
}

// chooser sends requests for the target's name to its instances, and others, to
// a URL that names a machine, where they say.
type chooser struct {
	target   string
	balanced *httpx.Transport
	direct   func() http.RoundTripper
}

// Guard is that of the target, as httpx.Transport has it.
func (c *chooser) Guard() *resilience.Guard { return c.balanced.Guard() }

func (c *chooser) RoundTrip(req *http.Request) (*http.Response, error) {
	if first := firstOf(req); first.URL != nil && first.URL.Hostname() != c.target {
		return c.direct().RoundTrip(req)
	}
	return c.balanced.RoundTrip(req)
}

// firstOf is the request that led to req by redirects.
func firstOf(req *http.Request) *http.Request {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return req
}

// CloseIdleConnections closes the connections that no request uses.
func (c *chooser) CloseIdleConnections() {
	for _, t := range []http.RoundTripper{c.balanced, c.direct()} {
		if t, ok := t.(interface{ CloseIdleConnections() }); ok {
			t.CloseIdleConnections()
		}
	}
}
