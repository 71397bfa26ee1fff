package pebble

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"github.com/surefoot-go/surefoot/server/store"
)

// A chunk of spans, before compression:
//
//	strings    count, lengths, bytes
//	resources  count, 4 string refs each
//	traces     count, 16 bytes each
//	ids        count, 8 bytes each: the spans, ordered by start, trace, id
//	spans      for each: start (difference), trace index, length, body
//	body       resource, parent, kind and flags, name, duration, [message], attributes, events
//
// A parent is 0 for none, 1 followed by 8 bytes, or 2 + its index in ids.

const (
	flagError   = 1
	flagMessage = 2
	flagBits    = 2
)

func compareSpans(a, b *store.Span) int {
	if c := cmp.Compare(nanos(a.Start), nanos(b.Start)); c != 0 {
		return c
	}
	if c := bytes.Compare(a.TraceID[:], b.TraceID[:]); c != 0 {
		return c
	}
	return bytes.Compare(a.ID[:], b.ID[:])
}

// encodeSpans writes spans, which must be sorted by compareSpans.
func encodeSpans(spans []*store.Span) []byte {
	strings := newTable()
	resources := make(map[store.Resource]uint64)
	var resList []store.Resource
	traces := make(map[store.TraceID]uint64)
	var traceList []store.TraceID
	at := make(map[store.SpanID]uint64, len(spans))
	for i, s := range spans {
		at[s.ID] = uint64(i)
	}
	var (
		body, rest, tmp []byte
		scratch         []string
		last            uint64
	)
	for _, s := range spans {
		ri, ok := resources[s.Resource]
		if !ok {
			ri = uint64(len(resList))
			resources[s.Resource] = ri
			resList = append(resList, s.Resource)
		}
		ti, ok := traces[s.TraceID]
		if !ok {
			ti = uint64(len(traceList))
			traces[s.TraceID] = ti
			traceList = append(traceList, s.TraceID)
		}
		body = appendSpan(body[:0], s, ri, at, strings, &scratch)
		start := nanos(s.Start)
		rest = binary.AppendUvarint(rest, start-last)
		last = start
		rest = binary.AppendUvarint(rest, ti)
		rest = binary.AppendUvarint(rest, uint64(len(body)))
		rest = append(rest, body...)
	}
	tmp = binary.AppendUvarint(nil, uint64(len(resList)))
	for _, r := range resList {
		for _, v := range [...]string{r.Service, r.Version, r.Instance, r.Namespace} {
			tmp = binary.AppendUvarint(tmp, strings.ref(v))
		}
	}
	out := strings.append(make([]byte, 0, len(rest)+len(tmp)+64*len(strings.list)))
	out = append(out, tmp...)
	out = binary.AppendUvarint(out, uint64(len(traceList)))
	for _, t := range traceList {
		out = append(out, t[:]...)
	}
	out = binary.AppendUvarint(out, uint64(len(spans)))
	for _, s := range spans {
		out = append(out, s.ID[:]...)
	}
	return append(out, rest...)
}

func appendSpan(b []byte, s *store.Span, resource uint64, at map[store.SpanID]uint64, t *table, scratch *[]string) []byte {
	b = binary.AppendUvarint(b, resource)
	if s.Parent.IsZero() {
		b = append(b, 0)
	} else if i, ok := at[s.Parent]; ok {
		b = binary.AppendUvarint(b, i+2)
	} else {
		b = append(append(b, 1), s.Parent[:]...)
	}
	flags := uint64(s.Kind) << flagBits
	if s.Error {
		flags |= flagError
	}
	if s.Message != "" {
		flags |= flagMessage
	}
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendUvarint(b, t.ref(s.Name))
	b = binary.AppendVarint(b, int64(s.Duration))
	if s.Message != "" {
		b = binary.AppendUvarint(b, t.ref(s.Message))
	}
	b = t.attrs(b, s.Attrs, scratch)
	b = binary.AppendUvarint(b, uint64(len(s.Events)))
	start := int64(nanos(s.Start))
	for i := range s.Events {
		e := &s.Events[i]
		b = binary.AppendUvarint(b, t.ref(e.Name))
		b = binary.AppendVarint(b, int64(nanos(e.At))-start)
		b = t.attrs(b, e.Attrs, scratch)
	}
	return b
}

