package seal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/pipe/seal"
)

// However a secret is looked at, it does not show.
func TestSecretsDoNotShow(t *testing.T) {
	s := secret(7)
	k := seal.Key{ID: "k", Secret: s}
	keys := seal.Keys{Keys: []seal.Key{k}}
	r := ring(t, k)
	cfg := seal.Config{Keys: r}
	var out bytes.Buffer
	for _, v := range []any{s, &s, k, &k, keys, &keys, r, cfg, &cfg, []seal.Secret{s}, map[string]any{"s": s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%X", "%o", "%b", "%t", "%p"} {
			if _, ok := v.(*seal.Secret); ok && verb == "%p" {
				continue
			}
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
	}
	for _, bad := range []string{"7777", "119 119", "0x77, 0x77", "wwww", s.Reveal()[:8]} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("shows %s", bad)
		}
	}
	if !strings.Contains(out.String(), "[secret]") {
		t.Error("no mask")
	}
}

func TestParseSecret(t *testing.T) {
	good := seal.NewSecret()
	for _, c := range []struct {
		text string
		ok   bool
	}{
		{good.Reveal(), true},
		{" " + good.Reveal() + "\n", true},
		{strings.TrimRight(good.Reveal(), "="), true},
		{strings.Repeat("0f", 32), true},
		{strings.Repeat("0f", 31), false},
		{strings.Repeat("0f", 33), false},
		{strings.Repeat("00", 32), false},
		{"correct horse battery staple", false},
		{"[secret]", false},
		{"", false},
	} {
		s, err := seal.ParseSecret(c.text)
		if (err == nil) != c.ok {
			t.Errorf("%q: %v", c.text, err)
		}
		if err != nil && c.text != "" && strings.Contains(err.Error(), c.text) {
			t.Errorf("the error repeats %q", c.text)
		}
		if err != nil && !s.Equal(seal.Secret{}) {
			t.Errorf("%q: something comes with the error", c.text)
		}
	}
}

func TestKeysAreChecked(t *testing.T) {
	late := key("late", 7)
	late.NotBefore, late.NotAfter = time.Unix(2, 0), time.Unix(1, 0)
	blank := key("k", 7)
	blank.Identities = []string{""}
	r := ring(t, key("old", 7))
	for name, keys := range map[string]seal.Keys{
		"none":             {},
		"no id":            {Keys: []seal.Key{key("", 7)}},
		"long id":          {Keys: []seal.Key{key(strings.Repeat("k", 65), 7)}},
		"odd id":           {Keys: []seal.Key{key("a b", 7)}},
		"twice":            {Keys: []seal.Key{key("k", 7), key("k", 8)}},
		"no secret":        {Keys: []seal.Key{{ID: "k"}}},
		"ends first":       {Keys: []seal.Key{late}},
		"blank identity":   {Keys: []seal.Key{blank}},
		"current not here": {Current: "x", Keys: []seal.Key{key("k", 7)}},
		"too many":         {Keys: make([]seal.Key, 1001)},
	} {
		if err := r.Set(keys); err == nil {
			t.Errorf("%s: taken", name)
		}
		if ids := r.IDs(); len(ids) != 1 || ids[0] != "old" {
			t.Fatalf("%s: the keys before are gone: %v", name, ids)
		}
	}
}

