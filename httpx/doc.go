// Package httpx is net/http with the guard rails on: handlers that return
// errors and may panic, clients that retry, break and keep to the deadline.
//
//	s := httpx.Server{Service: "order"}
//	mux.Handle("POST /orders", s.Handle("order.Place", func(w http.ResponseWriter, r *http.Request) error {
//		in, err := httpx.Read[Order](r)
//		if err != nil {
//			return err
//		}
//		user, err := httpx.JSON[User](r.Context(), users, "GET", "http://user/users/"+in.UserID, nil)
//		if err != nil {
//			return errs.Wrap(err, "order.Place")
//		}
//		...
//		return httpx.Write(w, http.StatusCreated, placed)
//	}))
//
//	users := httpx.Client{Service: "order", Target: "user"}.HTTP()
//
// Both sides speak package errs for failures and package flow for what travels
// with a request. Everything is a plain http.Handler, http.RoundTripper or
// *http.Client, so the rest of a program need not know.
//
// It is not a router (http.ServeMux is) and not a server's life: see package
// service for start, drain and stop.
package httpx
