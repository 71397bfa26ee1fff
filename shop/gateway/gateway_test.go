package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/shop/gateway"
	"github.com/surefoot-go/surefoot/shop/shopv1"
)

// operations reads "METHOD /path" and the statuses of each from the document.
// It knows just the indentation this document uses.
func operations(t *testing.T) map[string][]string {
	ops := map[string][]string{}
	var path, op string
	for line := range strings.Lines(string(gateway.OpenAPI)) {
		text := strings.TrimRight(line, "\n")
		switch indent := len(text) - len(strings.TrimLeft(text, " ")); {
		case indent == 0:
			path, op = "", ""
		case indent == 2 && strings.HasPrefix(text, "  /"):
			path = strings.TrimSuffix(strings.TrimSpace(text), ":")
		case indent == 4 && path != "":
			op = strings.ToUpper(strings.TrimSuffix(strings.TrimSpace(text), ":")) + " " + path
			ops[op] = nil
		case indent == 8 && op != "" && strings.HasPrefix(text, `        "`):
			ops[op] = append(ops[op], text[9:12])
		}
	}
	if len(ops) == 0 {
		t.Fatal("no operations in the document")
	}
	return ops
}

func TestTheDocumentDescribesEveryRoute(t *testing.T) {
	ops := operations(t)
	for _, r := range (&gateway.Service{}).Routes() {
		if _, ok := ops[r.Pattern]; !ok {
			t.Errorf("%s is served and not described", r.Pattern)
		}
		delete(ops, r.Pattern)
	}
	for op := range ops {
		t.Errorf("%s is described and not served", op)
	}
}

// orders stands for the order service.
type orders struct {
	shopv1.OrdersClient
	err  error
	seen *shopv1.PlaceRequest
	tier string
}

func (o *orders) Place(ctx context.Context, in *shopv1.PlaceRequest, _ ...grpc.CallOption) (*shopv1.Order, error) {
	o.seen, o.tier = in, flow.Label(ctx, "tier")
	return &shopv1.Order{OrderId: "o-1", Status: shopv1.OrderStatus_ORDER_STATUS_PAYMENT_PENDING, UserId: in.UserId, Sku: in.Sku, Quantity: in.Quantity, AmountMinor: 600, Currency: "EUR"}, o.err
}

func (o *orders) Get(context.Context, *shopv1.GetOrderRequest, ...grpc.CallOption) (*shopv1.Order, error) {
	return &shopv1.Order{OrderId: "o-1", Status: shopv1.OrderStatus_ORDER_STATUS_PAID}, o.err
}

// TestAnswers checks that each answer has a status the document names, and the
// members it promises.
func TestAnswers(t *testing.T) {
	users := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/users/u-0010" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(404)
			w.Write([]byte(`{"code":404,"error":"unknown_user","message":"there is no such user"}`))
			return
		}
		w.Write([]byte(`{"id":"u-0010","name":"Ada","tier":"premium"}`))
	}))
	defer users.Close()
	back := &orders{}
	s := &gateway.Service{Users: users.Client(), UserURL: users.URL, Orders: back}
	mux := http.NewServeMux()
	for _, r := range s.Routes() {
		mux.Handle(r.Pattern, httpx.Server{Service: "gateway", Edge: true}.Handle(r.Pattern, r.Handle))
	}
	const good = `{"userId":"u-0010","sku":"sku-01","quantity":1,"idempotencyKey":"k"}`
	for _, c := range []struct {
		name, op, path, body string
		err                  error
		status               int
		id                   string
		details              int
	}{
		{"placed", "POST /orders", "/orders", good, nil, 201, "", 0},
		{"read", "GET /orders/{id}", "/orders/o-1", "", nil, 200, "", 0},
		{"document", "GET /openapi.yaml", "/openapi.yaml", "", nil, 200, "", 0},
		{"empty", "POST /orders", "/orders", `{}`, nil, 400, "invalid_request", 4},
		{"too many", "POST /orders", "/orders", strings.Replace(good, ":1,", ":1001,", 1), nil, 400, "invalid_request", 1},
		{"wrong type", "POST /orders", "/orders", strings.Replace(good, ":1,", `:"one",`, 1), nil, 400, "invalid_request", 1},
		{"fraction", "POST /orders", "/orders", strings.Replace(good, ":1,", `:1.5,`, 1), nil, 400, "invalid_request", 1},
		{"not JSON", "POST /orders", "/orders", `<order/>`, nil, 400, "invalid_request", -1},
		{"long key", "POST /orders", "/orders", strings.Replace(good, `"k"`, `"`+strings.Repeat("k", 201)+`"`, 1), nil, 400, "invalid_request", 1},
		{"huge", "POST /orders", "/orders", `{"sku":"` + strings.Repeat("x", 2<<20) + `"}`, nil, 413, "body_too_large", -1},
		{"other user", "POST /orders", "/orders", strings.Replace(good, "u-0010", "..%2Fadmin", 1), nil, 404, "unknown_user", 0},
		{"sold out", "POST /orders", "/orders", good, errs.New(errs.Conflict, "t", "not enough in stock").ID("sold_out"), 409, "sold_out", 0},
		{"order away", "POST /orders", "/orders", good, errs.New(errs.Unavailable, "t", "not now").Because(context.DeadlineExceeded), 503, "unavailable", 0},
		{"no such order", "GET /orders/{id}", "/orders/o-2", "", errs.New(errs.NotFound, "t", "there is no such order"), 404, "not_found", 0},
	} {
		back.err = c.err
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(strings.Fields(c.op)[0], c.path, strings.NewReader(c.body)))
		var got struct {
			Code                          int
			Error, Message, TraceID, Time string
			OrderID, Status               string
			Details                       []string
			Chain                         []any
		}
		json.Unmarshal(w.Body.Bytes(), &got)
		if w.Code != c.status || got.Error != c.id || c.details >= 0 && len(got.Details) != c.details || got.Chain != nil {
			t.Errorf("%s: %d %s, want %d %q with %d details", c.name, w.Code, w.Body, c.status, c.id, c.details)
		}
		if !slices.Contains(operations(t)[c.op], strconv.Itoa(w.Code)) {
			t.Errorf("%s: the document does not name status %d of %s", c.name, w.Code, c.op)
		}
		if c.status >= 400 && (got.Message == "" || got.TraceID == "" || got.Code != c.status) {
			t.Errorf("%s: incomplete error %s", c.name, w.Body)
		}
	}
	if back.tier != "premium" || back.seen.IdempotencyKey != "k" {
		t.Errorf("order was called with tier %q and %v", back.tier, back.seen)
	}
}
