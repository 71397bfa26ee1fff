package seal

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Secret is a pre-shared key: 32 random bytes. However it is printed, logged
// or encoded, it shows a mask.
type Secret struct{ key *[32]byte } // a pointer: a printer that goes round Format finds an address

func (s Secret) bytes() (b [32]byte) {
	if s.key != nil {
		b = *s.key
	}
	return b
}

const mask = "[secret]"

// NewSecret returns a Secret from the system's random source.
func NewSecret() Secret {
	s := Secret{new([32]byte)}
	rand.Read(s.key[:]) // never fails
	return s
}

// ParseSecret reads a Secret from 64 hexadecimal digits or from base64 of
// exactly 32 bytes. The error does not repeat the text. A password is not a
// key: take `openssl rand -base64 32`.
func ParseSecret(text string) (Secret, error) {
	text = strings.TrimSpace(text)
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if b, err := decode(text); err == nil && len(b) == 32 {
			s := Secret{(*[32]byte)(b)}
			if s.Equal(Secret{}) {
				return Secret{}, errors.New("seal: a secret of zeros")
			}
			return s, nil
		}
	}
	return Secret{}, errors.New("seal: a secret is 32 bytes, as 64 hexadecimal digits or base64")
}

// Reveal returns the secret as base64, for the one who makes a key file.
func (s Secret) Reveal() string {
	b := s.bytes()
	return base64.StdEncoding.EncodeToString(b[:])
}

// Equal compares in constant time.
func (s Secret) Equal(o Secret) bool {
	a, b := s.bytes(), o.bytes()
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// String returns the mask.
func (s Secret) String() string { return mask }

// GoString returns the mask.
func (s Secret) GoString() string { return mask }

// Format writes the mask for every verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, mask) }

// LogValue returns the mask.
func (s Secret) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalText returns the mask: a Secret is read from a file, not written to one.
func (s Secret) MarshalText() ([]byte, error) { return []byte(mask), nil }

// UnmarshalText reads what ParseSecret reads.
func (s *Secret) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSecret(string(text))
	return err
}

// Key is a pre-shared key with its name, its time and whom it speaks for.
type Key struct {
	ID         string    `json:"id"`                   // 1 to 64 of a-z A-Z 0-9 . _ -; it travels in clear
	Secret     Secret    `json:"secret"`               // see ParseSecret
	NotBefore  time.Time `json:"notBefore,omitzero"`   // zero means always
	NotAfter   time.Time `json:"notAfter,omitzero"`    // zero means never ends; a session ends with its key
	Identities []string  `json:"identities,omitempty"` // names that its holder may claim; empty means any
}

// Keys is what a Keyring holds, as plain data:
//
//	{"current": "2026-12", "keys": [
//	  {"id": "2026-11", "secret": "base64 of 32 bytes", "notAfter": "2026-12-08T00:00:00Z"},
//	  {"id": "2026-12", "secret": "base64 of 32 bytes", "identities": ["order", "payment"]}]}
type Keys struct {
	Current string `json:"current,omitempty"` // dialled with; empty, or out of its time: the valid key that began last
	Keys    []Key  `json:"keys"`              // accepted, each in its time; at most 1000
}

// ParseKeys reads Keys from JSON.
func ParseKeys(raw []byte) (Keys, error) {
	var k Keys
	if err := json.Unmarshal(raw, &k); err != nil {
		return Keys{}, errors.New("seal: keys are not the JSON that type Keys describes") // the cause may quote a secret
	}
	return k, k.check()
}

// ReadKeys reads Keys from a file.
func ReadKeys(path string) (Keys, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Keys{}, err
	}
	return ParseKeys(raw)
}

// KeysFromEnv reads Keys from the environment variable name: the JSON of Keys.
func KeysFromEnv(name string) (Keys, error) {
	raw, ok := os.LookupEnv(name)
	if !ok {
		return Keys{}, fmt.Errorf("seal: no environment variable %s", name)
	}
	return ParseKeys([]byte(raw))
}

const maxKeys = 1000

