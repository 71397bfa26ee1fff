package tree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Bounds of what is read. A setting is written by a person.
const (
	maxSize  = 1 << 20 // bytes
	maxDepth = 64
)

// JSON reads one JSON value and where each part of it stands. It refuses what
// encoding/json lets pass: a key twice in one object, and anything after the
// value; and more than 1 MiB or 64 levels. The error says where, such as
// "line 3, column 5: …".
func JSON(data []byte) (*Node, error) {
	if len(data) > maxSize {
		return nil, fmt.Errorf("%d bytes are too many for a setting; at most %d", len(data), maxSize)
	}
	if !utf8.Valid(data) {
		return nil, errors.New("line 1: the text is not UTF-8")
	}
	p := parser{data: data, dec: json.NewDecoder(bytes.NewReader(data)), line: 1}
	p.dec.UseNumber()
	n, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if t, err := p.next(); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, err
		}
		return nil, p.errorf("there is something after the end of the value: %v", t)
	}
	return n, nil
}

type parser struct {
	data  []byte
	dec   *json.Decoder
	start int // of the last token
	// The line of offset seen, and where that line begins: tokens come in order.
	seen, line, bol int
}

// next reads a token and notes where it begins.
func (p *parser) next() (json.Token, error) {
	p.start = int(p.dec.InputOffset())
	for p.start < len(p.data) && bytes.IndexByte([]byte(" \t\r\n,:"), p.data[p.start]) >= 0 {
		p.start++
	}
	t, err := p.dec.Token()
	var bad *json.SyntaxError
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return t, err
	case errors.As(err, &bad):
		p.start = min(max(int(bad.Offset)-1, 0), len(p.data))
		return nil, p.errorf("%s", bad.Error())
	}
	return nil, p.errorf("%v", err)
}

// at is the line and column of the last token.
func (p *parser) at() (line, column int) {
	if p.start < p.seen { // an error before the last token
		p.seen, p.line, p.bol = 0, 1, 0
	}
	for ; p.seen < p.start; p.seen++ {
		if p.data[p.seen] == '\n' {
			p.line++
			p.bol = p.seen + 1
		}
	}
	return p.line, utf8.RuneCount(p.data[p.bol:p.start]) + 1
}

func (p *parser) errorf(format string, args ...any) error {
	line, column := p.at()
	return fmt.Errorf("line %d, column %d: %s", line, column, fmt.Sprintf(format, args...))
}

func (p *parser) value(depth int) (*Node, error) {
	t, err := p.next()
	if errors.Is(err, io.EOF) {
		return nil, p.errorf("the value ends too early")
	}
	if err != nil {
		return nil, err
	}
	n := &Node{}
	n.Line, n.Column = p.at()
	if depth > maxDepth {
		return nil, p.errorf("more than %d levels", maxDepth)
	}
	switch t := t.(type) {
	case nil:
	case bool:
		n.Kind, n.Text = Bool, fmt.Sprint(t)
	case json.Number:
		n.Kind, n.Text = Number, t.String()
	case string:
		n.Kind, n.Text = String, t
	case json.Delim:
		if t == '[' {
			n.Kind = List
			return n, p.list(n, depth)
		}
		n.Kind = Object
		return n, p.object(n, depth)
	}
	return n, nil
}

func (p *parser) list(n *Node, depth int) error {
	for p.dec.More() {
		item, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		n.Items = append(n.Items, item)
	}
	return p.end()
}

func (p *parser) object(n *Node, depth int) error {
	known := map[string]bool{}
	for p.dec.More() {
		t, err := p.next()
		if err != nil {
			return p.early(err)
		}
		f := Field{Name: t.(string)} // the decoder takes nothing else for a key
		f.Line, f.Column = p.at()
		if known[f.Name] {
			return p.errorf("the key %q is here twice", f.Name)
		}
		known[f.Name] = true
		if f.Value, err = p.value(depth + 1); err != nil {
			return err
		}
		n.Fields = append(n.Fields, f)
	}
	return p.end()
}

// end reads the closing bracket.
func (p *parser) end() error {
	_, err := p.next()
	return p.early(err)
}

func (p *parser) early(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return p.errorf("the value ends too early")
	}
	return err
}
