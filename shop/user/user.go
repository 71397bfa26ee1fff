// Package user knows who buys: names, and the tier by which releases are
// routed.
//
//	s := &user.Service{DB: db}
//	mux.Handle("GET /users/{id}", server.Handle("user.Get", s.Get))
//
// Who was asked for lately is answered from memory, for half a minute at most,
// and for five while the database is away: a name and a tier may be that old.
//
// It holds no passwords and no payment data.
package user

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/locks/cache"
	"github.com/surefoot-go/surefoot/shop/sqldb"
)

// Users is how many users Seed makes: "u-0001" to "u-1000". Every tenth is of
// tier "premium", the others of "standard".
const Users = 1000

// User is a user as GET /users/{id} answers.
type User struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Tier string `json:"tier"` // "standard" or "premium"
}

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations brings a database to the schema that Service needs; give it to
// sqldb's Migrate.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}

// ID returns the id of the i-th user, 1 to Users.
func ID(i int) string { return fmt.Sprintf("u-%04d", i) }

// Seed makes the shop's users, each once: one who is there already stays as he
// is. Every run gives the same users.
func Seed(ctx context.Context, db *sqldb.DB) error {
	given := []string{"Ada", "Bo", "Chen", "Dana", "Emeka", "Fatima", "Grace", "Hiro", "Ines", "Jun", "Kofi", "Lena", "Mei"}
	family := []string{"Abe", "Brandt", "Costa", "Diallo", "Eriksen", "Fischer", "Gao", "Haddad", "Ito", "Jansen", "Kim"}
	return db.Tx(ctx, "seed", func(tx *sqldb.Tx) error {
		var have int
		if err := tx.Row(tx.Context(), []any{&have}, "SELECT COUNT(*) FROM users"); err != nil || have >= Users {
			return err
		}
		for i := 1; i <= Users; i++ {
			tier := "standard"
			if i%10 == 0 {
				tier = "premium"
			}
			name := given[i%len(given)] + " " + family[i%len(family)]
			if _, err := tx.Exec(tx.Context(), "INSERT INTO users (id, name, tier) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING", ID(i), name, tier); err != nil {
				return err
			}
		}
		return nil
	})
}

// Service is the user service; safe for concurrent use. It does not own DB.
type Service struct {
	DB *sqldb.DB // migrated by Migrations, filled by Seed

	once  sync.Once
	users cache.Cache[string, User] // by id; one without an ID says that there is no such user
}

// find returns a user, known or read from the database: once, however many ask
// for him at the same moment.
func (s *Service) find(ctx context.Context, id string) (User, error) {
	s.once.Do(func() {
		s.users.Name, s.users.Max = "user.users", 2*Users
		s.users.TTL, s.users.Stale = 30*time.Second, 5*time.Minute
		s.users.Load = func(ctx context.Context, id string) (u User, err error) {
			err = s.DB.Row(ctx, []any{&u.ID, &u.Name, &u.Tier}, "SELECT id, name, tier FROM users WHERE id = ?", id)
			if errors.Is(err, sql.ErrNoRows) { // an answer, not a failure: it must not be hidden by an older one
				return User{}, nil
			}
			return u, err
		}
	})
	return s.users.Get(ctx, id)
}

// Close forgets what is known and waits for reads under way. Call it after the
// server has stopped, before DB is closed.
func (s *Service) Close() error {
	s.users.Close()
	return nil
}

// Get answers GET /users/{id}.
func (s *Service) Get(w http.ResponseWriter, r *http.Request) error {
	const op = "user.Get"
	u, err := s.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return errs.Wrap(err, op)
	}
	if u.ID == "" {
		return errs.New(errs.NotFound, op, "there is no such user").ID("unknown_user").With("user", r.PathValue("id"))
	}
	return httpx.Write(w, http.StatusOK, u)
}
