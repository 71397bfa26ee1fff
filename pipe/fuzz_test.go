package pipe_test

import (
	"bytes"
	"testing"

	"github.com/surefoot-go/surefoot/pipe"
)

// Frames as they are on the wire, one of each kind.
var frames = []string{
	"\x01\x01\x03abc", "\x11\x01\x03abc", "\x02\x01\x06\x03abc", "\x03\x01\x03def", "\x04\x01", "\x05\x01\x01\x03",
	"\x06\x01\x05\x80\x10\x80\x02\x01t", "\x16\x01\x05\x80\x10\x80\x02\x01t", "\x07\x01\x05\x80\x10\x80\x02", "\x08\x01\x02",
	"\x09\x01", "\x19\x01", "\x0a\x01", "\x0b\x01", "\x0c\x01\x02\x06\x01\x03", "\x0d\x01\x05", "\x0e",
	"\x0f\x01\x80\x10\x10abcdefghijklmnop",
}

func FuzzFrames(f *testing.F) {
	for _, s := range frames {
		f.Add([]byte(s))
	}
	f.Add(bytes.Repeat([]byte{0xff}, 20))
	f.Fuzz(func(t *testing.T, rec []byte) {
		again, ok := pipe.Reparse(rec)
		if !ok {
			return
		}
		third, ok := pipe.Reparse(again)
		if !ok || !bytes.Equal(again, third) || len(again) > len(rec) {
			t.Fatalf("%x became %x, then %x", rec, again, third)
		}
	})
}

// FuzzSession has a session survive any records, in any number of connections
// that go on with it or begin anew. 0xff ends a record, two end a connection.
func FuzzSession(f *testing.F) {
	open, accept := frames[7], frames[8]
	accept2 := "\x07\x02\x05\x80\x10\x80\x02\x07\x03\x05\x80\x10\x80\x02"
	f.Add(false, true, uint64(2), []byte(open+frames[0]+"\xff"+frames[0]+"\xff\xff"+frames[14]+frames[0]))
	f.Add(true, false, uint64(3), []byte(accept+accept2+frames[0]+frames[5]+"\xff\xff\x0c\x01\x00\x00\x00\x00"+frames[15]))
	f.Add(true, true, uint64(0), []byte(accept+frames[0]+frames[11]+frames[12]+"\xff\xff"+accept+frames[0]))
	f.Add(false, false, uint64(1), []byte(frames[6]+frames[2]+frames[3]+frames[9]+"\xff\xff"+frames[6]+frames[10]))
	for _, s := range frames {
		f.Add(true, false, uint64(1), []byte(accept+"\xff"+s+"\xff\xff"+s))
		f.Add(false, true, uint64(1), []byte(open+"\xff"+s+"\xff\xff"+s))
	}
	f.Fuzz(func(t *testing.T, dialer, ack bool, resumed uint64, script []byte) {
		if len(script) > 4000 {
			return
		}
		var connections [][][]byte
		for _, c := range bytes.Split(script, []byte("\xff\xff")) {
			connections = append(connections, bytes.Split(c, []byte("\xff")))
		}
		if err := pipe.Play(dialer, ack, connections, resumed); err != nil {
			t.Fatal(err)
		}
	})
}
