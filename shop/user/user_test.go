package user_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/shop/sqldb"
	"github.com/surefoot-go/surefoot/shop/user"
)

func TestGet(t *testing.T) {
	db, err := sqldb.Open(t.Context(), filepath.Join(t.TempDir(), "user.db"), sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context(), user.Migrations()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second start changes nothing
		if err := user.Seed(t.Context(), db); err != nil {
			t.Fatal(err)
		}
	}
	var all, premium int
	if err := db.Row(t.Context(), []any{&all, &premium}, "SELECT COUNT(*), SUM(CASE WHEN tier = 'premium' THEN 1 ELSE 0 END) FROM users"); err != nil {
		t.Fatal(err)
	}
	if all != user.Users || premium != user.Users/10 {
		t.Errorf("%d users, %d premium", all, premium)
	}
	s := &user.Service{DB: db}
	mux := http.NewServeMux()
	mux.Handle("GET /users/{id}", httpx.Server{Service: "user"}.Handle("user.Get", s.Get))
	for _, c := range []struct {
		id     string
		status int
		tier   string
	}{
		{user.ID(1), 200, "standard"},
		{user.ID(10), 200, "premium"},
		{"u-9999", 404, ""},
		{"x'%20OR%201=1", 404, ""},
	} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", "/users/"+c.id, nil))
		var u user.User
		json.Unmarshal(w.Body.Bytes(), &u)
		if w.Code != c.status || u.Tier != c.tier {
			t.Errorf("%s: %d %s", c.id, w.Code, w.Body)
		}
	}
	// With the database away, those who were asked for are known for a while.
	db.Close()
	for id, want := range map[string]int{user.ID(1): 200, user.ID(2): 500} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", "/users/"+id, nil))
		if w.Code != want {
			t.Errorf("%s with the database away: %d %s, want %d", id, w.Code, w.Body, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
