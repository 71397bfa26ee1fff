package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/config"
	"github.com/surefoot-go/surefoot/config/drivertest"
	"github.com/surefoot-go/surefoot/config/tree"
)

// TestABadValueAtTheStart: the centre answers, but with a bad value; the last
// good one on the disk counts, and stays there.
func TestABadValueAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for i, value := range []string{`{"max": 7}`, `{"max": -1}`, `{"max": -2}`, "away"} {
			r := newRig("o-1", dir)
			v := config.Bind(r.c, "limits", limits{Max: 1})
			if value == "away" {
				r.centre.Away(true)
			} else {
				r.put(r.centre, "limits", value)
			}
			if err := r.c.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			st := r.c.Status()[0]
			if v.Get().Max != 7 || st.LastGood != (i > 0) || (st.Refused != 0) != strings.Contains(value, "-") {
				t.Errorf("%s: %+v %+v", value, v.Get(), st)
			}
		}
	})
}

type strict struct{ URL string }

func (s strict) Validate() error {
	switch s.URL {
	case "":
		return errors.New("url is needed")
	case "panic":
		panic("validate")
	}
	return nil
}

// TestWholeIsValidated: what has no default may come from any layer, but has to
// come, each time that Load is asked.
func TestWholeIsValidated(t *testing.T) {
	for _, c := range []struct{ file, env, centre, want string }{
		{"f", "", "", "f"}, {"", "e", "", "e"}, {"", "", "c", "c"}, {"f", "e", "c", "c"}, {"f", "", "panic", "f"}, {"", "", "", ""}, {"", "", "panic", ""},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			if c.env != "" {
				t.Setenv("ORDER_DB_URL", c.env)
			}
			synctest.Test(t, func(t *testing.T) {
				r := newRig("o-1", "")
				v := config.Bind(r.c, "db", strict{})
				if c.file != "" {
					r.put(r.files, "db", `{"url": "`+c.file+`"}`)
				}
				if c.centre != "" {
					r.put(r.centre, "db", `{"url": "`+c.centre+`"}`)
				}
				for range 2 {
					if err := r.c.Load(t.Context()); (err == nil) != (c.want != "") {
						t.Errorf("Load: %v", err)
					}
				}
				_ = r.c.Status()
				if v.Get().URL != c.want {
					t.Errorf("%q", v.Get().URL)
				}
			})
		})
	}
}

// TestWhoIsToBlame: a file that does not fit the centre's value is refused, not
// the value, and the other way round.
func TestWhoIsToBlame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig("o-1", "")
		v := config.Bind(r.c, "span", span{Low: 1, High: 9})
		r.run(t)
		defer r.stop()
		r.put(r.centre, "span", `{"high": 5}`)
		r.put(r.files, "span", `{"low": 6}`)
		if st := r.c.Status()[0]; v.Get() != (span{1, 5}) || st.FileBad == "" || st.Refused != 0 {
			t.Errorf("the file does not fit: %+v %+v", v.Get(), st)
		}
		r.put(r.files, "span", `{"low": 4}`)
		bad := r.put(r.centre, "span", `{"high": 3}`)
		if st := r.c.Status()[0]; v.Get() != (span{4, 5}) || st.FileBad != "" || st.Refused != bad {
			t.Errorf("the centre's value does not fit: %+v %+v", v.Get(), st)
		}
		told := strings.Count(r.log.String(), "config refused")
		time.Sleep(time.Minute) // the stores tell the same again and again
		if n := strings.Count(r.log.String(), "config refused"); n != told || told != 2 {
			t.Errorf("%d refusals told, then %d", told, n)
		}
	})
}

type span struct{ Low, High int }

func (s span) Validate() error {
	if s.Low > s.High {
		return errors.New("low is over high")
	}
	return nil
}

