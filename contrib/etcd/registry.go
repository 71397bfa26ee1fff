package etcd

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/surefoot-go/surefoot/discovery/driver"
	"github.com/surefoot-go/surefoot/errs"
)

// InstancePrefix is where instances are: surefoot/instances/<service>/<id>.
const InstancePrefix = "surefoot/instances/"

const (
	maxInstance = 64 << 10 // bytes of an instance believed, as JSON
	maxName     = 255      // bytes of a service's name, and of an id
)

// Registry is the registry of instances in an etcd cluster, for package
// discovery. Fill in KV. It is safe for concurrent use; whoever made KV closes
// it, after those who use the Registry have ended.
//
// A watcher hears the set again about every 5 s while the cluster answers and
// the watch has come as far as the cluster, changed or not: a set that was not
// heard for longer is old.
type Registry struct {
	KV *KV
	// TTL is how long an instance outlives a process that died, in whole seconds,
	// rounded up; 0 or negative means 10s. After an outage of the cluster, however
	// long, instances are listed again within it.
	TTL time.Duration
}

var (
	_ driver.Watcher   = (*Registry)(nil)
	_ driver.Registrar = (*Registry)(nil)
)

// Watch implements driver.Watcher. An instance that does not decode is logged;
// the one before it stays, if there was one.
func (r *Registry) Watch(ctx context.Context, service string, fn func([]driver.Instance)) error {
	const op = "etcd.Registry.Watch"
	if err := checkName(op, "the service's name", service); err != nil {
		return err
	}
	known := map[string]driver.Instance{}
	err := r.KV.watch(ctx, InstancePrefix+service+"/", func(batch []Event) {
		for _, e := range batch {
			switch e.Kind {
			case Delete:
				delete(known, e.Key)
			case Put:
				in, err := decodeInstance(service, e.Key, e.Value)
				if err != nil {
					r.KV.log().LogAttrs(ctx, slog.LevelError, "instance refused, the one before stays",
						slog.String("key", e.Key), slog.Int64("revision", e.Revision), slog.Any("error", err))
					continue
				}
				known[e.Key] = in
			}
		}
		fn(sorted(known))
	})
	return errs.Wrap(err, op)
}

// sorted is known by id, as a set that its reader may keep and change.
func sorted(known map[string]driver.Instance) []driver.Instance {
	set := make([]driver.Instance, 0, len(known))
	for _, in := range known {
		in.Labels = maps.Clone(in.Labels)
		set = append(set, in)
	}
	slices.SortFunc(set, func(a, b driver.Instance) int { return strings.Compare(a.ID, b.ID) })
	return set
}

// Register implements driver.Registrar by KV.Keep.
func (r *Registry) Register(ctx context.Context, service string, in driver.Instance, told func(bool, error)) error {
	const op = "etcd.Registry.Register"
	if in.ID == "" {
		in.ID = in.Addr
	}
	if err := checkName(op, "the service's name", service); err != nil {
		return err
	}
	if err := checkName(op, "the instance's id", in.ID); err != nil {
		return err
	}
	if in.Addr == "" {
		return errs.New(errs.Invalid, op, "the instance has no address")
	}
	value, err := json.Marshal(in)
	if err != nil {
		return errs.New(errs.Invalid, op, "the instance can not be written as JSON").Because(err)
	}
	if len(value) > maxInstance {
		return errs.New(errs.Invalid, op, "the instance has more than 64 KiB; give it fewer labels")
	}
	return errs.Wrap(r.KV.Keep(ctx, InstancePrefix+service+"/"+in.ID, value, Keeping{TTL: r.TTL, Told: told}), op)
}

// checkName refuses what would not be one segment of a key.
func checkName(op, what, name string) error {
	bad := func(r rune) bool { return r == '/' || unicode.IsControl(r) || r == unicode.ReplacementChar }
	if name == "" || len(name) > maxName || strings.HasPrefix(name, ".") || strings.ContainsFunc(name, bad) {
		return errs.New(errs.Invalid, op, what+" must have 1 to 255 bytes of printable text without /, and no leading dot").With("name", name)
	}
	return nil
}

// decodeInstance reads what is stored under a key of service.
func decodeInstance(service, key string, value []byte) (driver.Instance, error) {
	const op = "etcd.Registry.Watch"
	id, ok := strings.CutPrefix(key, InstancePrefix+service+"/")
	if !ok || checkName(op, "id", id) != nil {
		return driver.Instance{}, errs.New(errs.Invalid, op, "the key is no instance of the service")
	}
	if len(value) > maxInstance {
		return driver.Instance{}, errs.New(errs.Invalid, op, "the instance has more than 64 KiB")
	}
	var in driver.Instance
	if err := json.Unmarshal(value, &in); err != nil {
		return driver.Instance{}, errs.New(errs.Invalid, op, "the instance is no JSON object of an instance").Because(err)
	}
	if in.ID == "" {
		in.ID = id
	}
	if in.ID != id {
		return driver.Instance{}, errs.New(errs.Invalid, op, "the instance is stored under another id").With("id", in.ID)
	}
	if in.Addr == "" {
		return driver.Instance{}, errs.New(errs.Invalid, op, "the instance has no address")
	}
	return in, nil
}
