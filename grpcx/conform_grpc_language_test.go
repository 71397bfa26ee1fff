package grpcx_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/grpcx"
)

// A gRPC service speaks the language that the metadata asks for.
func TestLanguageOverGRPC(t *testing.T) {
	locked := errs.New(errs.Forbidden, "op", "this account is locked").ID("bank.account_locked").Arg("account", "17")
	conn := serve(t, grpcx.Server{Service: "bank", Catalog: texts}, handlers{do: func(_ context.Context, in string) (string, error) {
		if in == "panic" {
			panic(dsn)
		}
		return "", locked
	}}, grpcx.Client{Target: "bank", Policy: oneTry})
	for _, c := range []struct{ accept, in, message, language string }{
		{"", "", "this account is locked", ""},
		{"zh-CN,zh;q=0.9", "", "账户17已锁定", "zh"},
		{"zh-Hant", "", "帳戶17已鎖定", "zh-Hant"},
		{"en", "", "account 17 is locked", "en"},
		{"fr", "", "this account is locked", ""},
		{"zh", "panic", "我们这边出了点问题", "zh"},
		{strings.Repeat("x", 5000) + ",zh", "", "this account is locked", ""},
	} {
		ctx := t.Context()
		if c.accept != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "accept-language", c.accept)
		}
		_, err := call(ctx, conn, c.in)
		e := errs.From(err)
		if e.Message() != c.message || e.Language() != c.language || !e.Remote() || strings.Contains(e.Error(), private) {
			t.Errorf("%.20s: %q in %q, want %q in %q", c.accept, e.Message(), e.Language(), c.message, c.language)
		}
	}
}
