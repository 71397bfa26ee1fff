package payment

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/flow"
)

// verdict is the bank's last word on a charge. There is none while the outcome
// is unknown: that is an error.
type verdict struct {
	to       status // paid or declined
	chargeID string
	reason   string
}

// ask has the bank charge e. The order id is the Idempotency-Key, so asking
// again, by whichever process, never charges twice. An error means that the
// outcome is unknown or that nothing was sent: ask again later.
func (s *Service) ask(ctx context.Context, e entry) (verdict, error) {
	const op = "payment.ask"
	body, err := json.Marshal(map[string]any{"orderId": e.orderID, "account": e.userID, "amount": e.amount, "currency": e.currency})
	if err != nil {
		return verdict{}, errs.Wrap(err, op)
	}
	// Our users' labels are none of a stranger's business.
	req, err := http.NewRequestWithContext(flow.WithoutLabels(ctx), http.MethodPost, s.Bank+"/charges", bytes.NewReader(body))
	if err != nil {
		return verdict{}, errs.Wrap(err, op)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", e.orderID)
	res, err := s.HTTP.Do(req)
	if err != nil {
		return verdict{}, errs.Wrap(err, op)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return verdict{}, errs.New(errs.BadGateway, op, "the bank's answer broke off").Because(err)
	}
	var c struct{ ChargeID, Status, Reason string }
	broken := json.Unmarshal(answer, &c) != nil
	switch code := res.StatusCode; {
	case (code == http.StatusOK || code == http.StatusCreated) && !broken && c.Status == "charged" && c.ChargeID != "":
		return verdict{to: paid, chargeID: c.ChargeID}, nil
	case code == http.StatusPaymentRequired && !broken && c.Status == "declined":
		return verdict{to: declined, reason: "the bank declined: " + c.Reason}, nil
	case code == http.StatusBadRequest:
		// Refused unread: nothing was charged and no repeat will help.
		return verdict{to: declined, reason: "the bank refused the request"}, nil
	case code == http.StatusConflict:
		// The bank holds another charge under this key. Somebody must look:
		// calling it declined could hide money that was taken.
		return verdict{}, errs.New(errs.Internal, op, "the bank holds another charge for this order").With("order", e.orderID)
	default:
		return verdict{}, errs.New(errs.KindOfHTTP(code), op, "the bank gave no verdict").With("status", code)
	}
}
