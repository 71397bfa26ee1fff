package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"unique"

	"github.com/surefoot-go/surefoot/config/tree"
)

// Secret is a text that is never shown: printed, logged or encoded it is
// "[secret]". In files and the environment it may be written out; from
// everywhere it may be named instead, {"env": "NAME"} or {"file": "/path"}, and
// from the config centre it must be: then no history and no browser holds one. A
// file's last line end is not part of it. It is read again whenever
// the files or the centre are, at least every 10s. Secrets of the same text are
// equal. The zero value is no secret.
type Secret struct {
	// A handle is a pointer to fmt, which looks into unexported fields, and the
	// same for the same text.
	text unique.Handle[string]
}

// no is the handle of no secret.
var no unique.Handle[string]

// shown is what a Secret shows of itself.
const shown = "[secret]"

// maxSecret bounds what is read of a secret's file, in bytes.
const maxSecret = 64 << 10

// NewSecret returns text as a Secret, for defaults and tests.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{unique.Make(text)}
}

// Reveal returns the secret itself. Do not keep it longer than its use.
func (s Secret) Reveal() string {
	if s.text == no {
		return ""
	}
	return s.text.Value()
}

// IsZero tells whether there is none.
func (s Secret) IsZero() bool { return s.text == no }

// String is "[secret]", or "" for none.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return shown
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// Format writes String, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is String, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, for JSON and others.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// DecodeSetting implements tree.Decoder. No error holds the secret.
func (s *Secret) DecodeSetting(n *tree.Node, from tree.Layer) error {
	switch {
	case n.Kind == tree.Object && len(n.Fields) == 1 && n.Fields[0].Value.Kind == tree.String:
		return s.fetch(n.Fields[0].Name, n.Fields[0].Value.Text)
	case n.Kind != tree.String:
		return errors.New(`a secret is a text, {"env": "NAME"} or {"file": "/path"}`)
	case from == tree.Centre:
		return errors.New(`a secret does not go into the config centre; write {"env": "NAME"} or {"file": "/path"}`)
	case n.Text == shown:
		return errors.New("this is what a secret shows of itself, not the secret")
	}
	*s = NewSecret(n.Text)
	return nil
}

func (s *Secret) fetch(how, where string) error {
	switch how {
	case "env":
		text, ok := os.LookupEnv(where)
		if !ok {
			return fmt.Errorf("the variable %s, which should hold the secret, is not set", where)
		}
		*s = NewSecret(text)
		return nil
	case "file":
		if info, err := os.Stat(where); err == nil && !info.Mode().IsRegular() { // reading might never end
			return fmt.Errorf("the secret's file %s is no regular file", where)
		}
		f, err := os.Open(where)
		if err != nil {
			return fmt.Errorf("the secret's file cannot be read: %w", err)
		}
		defer func() { _ = f.Close() }() // only read
		b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
		if err != nil {
			return fmt.Errorf("the secret's file cannot be read: %w", err)
		}
		if len(b) > maxSecret {
			return fmt.Errorf("the secret's file %s has more than %d bytes", where, maxSecret)
		}
		*s = NewSecret(strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"))
		return nil
	}
	return fmt.Errorf("unknown key %q; a secret is named by env or file", how)
}
