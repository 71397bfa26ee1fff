// Package store says what the control plane keeps and how it asks for it back:
// spans, logs and series, each behind a small interface that an embedded
// engine and an external one both satisfy. Package storetest is the contract
// as tests.
//
// It holds types only. It does not decode OTLP (see ingest) and does not
// decide anything about what it keeps (see detect and diagnose).
package store

import (
	"context"
	"encoding/hex"
	"time"
)

// TraceID is a W3C trace id; the zero value means none.
type TraceID [16]byte

// String returns 32 lower-case hex digits.
func (t TraceID) String() string { return hex.EncodeToString(t[:]) }

// IsZero tells whether t names no trace.
func (t TraceID) IsZero() bool { return t == TraceID{} }

// SpanID is a W3C span id; the zero value means none.
type SpanID [8]byte

// String returns 16 lower-case hex digits.
func (s SpanID) String() string { return hex.EncodeToString(s[:]) }

// IsZero tells whether s names no span.
func (s SpanID) IsZero() bool { return s == SpanID{} }

// Kind is a span's side of a call, numbered as OTLP numbers it.
type Kind uint8

// The span kinds of OTLP.
const (
	KindUnspecified Kind = iota
	KindInternal
	KindServer
	KindClient
	KindProducer
	KindConsumer
)

// Resource is who sent something: OpenTelemetry's service.* attributes.
type Resource struct {
	Service   string // service.name; "unknown_service" when the sender gave none
	Version   string // service.version
	Instance  string // service.instance.id
	Namespace string // service.namespace
}

// Span is one finished operation. Attribute values are kept as text, the form
// a person searches and reads; numbers and booleans are formatted as Go does,
// arrays and maps as JSON.
type Span struct {
	Resource
	TraceID  TraceID
	ID       SpanID
	Parent   SpanID // zero for a root
	Name     string // operation, low cardinality
	Kind     Kind
	Start    time.Time
	Duration time.Duration
	Error    bool   // OTLP status ERROR
	Message  string // status message
	Attrs    map[string]string
	Events   []Event
}

// Event is a moment inside a span; exceptions arrive as events.
type Event struct {
	Name  string
	At    time.Time
	Attrs map[string]string
}

// Log is one log record.
type Log struct {
	Resource
	At       time.Time
	Severity int // OTLP severity number, 1 to 24; 0 unknown
	Body     string
	Attrs    map[string]string
	TraceID  TraceID
	SpanID   SpanID
}

// Label is one Prometheus label.
type Label struct{ Name, Value string }

// Sample is one point of one series. Labels include __name__, are sorted by
// name and hold no duplicates.
type Sample struct {
	Labels []Label
	At     time.Time
	Value  float64
}

// Summary is what a search of traces shows of one trace.
type Summary struct {
	TraceID  TraceID
	Root     string // service of the root span, or of the earliest one seen
	Name     string // operation of that span
	Start    time.Time
	Duration time.Duration // from the first start to the last end
	Spans    int
	Errors   int
	Services []string // sorted
}

// SpanQuery picks traces. Zero fields do not restrict.
type SpanQuery struct {
	Service   string        // some span of the trace is by this service
	Operation string        // and has this name
	From, To  time.Time     // a span that the other fields ask for started in [From, To)
	MinLength time.Duration // the trace's whole duration
	Error     bool          // only traces with a failed span
	Limit     int           // 0 means 50; newest first
}

// LogQuery picks log records. Zero fields do not restrict.
type LogQuery struct {
	Service     string
	TraceID     TraceID
	MinSeverity int
	Contains    string    // case-insensitive, in the body
	From, To    time.Time // [From, To)
	Limit       int       // 0 means 200; newest first
}

// Spans keeps spans. Put returns nil only when what it was given survives a
// kill -9 of the process, and an *errs.Error of kind Unavailable when the
// store cannot take it now, as on a full disk; after an error some of it may
// have been kept. A span that is put twice, as after a resend, is found once.
// Times are UTC. Safe for concurrent use.
type Spans interface {
	Put(ctx context.Context, spans []Span) error
	// Trace returns the spans of one trace ordered by start, none when unknown.
	Trace(ctx context.Context, id TraceID) ([]Span, error)
	// Search returns traces by their start, newest first. It may look at a
	// bounded number of traces and then answer with what it has found.
	Search(ctx context.Context, q SpanQuery) ([]Summary, error)
	// Window calls yield with every span that started in [from, to), in order
	// of start, until yield returns false.
	Window(ctx context.Context, from, to time.Time, yield func(Span) bool) error
}

// Logs keeps log records; Put promises what Spans.Put does, except that
// records have no identity: one that is put twice is found twice.
type Logs interface {
	Put(ctx context.Context, logs []Log) error
	Search(ctx context.Context, q LogQuery) ([]Log, error)
}

// Series keeps numbers over time and answers PromQL. Put promises what
// Spans.Put does. A sample that is too old, too far in the future, or repeats
// the latest time stamp of its series with another value is counted in
// dropped, not an error.
type Series interface {
	Put(ctx context.Context, samples []Sample) (dropped int, err error)
	// Query evaluates PromQL at one time, QueryRange from start to end by step.
	// A query that does not parse returns an *errs.Error of kind Invalid.
	Query(ctx context.Context, promql string, at time.Time) (Result, error)
	QueryRange(ctx context.Context, promql string, start, end time.Time, step time.Duration) (Result, error)
}

// Result is a PromQL answer in the shape of Prometheus' HTTP API.
type Result struct {
	Type   string // "vector", "matrix" or "scalar"
	Series []ResultSeries
}

// ResultSeries is one series of a Result: one point for a vector or scalar,
// any number for a matrix.
type ResultSeries struct {
	Labels map[string]string
	Points []Point
}

// Point is a value at a time.
type Point struct {
	At    time.Time
	Value float64
}
