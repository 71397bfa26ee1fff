package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/surefoot-go/surefoot/server/api"
)

func ExampleHub() {
	var hub api.Hub
	hub.State("overview", map[string]bool{"ready": true}) // for all who connect from now on
	fmt.Println(hub.Dropped(), "clients were too slow")
	hub.Close()
	// Output: 0 clients were too slow
}

// A page of another site may read nothing by a rebound name and change nothing
// at all.
func ExampleGuard() {
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	h := api.Guard(hello, api.LocalHosts(), func(w http.ResponseWriter, _ *http.Request, err error) {
		http.Error(w, "refused", http.StatusForbidden)
	})
	for _, host := range []string{"127.0.0.1:7600", "evil.example"} {
		r := httptest.NewRequest("GET", "http://"+host+"/", nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(host, w.Code)
	}
	// Output:
	// 127.0.0.1:7600 200
	// evil.example 403
}