// TestAStoreThatStartsOver has deleted nothing.
func TestAStoreThatStartsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := newRig("o-1", dir)
		v := config.Bind(r.c, "limits", limits{Max: 1})
		w := config.Bind(r.c, "other", limits{Max: 1})
		var table canary.Table
		r.c.Routes(&table)
		r.put(r.centre, "limits", `{"max": 2}`)
		r.put(r.centre, "other", `{"max": 3}`)
		r.centre.Commit(map[string][]byte{"surefoot/route/bank": []byte(`{"stable": "v1"}`), "surefoot/route/user": []byte(`{"stable": "v1"}`)})
		r.run(t)
		if len(table.All()) != 2 {
			t.Errorf("routes %v", table.All())
		}
		r.put(r.centre, "other", "")
		if w.Get().Max != 1 {
			t.Errorf("deleted: %+v", w.Get())
		}
		r.centre.Wipe()
		synctest.Wait()
		if v.Get().Max != 2 || w.Get().Max != 1 || len(table.All()) != 2 || !strings.Contains(r.log.String(), "started over") {
			t.Errorf("wiped: %+v, routes %v, %s", v.Get(), table.All(), r.log.String())
		}
		r.put(r.centre, "other", `{"max": 4}`)
		r.centre.Commit(map[string][]byte{"surefoot/route/bank": []byte(`{"stable": "v2"}`), "surefoot/route/user": []byte(`{"stable": ""}`)})
		synctest.Wait()
		if bank, _ := table.Get("bank"); v.Get().Max != 2 || w.Get().Max != 4 || bank.Stable != "v2" || len(table.All()) != 2 {
			t.Errorf("written anew: %+v %+v %v", v.Get(), w.Get(), table.All())
		}
		r.centre.Commit(map[string][]byte{"surefoot/route/bank": nil})
		synctest.Wait()
		if _, ok := table.Get("bank"); ok {
			t.Error("a removed route stays")
		}
		r.stop()

		again := newRig("o-1", dir) // its centre is empty, and younger than the disk
		again.centre.Wipe()
		v = config.Bind(again.c, "limits", limits{Max: 1})
		if err := again.c.Load(t.Context()); err != nil || v.Get().Max != 2 {
			t.Errorf("after a restart: %v %+v", err, v.Get())
		}
	})
}

// TestLateKeysStayOnDisk: a setting that is bound late is not forgotten by a
// start with a centre, and its shape is published.
func TestLateKeysStayOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		centre := &drivertest.Memory{}
		for i := range 3 {
			r := newRig("o-1", dir)
			r.centre = centre
			r.c.Centre = centre
			r.put(centre, "late", `{"max": 5}`)
			centre.Away(i == 2)
			r.run(t)
			time.Sleep(3 * time.Second)
			if i != 1 {
				if v := config.Bind(r.c, "late", limits{Max: 1}); v.Get().Max != 5 {
					t.Errorf("%d: %+v", i, v.Get())
				}
			}
			time.Sleep(20 * time.Second)
			r.stop()
		}
		centre.Away(false)
		if err := centre.Delete(t.Context(), "surefoot/schema/order/late", 0); err == nil {
			t.Error("no schema was published")
		}
	})
}

func TestSecretsStayHidden(t *testing.T) {
	type inner struct{ password config.Secret }
	s := config.NewSecret("hunter2")
	if all := fmt.Sprintf("%v %+v %#v %v", inner{s}, inner{s}, inner{s}, &inner{s}); strings.Contains(all, "hunter2") {
		t.Error(all)
	}
	if s != config.NewSecret("hunter2") || s == config.NewSecret("other") || config.NewSecret("") != (config.Secret{}) {
		t.Error("equality")
	}
	if err := new(config.Secret).DecodeSetting(&tree.Node{Kind: tree.String, Text: "[secret]"}, tree.File); err == nil {
		t.Error("what is shown of a secret is read as one")
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	n, err := tree.JSON([]byte(`{"file": "` + pipe + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := new(config.Secret).DecodeSetting(n, tree.Centre); err == nil {
		t.Error("a pipe was read")
	}
}

// TestARotatedSecret is read again without a change of the setting, and one whose
// file is away leaves the one before.
func TestARotatedSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "secret")
		write := func(text string) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("one\n")
		r := newRig("o-1", "")
		type db struct{ Password config.Secret }
		v := config.Bind(r.c, "db", db{})
		r.put(r.centre, "db", `{"password": {"file": "`+file+`"}}`)
		r.run(t)
		defer r.stop()
		for i, want := range []string{"one", "two", "two", "three"} {
			switch i {
			case 1, 3:
				write(want)
			case 2:
				_ = os.Remove(file)
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if got := v.Get().Password.Reveal(); got != want {
				t.Errorf("%d: %s, want %s", i, got, want)
			}
			if st := r.c.Status()[0]; (st.Refused != 0) != (i == 2) {
				t.Errorf("%d: %+v", i, st)
			}
		}
	})
}

func TestCallbacksHearOfLoad(t *testing.T) {
	r := newRig("o-1", "")
	r.put2("limits", `{"max": 3}`)
	v := config.Bind(r.c, "limits", limits{Max: 1})
	var seen []int
	v.OnChange(func(before, after limits) { seen = append(seen, before.Max, after.Max) })
	if err := r.c.Load(t.Context()); err != nil || fmt.Sprint(seen) != "[1 3]" {
		t.Error(err, seen)
	}
}