func TestKeysFromFileAndEnvironment(t *testing.T) {
	text := `{"current": "b", "keys": [
	  {"id": "a", "secret": "` + seal.NewSecret().Reveal() + `", "notAfter": "2026-12-08T00:00:00Z"},
	  {"id": "b", "secret": "` + strings.Repeat("0f", 32) + `", "identities": ["order", "payment"]}]}`
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PIPE_KEYS", text)
	for name, read := range map[string]func() (seal.Keys, error){
		"file":        func() (seal.Keys, error) { return seal.ReadKeys(file) },
		"environment": func() (seal.Keys, error) { return seal.KeysFromEnv("PIPE_KEYS") },
	} {
		keys, err := read()
		if err != nil || keys.Current != "b" || len(keys.Keys) != 2 || keys.Keys[0].NotAfter.Year() != 2026 || len(keys.Keys[1].Identities) != 2 {
			t.Errorf("%s: %v, %v", name, keys, err)
		}
	}
	if _, err := seal.KeysFromEnv("PIPE_NO_KEYS"); err == nil {
		t.Error("no variable, no error")
	}
	if _, err := seal.ReadKeys(file + ".not"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	for _, bad := range []string{"", "{", `{"keys": [{"id": "a", "secret": "hunter2hunter2"}]}`, `{"keys": []}`} {
		if _, err := seal.ParseKeys([]byte(bad)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// A key is changed under traffic: both ends have both for a while, no session
// breaks; when the old one is taken out, the sessions under it end.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := key("old", 7), key("new", 8)
		client, server := ring(t, old), ring(t, old)
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		session := func(id string) outcome {
			o := story{client: seal.Config{Keys: client}, server: seal.Config{Keys: server}, sends: []string{"x"}}.run(t)
			if o.client != nil || o.server != nil || o.c.Peer().KeyID != id || o.s.Peer().KeyID != id {
				t.Fatal(o.client, o.server)
			}
			return o
		}
		session("old")
		var ends outcome
		step := 0
		ends = story{client: seal.Config{Keys: client}, server: seal.Config{Keys: server}, sends: []string{"0", "1", "2", "3", "4"},
			before: func(i int) {
				synctest.Wait()
				switch step = i; i {
				case 1:
					must(server.Set(seal.Keys{Current: "old", Keys: []seal.Key{old, next}}))
				case 2:
					must(client.Set(seal.Keys{Current: "new", Keys: []seal.Key{old, next}}))
					session("new")
				case 4:
					must(server.Set(seal.Keys{Current: "new", Keys: []seal.Key{next}}))
				}
			}}.run(t)
		if len(ends.got) != 4 || cause(ends.end) != seal.Revoked {
			t.Errorf("%q, %v at step %d", ends.got, ends.end, step)
		}
		session("new")

		// The same id with another secret is another key.
		again := key("new", 9)
		o := story{client: seal.Config{Keys: client}, server: seal.Config{Keys: server}, sends: []string{"0", "1"}, before: func(i int) {
			if i == 1 {
				must(client.Set(seal.Keys{Keys: []seal.Key{again}}))
			}
		}}.run(t)
		if err := o.c.WriteRecord(append(seal.NewBuffer(1), 'x')); cause(err) != seal.Revoked || len(o.got) != 1 {
			t.Errorf("%v, %q", err, o.got)
		}
	})
}

// A session ends with its key, on both sides.
func TestSessionEndsWithItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			client, server time.Duration
			reads          seal.Cause
		}{{time.Hour, time.Minute, seal.ExpiredKey}, {time.Minute, time.Hour, seal.Truncated}} {
			client, server := key("k", 7), key("k", 7)
			client.NotAfter, server.NotAfter = time.Now().Add(c.client), time.Now().Add(c.server)
			o := story{client: seal.Config{Keys: ring(t, client)}, server: seal.Config{Keys: ring(t, server)}, sends: []string{"0", "1"},
				before: func(i int) {
					time.Sleep(time.Duration(i) * 59999 * time.Millisecond)
					time.Sleep(time.Duration(i) * 2 * time.Millisecond)
				}}.run(t)
			if len(o.got) != 1 || cause(o.end) != c.reads {
				t.Errorf("%q, %v", o.got, o.end)
			}
		}
	})
}

// Dialled is with the current key in its time, else with the one that began last.
func TestWhichKeyIsDialled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		at := func(id string, from, to time.Duration) seal.Key {
			k := key(id, 7)
			k.NotBefore, k.NotAfter = now.Add(from), now.Add(to)
			return k
		}
		all := []seal.Key{at("a", -3*time.Hour, time.Hour), at("b", -2*time.Hour, -time.Hour), at("c", -time.Hour, time.Hour), at("d", time.Minute, time.Hour)}
		for _, c := range []struct{ current, want string }{{"a", "a"}, {"b", "c"}, {"c", "c"}, {"d", "c"}, {"", "c"}} {
			r, err := seal.NewKeyring(seal.Keys{Current: c.current, Keys: all})
			if err != nil {
				t.Fatal(err)
			}
			o := story{client: seal.Config{Keys: r}, server: seal.Config{Keys: r}}.run(t)
			if o.client != nil || o.c.Peer().KeyID != c.want {
				t.Errorf("current %q: %v", c.current, o.client)
			}
		}
		r := ring(t, at("b", -2*time.Hour, -time.Hour))
		if o := (story{client: seal.Config{Keys: r}, server: seal.Config{Keys: r}}).run(t); cause(o.client) != seal.ExpiredKey {
			t.Error(o.client)
		}
	})
}
