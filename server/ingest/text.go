package ingest

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/surefoot-go/surefoot/server/store"
)

const (
	maxName   = 1 << 10 // names of spans, events and attributes; resource fields
	maxEvents = 128     // events of a span: OpenTelemetry's own default limit
	noService = "unknown_service"
)

// text makes s UTF-8 and at most limit bytes, and counts what it had to do.
func (r *Receiver) text(s string, limit int) string {
	if !utf8.ValidString(s) {
		r.n.repaired.Add(1)
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if len(s) <= limit {
		return s
	}
	r.n.truncated.Add(1)
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return strings.Clone(s[:limit])
}

// value is an attribute as text: see store.Span.
func (r *Receiver) value(v pcommon.Value, limit int) string {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return r.text(v.Str(), limit)
	case pcommon.ValueTypeInt:
		return strconv.FormatInt(v.Int(), 10)
	case pcommon.ValueTypeDouble:
		return strconv.FormatFloat(v.Double(), 'g', -1, 64)
	case pcommon.ValueTypeBool:
		return strconv.FormatBool(v.Bool())
	case pcommon.ValueTypeEmpty:
		return ""
	}
	return r.text(v.AsString(), limit) // JSON; bytes in base64
}

func (r *Receiver) attrs(m pcommon.Map) map[string]string {
	n := m.Len()
	if n == 0 {
		return nil
	}
	limit := or(r.MaxAttrs, 128)
	if n > limit {
		r.n.truncated.Add(uint64(n - limit))
	}
	out := make(map[string]string, min(n, limit))
	maxValue := or(r.MaxValue, 16<<10)
	for k, v := range m.All() {
		if len(out) >= limit {
			break
		}
		out[r.text(k, maxName)] = r.value(v, maxValue)
	}
	return out
}

// resource picks what store.Resource names; the rest of a resource is in
// target_info for metrics and not kept for spans and logs.
func (r *Receiver) resource(m pcommon.Map) store.Resource {
	get := func(key string) string {
		v, ok := m.Get(key)
		if !ok {
			return ""
		}
		return r.value(v, maxName)
	}
	res := store.Resource{Service: get("service.name"), Version: get("service.version"),
		Instance: get("service.instance.id"), Namespace: get("service.namespace")}
	if res.Service == "" {
		res.Service = noService
	}
	return res
}
