package ingest

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// A value inside a value inside a value: OTLP's AnyValue nests without limit,
// its decoders follow by recursion, and a Go stack that overflows ends the
// process whatever recovers. A few bytes can also ask for a large structure.
// So a request is walked before it is decoded, without building anything: how
// deep it nests, and about how much memory its decoded form takes.

const (
	// maxNesting is how many values may lie inside each other. Protobuf's own
	// decoders stop at 100 messages; a value in a list is two.
	maxNesting = 50
	// maxBrackets is the same for JSON, where {"arrayValue":{"values":[ is
	// three a value, on top of the twenty around a value.
	maxBrackets = 3*maxNesting + 20
)

var (
	errTooDeep = errors.New("values nest too deep")
	errBroken  = errors.New("not a protobuf message")
)

// message is what the walk must know of a protobuf message: which fields are
// messages, whether it is one more value in a value, and about what its
// decoded form weighs besides its bytes.
type message struct {
	fields map[protowire.Number]*message
	nests  bool
	weight int64
}

// The OTLP messages that hold values, after opentelemetry-proto 1.x. What is
// not listed cannot nest. Field 1000 is an old name of field 2 that pdata
// still reads.
var tracesShape, metricsShape, logsShape = func() (traces, metrics, logs *message) {
	type fields = map[protowire.Number]*message
	value := &message{nests: true, weight: 48}
	attr := &message{weight: 64, fields: fields{2: value}}
	list := &message{weight: 48, fields: fields{1: value}}
	attrs := &message{weight: 48, fields: fields{1: attr}}
	value.fields = fields{5: list, 6: attrs}
	leaf := &message{weight: 64}
	resource := &message{weight: 64, fields: fields{1: attr, 3: leaf}}
	scope := &message{weight: 96, fields: fields{3: attr}}
	exemplar := &message{weight: 128, fields: fields{7: attr}}

	wrap := func(item *message) *message {
		scoped := &message{weight: 192, fields: fields{1: scope, 2: item}}
		return &message{fields: fields{1: {weight: 192, fields: fields{1: resource, 2: scoped, 1000: scoped}}}}
	}
	span := &message{weight: 320, fields: fields{9: attr, 15: leaf,
		11: {weight: 128, fields: fields{3: attr}}, 13: {weight: 128, fields: fields{4: attr}}}}
	record := &message{weight: 256, fields: fields{5: value, 6: attr}}
	points := func(p *message) *message { return &message{weight: 64, fields: fields{1: p}} }
	number := points(&message{weight: 160, fields: fields{5: exemplar, 7: attr}})
	metric := &message{weight: 160, fields: fields{
		5: number, 7: number, 12: attr,
		9:  points(&message{weight: 256, fields: fields{8: exemplar, 9: attr}}),
		10: points(&message{weight: 320, fields: fields{1: attr, 8: leaf, 9: leaf, 11: exemplar}}),
		11: points(&message{weight: 160, fields: fields{6: leaf, 7: attr}}),
	}}
	return wrap(span), wrap(metric), wrap(record)
}()

// perByte is what a byte can become: a packed integer of one byte is eight.
const perByte = 8

// walkProto returns about how many bytes the decoded form of b takes.
func walkProto(b []byte, m *message) (weight int64, err error) {
	weight = perByte * int64(len(b))
	err = walkMessage(b, m, 0, &weight)
	return weight, err
}

func walkMessage(b []byte, m *message, depth int, weight *int64) error {
	if m.nests {
		if depth++; depth > maxNesting {
			return errTooDeep
		}
	}
	*weight += m.weight
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errBroken
		}
		b = b[n:]
		if child := m.fields[num]; child != nil && typ == protowire.BytesType {
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return errBroken
			}
			if err := walkMessage(v, child, depth, weight); err != nil {
				return err
			}
			b = b[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return errBroken
		}
		b = b[n:]
	}
	return nil
}

// perObject is what an empty {} can become: a span is the largest thing.
const perObject = 320

// walkJSON is walkProto for JSON. It knows brackets and strings only: what
// else is wrong is the decoder's to find.
func walkJSON(b []byte) (weight int64, err error) {
	weight = perByte * int64(len(b))
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString:
			switch c {
			case '\\':
				i++
			case '"':
				inString = false
			}
		case c == '"':
			inString = true
		case c == '{', c == '[':
			if depth++; depth > maxBrackets {
				return weight, errTooDeep
			}
			if c == '{' {
				weight += perObject
			}
		case c == '}', c == ']':
			depth--
		}
	}
	return weight, nil
}
