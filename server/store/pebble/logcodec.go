package pebble

import (
	"encoding/binary"

	"github.com/surefoot-go/surefoot/server/store"
)

// A chunk of log records, before compression: strings and resources as for
// spans, then the count and for each record, ordered by time: time
// (difference), length, and body: resource, severity, flags, [trace], [span],
// body text, attributes.

const (
	flagTrace = 1
	flagSpan  = 2
)

// encodeLogs writes logs, which must be sorted by time.
func encodeLogs(logs []*store.Log) []byte {
	strings := newTable()
	resources := make(map[store.Resource]uint64)
	var (
		resList           []store.Resource
		body, rest, front []byte
		scratch           []string
		last              uint64
	)
	for _, l := range logs {
		ri, ok := resources[l.Resource]
		if !ok {
			ri = uint64(len(resList))
			resources[l.Resource] = ri
			resList = append(resList, l.Resource)
		}
		body = binary.AppendUvarint(body[:0], ri)
		body = binary.AppendVarint(body, int64(l.Severity))
		var flags byte
		if !l.TraceID.IsZero() {
			flags |= flagTrace
		}
		if !l.SpanID.IsZero() {
			flags |= flagSpan
		}
		body = append(body, flags)
		if flags&flagTrace != 0 {
			body = append(body, l.TraceID[:]...)
		}
		if flags&flagSpan != 0 {
			body = append(body, l.SpanID[:]...)
		}
		body = binary.AppendUvarint(body, strings.ref(l.Body))
		body = strings.attrs(body, l.Attrs, &scratch)
		at := nanos(l.At)
		rest = binary.AppendUvarint(rest, at-last)
		last = at
		rest = binary.AppendUvarint(rest, uint64(len(body)))
		rest = append(rest, body...)
	}
	front = binary.AppendUvarint(nil, uint64(len(resList)))
	for _, r := range resList {
		for _, v := range [...]string{r.Service, r.Version, r.Instance, r.Namespace} {
			front = binary.AppendUvarint(front, strings.ref(v))
		}
	}
	out := strings.append(make([]byte, 0, len(rest)+len(front)+64*len(strings.list)))
	out = append(out, front...)
	out = binary.AppendUvarint(out, uint64(len(logs)))
	return append(out, rest...)
}

// decodeLogs reads an unpacked chunk back, ordered by time.
func decodeLogs(raw []byte) ([]store.Log, error) {
	r := reader{b: raw}
	t := r.texts()
	resources := make([]store.Resource, r.count(4))
	for i := range resources {
		res := &resources[i]
		res.Service = r.text(&t)
		res.Version = r.text(&t)
		res.Instance = r.text(&t)
		res.Namespace = r.text(&t)
	}
	out := make([]store.Log, 0, min(r.count(2), 4096))
	if r.err != nil {
		return nil, r.err
	}
	var at uint64
	for len(r.b) > 0 {
		at += r.uvarint()
		body := reader{b: r.bytes(r.count(1))}
		if r.err != nil || at > 1<<63-1 {
			return nil, errCorrupt
		}
		l := store.Log{At: fromNanos(at)}
		if ri := body.uvarint(); ri < uint64(len(resources)) {
			l.Resource = resources[ri]
		} else {
			body.fail()
		}
		l.Severity = int(body.varint())
		var flags byte
		if b := body.bytes(1); b != nil {
			flags = b[0]
		}
		if flags&flagTrace != 0 {
			copy(l.TraceID[:], body.bytes(16))
		}
		if flags&flagSpan != 0 {
			copy(l.SpanID[:], body.bytes(8))
		}
		l.Body = body.text(&t)
		l.Attrs = body.attrs(&t)
		if body.err != nil {
			return nil, body.err
		}
		out = append(out, l)
	}
	return out, r.err
}
