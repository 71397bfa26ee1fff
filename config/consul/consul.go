// Package consul reads and writes settings in Consul's key/value store, over its
// HTTP API.
//
//	c := &config.Config{Service: "order", Centre: &consul.Driver{Addr: "127.0.0.1:8500"}}
//
// Tested against a real agent, Consul 1.9.17; newer ones were not tried. The
// requests are those of the documentation of the API, read up to 1.15
// (blocking queries, /v1/kv, /v1/txn).
package consul

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/surefoot-go/surefoot/config/driver"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/internal/consul"
)

// Driver is a driver of package config. The zero value asks the agent on this
// machine. It is safe for concurrent use; do not change it once it is used.
// Values that one transaction of Consul wrote are seen together.
type Driver struct {
	Addr       string       // of an agent, host:port or a URL; "" means 127.0.0.1:8500
	Token      string       // of Consul's ACL; "" means none
	Datacenter string       // "" means the agent's
	HTTP       *http.Client // nil means one made for it
	Log        *slog.Logger // nil means slog.Default()
}

var _ driver.Writer = (*Driver)(nil)

func (d *Driver) client() *consul.Client {
	return &consul.Client{Addr: d.Addr, Token: d.Token, Datacenter: d.Datacenter, HTTP: d.HTTP, Log: d.Log}
}

// entry is a key as Consul writes it; the value is in base64, as encoding/json
// reads []byte.
type entry struct {
	Key         string
	Value       []byte
	ModifyIndex int64
}

// Watch implements driver.Driver by blocking queries.
func (d *Driver) Watch(ctx context.Context, prefix string, fn func(driver.Snapshot)) error {
	const op = "consul.Watch"
	if prefix == "" || strings.HasPrefix(prefix, "/") {
		return errs.New(errs.Invalid, op, "a prefix of keys is text, without / in front")
	}
	return d.client().Follow(ctx, op, "/v1/kv/"+escape(prefix), url.Values{"recurse": {""}}, func(a consul.Answer) error {
		s, err := decode(a)
		if err == nil {
			fn(s)
		}
		return err
	})
}

// escape keeps the slashes of a key.
func escape(key string) string {
	return strings.ReplaceAll(url.PathEscape(key), "%2F", "/")
}

// decode reads the answer to a query for a prefix.
func decode(a consul.Answer) (driver.Snapshot, error) {
	s := driver.Snapshot{Revision: int64(min(a.Index, 1<<62))}
	if a.Status == http.StatusNotFound {
		if a.Index == 0 { // a proxy's 404, or another server's
			return s, errs.New(errs.BadGateway, "consul.Watch", "that is not Consul's answer")
		}
		return s, nil // there is no key
	}
	var all []entry
	if err := json.Unmarshal(a.Body, &all); err != nil {
		return s, errs.New(errs.BadGateway, "consul.Watch", "Consul's answer cannot be read").Because(err)
	}
	for _, e := range all {
		if strings.HasSuffix(e.Key, "/") && len(e.Value) == 0 {
			continue // a folder, as Consul's own page makes them
		}
		s.Items = append(s.Items, driver.Item{Key: e.Key, Value: e.Value, Revision: e.ModifyIndex})
	}
	slices.SortFunc(s.Items, func(a, b driver.Item) int { return cmp.Compare(a.Key, b.Key) })
	s.Items = slices.CompactFunc(s.Items, func(a, b driver.Item) bool { return a.Key == b.Key })
	return s, nil
}

// operation is one of a transaction.
type operation struct {
	KV kv
}

type kv struct {
	Verb  string
	Key   string
	Value []byte `json:",omitempty"`
	Index int64  `json:",omitempty"`
}

// Put implements driver.Writer.
func (d *Driver) Put(ctx context.Context, key string, value []byte, rev int64) (int64, error) {
	o := kv{Verb: "cas", Key: key, Value: value, Index: rev}
	if rev == driver.Any {
		o.Verb, o.Index = "set", 0
	}
	return d.txn(ctx, "consul.Put", o)
}

// Delete implements driver.Writer.
func (d *Driver) Delete(ctx context.Context, key string, rev int64) error {
	o := kv{Verb: "delete-cas", Key: key, Index: rev}
	if rev == driver.Any {
		o.Verb, o.Index = "delete", 0
	}
	_, err := d.txn(ctx, "consul.Delete", o)
	return err
}

// txn makes one change. Consul answers 409 when a condition does not hold.
func (d *Driver) txn(ctx context.Context, op string, o kv) (int64, error) {
	if o.Key == "" || strings.HasPrefix(o.Key, "/") {
		return 0, errs.New(errs.Invalid, op, "a key is text, without / in front")
	}
	a, err := d.client().Do(ctx, op, http.MethodPut, "/v1/txn", nil, []operation{{o}})
	switch {
	case err != nil:
		return 0, err
	case a.Status == http.StatusConflict:
		return 0, errs.New(errs.Conflict, op, "the value was changed by somebody else; read it again").
			With("key", o.Key).With("revision", strconv.FormatInt(o.Index, 10)).Because(errText(a.Body))
	case a.Status != http.StatusOK:
		return 0, errs.New(errs.BadGateway, op, "that is not Consul's answer")
	}
	var out struct {
		Results []struct{ KV entry }
	}
	if err := json.Unmarshal(a.Body, &out); err != nil {
		return 0, errs.New(errs.BadGateway, op, "Consul's answer cannot be read").Because(err)
	}
	if len(out.Results) == 0 {
		return 0, nil // a deletion
	}
	return out.Results[0].KV.ModifyIndex, nil
}

// errText is Consul's own words.
type errText []byte

func (e errText) Error() string { return string(bytes.TrimSpace(e[:min(len(e), 300)])) }
