package httpx_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/httpx"
)

// Errors in the language of whoever asks: the texts belong to the service, those
// that every service needs are built in.
func ExampleServer_catalog() {
	shop := httpx.Server{Service: "shop", Edge: true, Observe: quiet, Catalog: errs.Catalog{
		"sold_out": {"en": "{article} is sold out", "zh": "{article}已售罄"},
	}}
	h := shop.Handle("shop.Buy", func(http.ResponseWriter, *http.Request) error {
		return errs.New(errs.Conflict, "shop.Buy", "this article is sold out").ID("sold_out").Arg("article", "Longjing")
	})
	for _, language := range []string{"zh-CN,zh;q=0.9,en;q=0.8", "en-GB", "fr"} {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("Accept-Language", language)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		e := errs.Decode(w.Body.Bytes(), w.Code, w.Header().Get("Content-Type"))
		fmt.Printf("%d %q %s\n", w.Code, w.Header().Get("Content-Language"), e.Message())
	}
	// Output:
	// 409 "zh" Longjing已售罄
	// 409 "en" Longjing is sold out
	// 409 "" this article is sold out
}
