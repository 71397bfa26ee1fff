package errs_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/surefoot-go/surefoot/errs"
)

func logged(err error) string {
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Error("failed", "error", err)
	return b.String()
}

// What a driver says about its connection keeps its password out of the log.
func TestPasswordsStayOutOfTheLog(t *testing.T) {
	for _, c := range []struct{ said, shown string }{
		{`dial postgres://ada:s3cret@db:5432/shop?x=1: refused`, `dial postgres://ada:***@db:5432/shop?x=1: refused`},
		{`parse "amqp://ada:s3c@ret@mq/": bad`, `amqp://ada:***@mq/`},
		{`cannot connect to ada:s3cret@tcp(db:3306)/shop`, `ada:***@tcp(db:3306)/shop`},
		{`host=db user=ada password=s3cret sslmode=off`, `host=db user=ada password=*** sslmode=off`},
		{`GET http://x/?pwd=s3cret&a=1`, `http://x/?pwd=***&a=1`},
		{`Password=s3cret`, `Password=***`},
		{`mail to ada@example.org: no`, `mail to ada@example.org: no`},
		{`lookup https://db/a@b:c`, `lookup https://db/a@b:c`},
		{`redis://db:6379: refused`, `redis://db:6379: refused`},
		{`a=b @ c`, `a=b @ c`},
	} {
		for _, cause := range []error{errors.New(c.said), fmt.Errorf("open: %w", errors.New(c.said))} {
			got := logged(errs.New(errs.Unavailable, "order.Place", "try again").Because(cause))
			got = strings.NewReplacer(`\u0026`, "&", `\"`, `"`).Replace(got)
			if strings.Contains(got, "s3c") || !strings.Contains(got, c.shown) {
				t.Errorf("%q is logged as %s", c.said, got)
			}
		}
	}
}

func FuzzPasswords(f *testing.F) {
	f.Add("a://b:c@d password=e&f")
	f.Add("x:y@tcp(z)")
	f.Fuzz(func(t *testing.T, said string) {
		logged(errs.New(errs.Internal, "x", "y").Because(errors.New(said)))
		if strings.ContainsAny(said, "@= \t\n\"'`<>,;:/&") {
			return
		}
		if got := logged(errs.New(errs.Internal, "x", "y").Because(errors.New("p://u:s_" + said + "_s@h"))); strings.Contains(got, "s_") {
			t.Errorf("%q in an address is logged as %s", said, got)
		}
	})
}