// spanChunk reads spans back one at a time.
type spanChunk struct {
	texts     texts
	resources []store.Resource
	traces    []store.TraceID
	ids       []byte
	n, i      int
	r         reader

	// The span that next found, its body not yet read.
	start uint64
	trace store.TraceID
	body  []byte
}

// openSpans reads what comes before the spans.
func openSpans(raw []byte) (*spanChunk, error) {
	c := &spanChunk{r: reader{b: raw}}
	c.texts = c.r.texts()
	c.resources = make([]store.Resource, c.r.count(4))
	for i := range c.resources {
		res := &c.resources[i]
		res.Service = c.r.text(&c.texts)
		res.Version = c.r.text(&c.texts)
		res.Instance = c.r.text(&c.texts)
		res.Namespace = c.r.text(&c.texts)
	}
	c.traces = make([]store.TraceID, c.r.count(16))
	for i := range c.traces {
		copy(c.traces[i][:], c.r.bytes(16))
	}
	c.n = c.r.count(8)
	c.ids = c.r.bytes(8 * c.n)
	return c, c.r.err
}

// next moves to the next span; false at the end or on damage (see r.err).
func (c *spanChunk) next() bool {
	if c.i >= c.n {
		return false
	}
	c.start += c.r.uvarint()
	ti := c.r.uvarint()
	c.body = c.r.bytes(c.r.count(1))
	if ti >= uint64(len(c.traces)) || c.start > 1<<63-1 {
		c.r.fail()
	}
	if c.r.err != nil {
		return false
	}
	c.trace = c.traces[ti]
	c.i++
	return true
}

// id is the id of the span next found.
func (c *spanChunk) id() (id store.SpanID) {
	copy(id[:], c.ids[8*(c.i-1):])
	return id
}

// span reads the whole span that next found.
func (c *spanChunk) span() (store.Span, error) {
	s := store.Span{TraceID: c.trace, ID: c.id(), Start: fromNanos(c.start)}
	r := reader{b: c.body}
	if ri := r.uvarint(); ri < uint64(len(c.resources)) {
		s.Resource = c.resources[ri]
	} else {
		r.fail()
	}
	switch p := r.uvarint(); {
	case p == 0:
	case p == 1:
		copy(s.Parent[:], r.bytes(8))
	case p-2 < uint64(c.n):
		copy(s.Parent[:], c.ids[8*(p-2):])
	default:
		r.fail()
	}
	flags := r.uvarint()
	s.Kind = store.Kind(flags >> flagBits)
	s.Error = flags&flagError != 0
	s.Name = r.text(&c.texts)
	s.Duration = time.Duration(r.varint())
	if flags&flagMessage != 0 {
		s.Message = r.text(&c.texts)
	}
	s.Attrs = r.attrs(&c.texts)
	if n := r.count(3); n > 0 {
		s.Events = make([]store.Event, n)
		for i := range s.Events {
			e := &s.Events[i]
			e.Name = r.text(&c.texts)
			e.At = time.Unix(0, int64(c.start)+r.varint()).UTC()
			e.Attrs = r.attrs(&c.texts)
		}
	}
	return s, r.err
}

// decodeSpans reads an unpacked chunk; want nil means every trace.
func decodeSpans(raw []byte, want *store.TraceID) ([]store.Span, error) {
	c, err := openSpans(raw)
	if err != nil {
		return nil, err
	}
	if want != nil && !slices.Contains(c.traces, *want) {
		return nil, nil
	}
	var out []store.Span
	for c.next() {
		if want != nil && c.trace != *want {
			continue
		}
		s, err := c.span()
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, c.r.err
}
