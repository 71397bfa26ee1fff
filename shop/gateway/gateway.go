// Package gateway is the shop's public door: JSON over HTTP, checked and
// described by an OpenAPI document.
//
//	s := &gateway.Service{Users: client, UserURL: "http://127.0.0.1:17611", Orders: orders}
//	for _, r := range s.Routes() {
//		svc.HandleFunc(r.Pattern, r.Handle) // of a service.Service
//	}
//
// It keeps no state.
package gateway

import (
	"context"
	_ "embed"
	"net/http"
	"net/url"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/shop/shopv1"
)

// OpenAPI is the document GET /openapi.yaml serves. It describes every route.
//
//go:embed openapi.yaml
var OpenAPI []byte

// patience bounds one request, whatever is behind it. A client that sends an
// earlier deadline gets that.
const patience = 4 * time.Second

// Service is the gateway. Fill in the fields before the first call; it is safe
// for concurrent use. It owns none of them.
type Service struct {
	Users   *http.Client // to the user service
	UserURL string       // its base URL
	Orders  shopv1.OrdersClient
}

// Route is one operation of the public API.
type Route struct {
	Pattern string // of http.ServeMux, with the method
	Handle  func(http.ResponseWriter, *http.Request) error
}

// Routes returns the whole public API.
func (s *Service) Routes() []Route {
	return []Route{
		{"POST /orders", s.place},
		{"GET /orders/{id}", s.get},
		{"GET /openapi.yaml", openAPI},
	}
}

// order is an order as the public sees it.
type order struct {
	OrderID  string `json:"orderId"`
	Status   string `json:"status"`
	UserID   string `json:"userId"`
	SKU      string `json:"sku"`
	Quantity int32  `json:"quantity"`
	Amount   int64  `json:"amountMinor"`
	Paid     int64  `json:"paidMinor"`
	Currency string `json:"currency"`
	Reason   string `json:"reason,omitempty"`
	Created  string `json:"createdAt"`
	Updated  string `json:"updatedAt"`
}

func (s *Service) place(w http.ResponseWriter, r *http.Request) error {
	const op = "gateway.Place"
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	in, err := httpx.Read[struct {
		UserID   string `json:"userId"`
		SKU      string `json:"sku"`
		Quantity int32  `json:"quantity"`
		Key      string `json:"idempotencyKey"`
	}](r)
	if err != nil {
		return errs.Wrap(err, op)
	}
	var wrong []string
	text := func(name, v string, most int) {
		switch {
		case v == "":
			wrong = append(wrong, name+" must not be empty")
		case len(v) > most:
			wrong = append(wrong, name+" is too long")
		}
	}
	text("userId", in.UserID, 100)
	text("sku", in.SKU, 100)
	text("idempotencyKey", in.Key, 200)
	if in.Quantity < 1 || in.Quantity > 1000 {
		wrong = append(wrong, "quantity must be 1 to 1000")
	}
	if wrong != nil {
		return errs.New(errs.Invalid, op, "request parameters failed validation").Detail(wrong...)
	}
	user, err := httpx.JSON[struct{ ID, Tier string }](httpx.WithTemplate(ctx, "/users/{id}"), s.Users, http.MethodGet, s.UserURL+"/users/"+url.PathEscape(in.UserID), nil)
	if err != nil {
		return errs.Wrap(err, op)
	}
	// From here on the user's tier travels with the request: order routes by it,
	// and payment's prices may depend on it.
	ctx = flow.WithLabels(ctx, map[string]string{"tier": user.Tier})
	o, err := s.Orders.Place(ctx, &shopv1.PlaceRequest{UserId: in.UserID, Sku: in.SKU, Quantity: in.Quantity, IdempotencyKey: in.Key})
	if err != nil {
		return errs.Wrap(err, op)
	}
	w.Header().Set("Location", "/orders/"+o.OrderId)
	return httpx.Write(w, http.StatusCreated, public(o))
}

func (s *Service) get(w http.ResponseWriter, r *http.Request) error {
	const op = "gateway.Get"
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	o, err := s.Orders.Get(ctx, &shopv1.GetOrderRequest{OrderId: r.PathValue("id")})
	if err != nil {
		return errs.Wrap(err, op)
	}
	return httpx.Write(w, http.StatusOK, public(o))
}

func openAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, err := w.Write(OpenAPI)
	return errs.Wrap(err, "gateway.OpenAPI")
}

func public(o *shopv1.Order) order {
	return order{
		OrderID: o.OrderId, Status: status(o.Status), UserID: o.UserId, SKU: o.Sku, Quantity: o.Quantity,
		Amount: o.AmountMinor, Paid: o.PaidMinor, Currency: o.Currency, Reason: o.Reason,
		Created: stamp(o.CreatedAtMs), Updated: stamp(o.UpdatedAtMs),
	}
}

func status(s shopv1.OrderStatus) string {
	switch s {
	case shopv1.OrderStatus_ORDER_STATUS_PAID:
		return "paid"
	case shopv1.OrderStatus_ORDER_STATUS_PAYMENT_PENDING:
		return "payment_pending"
	case shopv1.OrderStatus_ORDER_STATUS_DECLINED:
		return "declined"
	case shopv1.OrderStatus_ORDER_STATUS_CANCELED:
		return "canceled"
	case shopv1.OrderStatus_ORDER_STATUS_REJECTED:
		return "rejected"
	}
	return "processing"
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }
