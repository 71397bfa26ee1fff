package console_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/surefoot-go/surefoot/server/console"
)

func ExampleHandler() {
	mux := http.NewServeMux()
	mux.Handle("/", console.Handler())

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/incidents", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 200 text/html; charset=utf-8
}
