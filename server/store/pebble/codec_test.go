package pebble

import (
	"bytes"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/surefoot-go/surefoot/server/store"
)

func sampleSpans() []*store.Span {
	at := time.Unix(1_800_000_000, 123).UTC()
	a := &store.Span{Resource: store.Resource{Service: "a", Version: "1"}, TraceID: store.TraceID{1}, ID: store.SpanID{1}, Name: "n", Start: at,
		Duration: time.Second, Kind: store.KindClient, Error: true, Message: "m", Attrs: map[string]string{"k": "v", "": ""},
		Events: []store.Event{{Name: "e", At: at.Add(-time.Hour), Attrs: map[string]string{"x": "y"}}, {Name: "f", At: at}}}
	b := &store.Span{Resource: store.Resource{Service: "b", Namespace: "z"}, TraceID: store.TraceID{1}, ID: store.SpanID{2}, Parent: store.SpanID{1}, Start: at.Add(1)}
	c := &store.Span{Resource: store.Resource{Service: "a", Version: "1"}, TraceID: store.TraceID{2}, ID: store.SpanID{3}, Parent: store.SpanID{9}, Start: at.Add(time.Second),
		Duration: -5, Kind: 200, Name: "n"}
	return []*store.Span{a, b, c}
}

func TestSpanCodec(t *testing.T) {
	want := sampleSpans()
	raw := encodeSpans(want)
	got, err := decodeSpans(raw, nil)
	if err != nil || len(got) != len(want) {
		t.Fatal(got, err)
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], *want[i]) {
			t.Errorf("%d\n got %+v\nwant %+v", i, got[i], *want[i])
		}
	}
	for n := range raw { // every truncation is an error, none a panic
		if _, err := decodeSpans(raw[:n], nil); err == nil {
			t.Errorf("cut at %d of %d decodes", n, len(raw))
		}
	}
	if again := encodeSpans(want); !bytes.Equal(raw, again) {
		t.Error("equal spans give different bytes")
	}
}

func TestTimesOutsideTheKeys(t *testing.T) {
	for at, want := range map[time.Time]uint64{
		{}:                                     0,
		time.Unix(-1, 0):                       0,
		time.Unix(0, 0):                        0,
		time.Unix(0, 7):                        7,
		time.Unix(math.MaxInt64/int64(1e9), 0): math.MaxInt64,
		time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC): math.MaxInt64,
	} {
		if got := nanos(at); got != want {
			t.Errorf("nanos(%v) = %d, want %d", at, got, want)
		}
	}
}

func TestZipper(t *testing.T) {
	z, err := newZipper()
	if err != nil {
		t.Fatal(err)
	}
	defer z.close()
	want := bytes.Repeat([]byte("surefoot"), 1000)
	packed := z.pack(want)
	if len(packed) > len(want)/10 {
		t.Errorf("%d bytes of %d", len(packed), len(want))
	}
	got, err := z.unpack(packed)
	if err != nil || !bytes.Equal(got, want) {
		t.Error(err)
	}
	bomb := z.pack(make([]byte, maxRaw+1))
	for _, bad := range [][]byte{nil, {version}, {99, 1, 2}, packed[:len(packed)-1], bomb} {
		if raw, err := z.unpack(bad); err == nil && len(raw) != 0 {
			t.Errorf("%d damaged bytes unpack to %d", len(bad), len(raw))
		}
	}
}

func FuzzSpanCodec(f *testing.F) {
	f.Add(encodeSpans(sampleSpans()))
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		spans, err := decodeSpans(raw, nil)
		if err != nil {
			return
		}
		// What decodes survives another round unchanged.
		list := make([]*store.Span, len(spans))
		for i := range spans {
			list[i] = &spans[i]
			for j := range spans[i].Events {
				if e := &spans[i].Events[j]; e.At.UnixNano() < 0 {
					e.At = time.Unix(0, 0).UTC() // encoding does not keep times before 1970
				}
			}
		}
		slices.SortStableFunc(list, compareSpans)
		again, err := decodeSpans(encodeSpans(list), nil)
		if err != nil || len(again) != len(list) {
			t.Fatalf("second round: %d of %d, %v", len(again), len(list), err)
		}
		for i := range again {
			if !reflect.DeepEqual(again[i], *list[i]) {
				t.Fatalf("%d\n got %+v\nwant %+v", i, again[i], *list[i])
			}
		}
	})
}

func FuzzLogCodec(f *testing.F) {
	at := time.Unix(1_800_000_000, 123).UTC()
	f.Add(encodeLogs([]*store.Log{{Resource: store.Resource{Service: "a"}, At: at, Severity: 9, Body: "b", TraceID: store.TraceID{1}, SpanID: store.SpanID{2},
		Attrs: map[string]string{"k": "v"}}, {At: at.Add(1)}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		logs, err := decodeLogs(raw)
		if err != nil {
			return
		}
		list := make([]*store.Log, len(logs))
		for i := range logs {
			list[i] = &logs[i]
		}
		again, err := decodeLogs(encodeLogs(list))
		if err != nil || len(again) != len(logs) || len(logs) > 0 && !reflect.DeepEqual(again, logs) {
			t.Fatalf("second round\n got %+v\nwant %+v\n%v", again, logs, err)
		}
	})
}

func FuzzHead(f *testing.F) {
	h := head{last: 9, count: 3, level: 1, hashes: []uint32{hashOf("a", ""), hashOf("a", "b")}}
	f.Add(h.append(nil, 5), uint64(5))
	f.Fuzz(func(t *testing.T, b []byte, start uint64) {
		h, err := readHead(b, start)
		if err != nil {
			return
		}
		again, err := readHead(h.append(nil, start), start)
		if err != nil || !reflect.DeepEqual(h, again) {
			t.Fatalf("%+v, %+v, %v", h, again, err)
		}
	})
}

func TestDefaults(t *testing.T) {
	o := Options{}.orDefault()
	if o.SpanAge != 72*time.Hour || o.LogAge != 72*time.Hour || o.MaxBytes != 4<<30 || o.Cache != 16<<20 || o.Memtable != 8<<20 || o.Every != time.Minute || o.Log == nil || o.Now == nil {
		t.Errorf("%+v is not what the fields' comments say", o)
	}
	if n := (Options{SpanAge: -1, LogAge: -1, MaxBytes: -1, Every: -1, Reserve: -1}).orDefault(); n.SpanAge > 0 || n.LogAge > 0 || n.MaxBytes > 0 || n.Every > 0 || n.Reserve > 0 {
		t.Errorf("negative does not mean off: %+v", n)
	}
}