func (k Keys) check() error {
	if len(k.Keys) == 0 || len(k.Keys) > maxKeys {
		return fmt.Errorf("seal: %d keys, want 1 to %d", len(k.Keys), maxKeys)
	}
	ids := map[string]bool{}
	for _, key := range k.Keys {
		switch {
		case !validID([]byte(key.ID)):
			return fmt.Errorf("seal: key id %q: want 1 to 64 of a-z A-Z 0-9 . _ -", key.ID)
		case ids[key.ID]:
			return fmt.Errorf("seal: key id %s twice", key.ID)
		case key.Secret.Equal(Secret{}):
			return fmt.Errorf("seal: key %s has no secret", key.ID)
		case !key.NotAfter.IsZero() && key.NotAfter.Before(key.NotBefore):
			return fmt.Errorf("seal: key %s ends before it begins", key.ID)
		}
		for _, name := range key.Identities {
			if name == "" || len(name) > maxName {
				return fmt.Errorf("seal: key %s: an identity is 1 to %d bytes", key.ID, maxName)
			}
		}
		ids[key.ID] = true
	}
	if k.Current != "" && !ids[k.Current] {
		return fmt.Errorf("seal: current key %s is not among the keys", k.Current)
	}
	return nil
}

func validID(id []byte) bool {
	if len(id) == 0 || len(id) > maxID {
		return false
	}
	for _, c := range id {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// Keyring holds the keys that are valid now. It is replaced whole while
// connections run: those whose key stays go on, those whose key is gone end at
// their next record. Safe for concurrent use; made by NewKeyring.
//
// To rotate without downtime: add the new key everywhere, then make it current
// everywhere, then take the old one out once its sessions have moved.
type Keyring struct {
	ring  atomic.Pointer[ring]
	dummy [32]byte // does the work of a key that is not known
	seen  seen
}

type ring struct {
	current string
	byID    map[string]*Key
}

// NewKeyring returns a Keyring of keys, or says what is wrong with them.
func NewKeyring(keys Keys) (*Keyring, error) {
	k := &Keyring{dummy: NewSecret().bytes()}
	return k, k.Set(keys)
}

// Set replaces the keys. When something is wrong with them it says so and
// keeps the ones it has.
func (k *Keyring) Set(keys Keys) error {
	if err := keys.check(); err != nil {
		return err
	}
	next := &ring{current: keys.Current, byID: make(map[string]*Key, len(keys.Keys))}
	for _, key := range keys.Keys {
		key.Identities = slices.Clone(key.Identities)
		next.byID[key.ID] = &key
	}
	k.ring.Store(next)
	return nil
}

// Format writes the ids of the keys and nothing else of them.
func (k *Keyring) Format(f fmt.State, _ rune) {
	fmt.Fprint(f, k.IDs())
}

// LogValue returns the ids of the keys and nothing else of them.
func (k *Keyring) LogValue() slog.Value { return slog.AnyValue(k.IDs()) }

// IDs returns the ids of the keys, sorted.
func (k *Keyring) IDs() []string {
	r := k.ring.Load()
	if r == nil {
		return nil
	}
	ids := make([]string, 0, len(r.byID))
	for id := range r.byID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// within says whether the key may be used now; early is how much earlier than
// NotBefore is borne.
func (k *Key) within(now time.Time, early time.Duration) bool {
	return !now.Add(early).Before(k.NotBefore) && (k.NotAfter.IsZero() || now.Before(k.NotAfter))
}

// dial returns the key to dial with now.
func (k *Keyring) dial(now time.Time) (*Key, error) {
	r := k.ring.Load()
	if r == nil {
		return nil, &Error{UnknownKey, errors.New("the keyring is empty")}
	}
	best := r.byID[r.current]
	if best != nil && best.within(now, 0) {
		return best, nil
	}
	best = nil
	for _, key := range r.byID {
		if key.within(now, 0) && (best == nil || key.NotBefore.After(best.NotBefore) ||
			key.NotBefore.Equal(best.NotBefore) && key.ID > best.ID) {
			best = key
		}
	}
	if best == nil {
		return nil, &Error{ExpiredKey, errors.New("no key is valid now")}
	}
	return best, nil
}

// find returns the key named id, or nil.
func (k *Keyring) find(id string) *Key {
	if r := k.ring.Load(); r != nil {
		return r.byID[id]
	}
	return nil
}

// seen remembers the first messages of the last minutes, so that a recorded
// one is refused before it costs anything. Only those that were made with a
// key come in. It holds at most 2*maxSeen; when there are more the oldest are
// forgotten, and a repetition of those ends at the proof of freshness instead.
type seen struct {
	mu        sync.Mutex
	now, past map[[32]byte]struct{}
	turned    time.Time
}

const maxSeen = 8192

// first says whether e was not seen within the last window.
func (s *seen) first(e [32]byte, now time.Time, window time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil || len(s.now) >= maxSeen || now.Sub(s.turned) > 2*window {
		s.now, s.past, s.turned = map[[32]byte]struct{}{}, s.now, now
	}
	_, a := s.now[e]
	_, b := s.past[e]
	if a || b {
		return false
	}
	s.now[e] = struct{}{}
	return true
}
