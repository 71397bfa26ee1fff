// Package tree is settings as they are written: values that know their line,
// decoded strictly into Go types.
//
//	n, err := tree.JSON([]byte(`{"max": 20, "wait": "1.5s"}`))
//	...
//	err = tree.Decode(n, &limits, tree.File) // line 1: unknown key "waits"; known are max, wait
package tree

// Kind is what a Node is.
type Kind uint8

// The kinds of Node.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Object
)

// Node is one value as it was written. Line and Column begin at 1; 0 means that
// nobody knows.
type Node struct {
	Kind   Kind
	Line   int
	Column int
	Text   string  // of a Bool ("true", "false"), a Number (as written) or a String (unquoted)
	Items  []*Node // of a List
	Fields []Field // of an Object, in the order written, each Name once
}

// Field is one member of an Object.
type Field struct {
	Name   string
	Line   int
	Column int
	Value  *Node
}

// Layer is where a value came from. A later one wins.
type Layer uint8

// The layers, in the order of their precedence.
const (
	Default Layer = iota
	File
	Environment
	Centre
)

// String returns "default", "file", "environment" or "centre".
func (l Layer) String() string {
	return [...]string{"default", "file", "environment", "centre"}[min(l, Centre)]
}

// Decoder is a type that reads itself from a Node, such as a secret, which must
// know where it came from.
type Decoder interface {
	DecodeSetting(n *Node, from Layer) error
}

// MarshalText is String, for JSON and logs.
func (l Layer) MarshalText() ([]byte, error) { return []byte(l.String()), nil }
