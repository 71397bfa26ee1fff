package shop

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
)

// settings are the flags of all programs; each takes some.
type settings struct {
	name    string
	stderr  io.Writer
	addr    string
	admin   string
	health  string
	dsn     string
	version string
	otlp    string
	etcd    string // "none" watches no routes

	user, order, payment, paymentV2, paymentV3, inventory, bank, warehouse string
}

// Where the programs are unless told otherwise: the demo's ports.
var ports = map[string]string{
	"gateway": "127.0.0.1:17610", "user": "127.0.0.1:17611", "order": "127.0.0.1:17612", "payment": "127.0.0.1:17613",
	"inventory": "127.0.0.1:17615", "bank": "127.0.0.1:17616", "warehouse": "127.0.0.1:17618",
}

// parse reads args, and the environment for what args leave out. The usage goes
// to stderr.
func (p program) parse(args []string, env func(string) (string, bool), stderr io.Writer) (settings, error) {
	s := settings{name: p.name, stderr: stderr}
	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	add := func(to *string, name, value, usage string) {
		if slices.Contains(p.flags, name) {
			fs.StringVar(to, name, value, usage)
		}
	}
	add(&s.addr, "addr", ports[p.name], "`host:port` to serve on")
	add(&s.admin, "admin", "127.0.0.1:17617", "`host:port` of the switch and the ledger's truth; it has no login, keep it on loopback")
	add(&s.health, "health", "127.0.0.1:0", "`host:port` of /healthz and /readyz; port 0 takes a free one and logs it")
	add(&s.dsn, "dsn", p.name+".db", "database: the `path` of a SQLite file, or postgres://user:password@host/name (bank and warehouse: a file only)")
	add(&s.version, "version", "v1", "service.version, and the lane of a canary; payment v2 and v3 are different payments")
	add(&s.otlp, "otlp", "", "`host:port` that takes OTLP over gRPC; none sends nothing; default $OTEL_EXPORTER_OTLP_ENDPOINT or localhost:4317")
	add(&s.etcd, "etcd", "127.0.0.1:7602", "`host:port,...` of etcd with the canary routes (order reads them); none watches no routes")
	add(&s.user, "user", "http://"+ports["user"], "base `URL` of user")
	add(&s.order, "order", ports["order"], "`host:port` of order")
	add(&s.payment, "payment", ports["payment"], "`host:port` of payment, the lane v1")
	add(&s.paymentV2, "payment-v2", "", "`host:port` of payment's lane v2; default: there is none")
	add(&s.paymentV3, "payment-v3", "", "`host:port` of payment's lane v3; default: there is none")
	add(&s.inventory, "inventory", ports["inventory"], "`host:port` of inventory")
	add(&s.bank, "bank", "http://"+ports["bank"], "base `URL` of the bank")
	add(&s.warehouse, "warehouse", "http://"+ports["warehouse"], "base `URL` of the warehouse")
	fs.Usage = func() {
		fmt.Fprintf(stderr, "Usage: surefoot shop %s [flags]\n\n%s. Each flag may also be set by its variable: --payment-v2 by SHOP_PAYMENT_V2.\n\nFlags:\n", p.name, p.about)
		fs.SetOutput(stderr)
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	if fs.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	fs.VisitAll(func(f *flag.Flag) {
		if v, ok := env("SHOP_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))); ok && !given[f.Name] {
			f.Value.Set(v) // a string value takes anything
		}
	})
	return s, s.check(fs)
}

// check says which flag makes no sense.
func (s *settings) check(fs *flag.FlagSet) error {
	var wrong []error
	hostPort := func(name string, v string) {
		if _, port, err := net.SplitHostPort(v); err != nil || port == "" {
			wrong = append(wrong, fmt.Errorf("--%s %q must be host:port", name, v))
		}
	}
	base := func(name string, v *string) {
		if u, err := url.Parse(*v); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			wrong = append(wrong, fmt.Errorf("--%s %q must be a URL such as http://127.0.0.1:8080", name, *v))
		}
		*v = strings.TrimSuffix(*v, "/")
	}
	fs.VisitAll(func(f *flag.Flag) {
		v := f.Value.String()
		switch f.Name {
		case "addr", "admin", "health", "order", "payment", "inventory":
			hostPort(f.Name, v)
		case "payment-v2", "payment-v3":
			if v != "" {
				hostPort(f.Name, v)
			}
		case "user":
			base(f.Name, &s.user)
		case "bank":
			base(f.Name, &s.bank)
		case "warehouse":
			base(f.Name, &s.warehouse)
		case "etcd":
			if v != "none" {
				for e := range strings.SplitSeq(v, ",") {
					hostPort(f.Name, strings.TrimPrefix(e, "http://"))
				}
			}
		case "otlp":
			if v != "" && v != "none" && !strings.Contains(v, "://") {
				hostPort(f.Name, v)
			}
		case "dsn", "version":
			if v == "" {
				wrong = append(wrong, fmt.Errorf("--%s must not be empty", f.Name))
			}
		}
	})
	return joined(wrong)
}

// joined is errors.Join on one line.
func joined(all []error) error {
	if len(all) == 0 {
		return nil
	}
	var texts []string
	for _, err := range all {
		texts = append(texts, err.Error())
	}
	return errors.New(strings.Join(texts, "; "))
}
