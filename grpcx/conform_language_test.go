package grpcx_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
)

var texts = errs.Catalog{
	"bank.account_locked": {"en": "account {account} is locked", "zh": "账户{account}已锁定", "zh-Hant": "帳戶{account}已鎖定"},
	"bank.leaky":          {"zh": "{dsn}{cause}{password}"},
}

// A speaks its reader's language: D's own failures in the words of A's catalogue
// with the public values that D gave, what nobody put into words in those that
// are built in, and what no catalogue knows as D said it.
func TestConformanceOfLanguages(t *testing.T) {
	tb := newTable("The same, where the reader at A asks for a language, and A, a public edge, shows no hops.\n\n", "asked for -> got")
	type failure struct {
		name string
		by   func(op string) error
	}
	failures := []failure{
		{"own id with a value", func(op string) error {
			return errs.New(errs.Forbidden, op, "this account is locked").ID("bank.account_locked").Arg("account", "17").
				With("dsn", dsn).Because(errors.New(dsn))
		}},
		{"own id, private values", func(op string) error {
			return errs.New(errs.Forbidden, op, "not this one").ID("bank.leaky").With("dsn", dsn).With("password", private).Because(errors.New(dsn))
		}},
		{"own id nobody knows", func(op string) error { return errs.New(errs.Conflict, op, "as D said it").ID("bank.unheard_of") }},
		{"plain error", func(string) error { return errors.New(dsn) }},
		{"panic", func(string) error { panic(dsn) }},
	}
	for _, k := range kinds {
		failures = append(failures, failure{k.ID() + ", generic", func(string) error { return errs.Assemble(errs.Parts{Kind: k}).With("dsn", dsn) }})
	}
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			for _, overGRPC := range []bool{false, true} {
				l := newLab(t)
				l.serveD(overGRPC, f.by)
				url := l.build(httpx.Server{Edge: true, Catalog: texts}, overGRPC)
				plain, resp, _ := l.ask(url, nil)
				if resp.Header.Get("Content-Language") != "" {
					t.Error("nobody asked for a language")
				}
				for _, accept := range []string{"zh-CN,zh;q=0.9,en;q=0.8", "zh-TW", "en-GB,en;q=0.5", "fr"} {
					e, resp, raw := l.ask(url, http.Header{"Accept-Language": {accept}, "Accept": {"application/problem+json"}})
					language := resp.Header.Get("Content-Language")
					if !overGRPC {
						tb.add(accept+" -> "+or(language, "as it is"), f.name, l, e)
					}
					if e.Code() != plain.Code() || e.HTTP() != plain.HTTP() || e.Trace() != wireTrace {
						t.Errorf("%s: %s", accept, raw)
					}
					if language == "" && e.Message() != plain.Message() || strings.HasPrefix(language, "zh") && e.Message() == plain.Message() {
						t.Errorf("%s: %q in %q", accept, e.Message(), language)
					}
					if !strings.Contains(strings.Join(resp.Header.Values("Vary"), ","), "Accept-Language") {
						t.Errorf("Vary %q", resp.Header.Values("Vary"))
					}
				}
				l.quietWires()
			}
		})
	}
	tb.check(t, "conform_languages.txt")
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
