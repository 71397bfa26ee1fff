// Package invariant proves, after the dust has settled, that the shop has
// neither lost an order nor charged one twice nor miscounted its stock.
//
//	c := invariant.Checker{Bank: "http://127.0.0.1:17617", Warehouse: "http://127.0.0.1:17618",
//		Orders: "order.db", Payments: "payment.db", Stock: "inventory.db", Accepted: ids}
//	report, err := c.Check(ctx) // waits until everything is settled
//	fmt.Print(report)
//
// It reads the services' databases, opened without writing, and asks bank and
// warehouse for their books: it believes none of the parties alone. The totals
// hold only while no new orders come in: stop the load first.
package invariant

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/shop/sqldb"
)

// Checker says where the books are. All fields but Accepted are required.
type Checker struct {
	Bank      string   // base URL of the bank's admin port, whose GETs work in every mode
	Warehouse string   // base URL of the warehouse, not of a proxy before it
	Orders    string   // DSN of the order service
	Payments  string   // DSN of the payment service
	Stock     string   // DSN of the inventory service
	Accepted  []string // ids of the orders that a client has seen accepted

	HTTP *http.Client // nil means one with a time limit of 5s
}

// counts is one look at all the books.
type counts struct {
	orders, unsettled                  int64 // orders, and those whose saga is not over
	paid, paidSum                      int64 // paid orders, and what they say was paid
	payments, waiting                  int64 // payments the bank said yes to, and those undecided
	paymentSum                         int64
	start, available, reserved, sold   int64
	paidItems, notices                 int64 // pieces in paid orders; dispatches not sent
	bankCount, bankOrders, bankSum     int64
	warehouseOrders, warehouseItems    int64
	acceptedMissing, acceptedUnsettled int64
	refusedAfter                       int64 // accepted orders that ended canceled or rejected
	examples                           []string
}

// Unsettled returns how much is still on its way: orders whose saga is not
// over, payments the bank has not decided, and dispatches not sent.
func (c Checker) Unsettled(ctx context.Context) (int, error) {
	n, err := c.look(ctx, false)
	return int(n.unsettled + n.waiting + n.notices), err
}

// Check waits until nothing is on its way, looking four times a second until
// ctx ends, and then compares the books. The error says that they could not be
// read; that they disagree, or did not settle in time, is in the Report.
func (c Checker) Check(ctx context.Context) (Report, error) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	begun := time.Now()
	for {
		n, err := c.look(ctx, true)
		switch {
		case err == nil && n.unsettled+n.waiting+n.notices == 0:
			return n.report(c, time.Since(begun)), nil
		case err != nil && ctx.Err() == nil:
			return Report{}, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			// One more look, with time of its own, to say what is missing.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			if n, err = c.look(last, true); err != nil {
				return Report{}, err
			}
			return n.report(c, time.Since(begun)), nil
		}
	}
}

// look reads every book once; full includes the outside world and Accepted.
func (c Checker) look(ctx context.Context, full bool) (n counts, err error) {
	for _, book := range []struct {
		name, dsn string
		read      func(context.Context, *sqldb.DB, *counts) error
	}{
		{"orders", c.Orders, func(ctx context.Context, db *sqldb.DB, n *counts) error { return c.orders(ctx, db, n, full) }},
		{"payments", c.Payments, payments},
		{"stock", c.Stock, stock},
	} {
		if err := open(ctx, book.dsn, &n, book.read); err != nil {
			return n, fmt.Errorf("book of %s: %w", book.name, err)
		}
	}
	if !full {
		return n, nil
	}
	var bank struct{ Count, Orders, Amount int64 }
	if err := c.fetch(ctx, c.Bank+"/charges/sum", &bank); err != nil {
		return n, fmt.Errorf("book of the bank: %w", err)
	}
	var house struct{ Orders, Items int64 }
	if err := c.fetch(ctx, c.Warehouse+"/dispatches/sum", &house); err != nil {
		return n, fmt.Errorf("book of the warehouse: %w", err)
	}
	n.bankCount, n.bankOrders, n.bankSum = bank.Count, bank.Orders, bank.Amount
	n.warehouseOrders, n.warehouseItems = house.Orders, house.Items
	return n, nil
}

func open(ctx context.Context, dsn string, n *counts, read func(context.Context, *sqldb.DB, *counts) error) error {
	db, err := sqldb.Open(ctx, dsn, sqldb.Options{ReadOnly: true, Conns: 1, Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer db.Close()
	return read(ctx, db, n)
}

func (c Checker) orders(ctx context.Context, db *sqldb.DB, n *counts, full bool) error {
	err := db.Row(ctx, []any{&n.orders, &n.unsettled, &n.paid, &n.paidSum, &n.paidItems}, `SELECT COUNT(*),
		COALESCE(SUM(CASE WHEN next_at > 0 THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN state = 'paid' THEN 1 ELSE 0 END), 0),
		CAST(COALESCE(SUM(CASE WHEN state = 'paid' THEN paid ELSE 0 END), 0) AS BIGINT),
		CAST(COALESCE(SUM(CASE WHEN state = 'paid' THEN quantity ELSE 0 END), 0) AS BIGINT) FROM orders`)
	if err != nil || !full || len(c.Accepted) == 0 {
		return err
	}
	states := make(map[string]string, n.orders)
	if err := db.Rows(ctx, func(r *sql.Rows) error {
		var id, state string
		err := r.Scan(&id, &state)
		states[id] = state
		return err
	}, "SELECT id, state FROM orders"); err != nil {
		return err
	}
	for _, id := range c.Accepted {
		switch state, ok := states[id]; {
		case !ok:
			n.acceptedMissing++
			n.example("lost: " + id)
		case state == "canceled" || state == "rejected":
			n.refusedAfter++
			n.example("accepted, then " + state + ": " + id)
		case state != "paid" && state != "declined":
			n.acceptedUnsettled++
			n.example("still " + state + ": " + id)
		}
	}
	return nil
}

func (n *counts) example(s string) {
	if len(n.examples) < 5 {
		n.examples = append(n.examples, s)
	}
}

func payments(ctx context.Context, db *sqldb.DB, n *counts) error {
	return db.Row(ctx, []any{&n.payments, &n.paymentSum, &n.waiting}, `SELECT
		COALESCE(SUM(CASE WHEN status = 'paid' THEN 1 ELSE 0 END), 0),
		CAST(COALESCE(SUM(CASE WHEN status = 'paid' THEN amount ELSE 0 END), 0) AS BIGINT),
		COALESCE(SUM(CASE WHEN status = 'pending' THEN 1 ELSE 0 END), 0) FROM payments`)
}

func stock(ctx context.Context, db *sqldb.DB, n *counts) error {
	if err := db.Row(ctx, []any{&n.start, &n.available, &n.reserved, &n.sold}, `SELECT CAST(COALESCE(SUM(at_start), 0) AS BIGINT),
		CAST(COALESCE(SUM(available), 0) AS BIGINT), CAST(COALESCE(SUM(reserved), 0) AS BIGINT), CAST(COALESCE(SUM(sold), 0) AS BIGINT) FROM stock`); err != nil {
		return err
	}
	return db.Row(ctx, []any{&n.notices}, "SELECT COUNT(*) FROM dispatches WHERE next_at > 0")
}

func (c Checker) fetch(ctx context.Context, url string, into any) error {
	client := c.HTTP
	if client == nil {
		client = &http.Client{Timeout: 5 * time.Second}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s answered %s", url, res.Status)
	}
	return json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(into)
}

// Fact is one comparison.
type Fact struct {
	Text, TextZh string
	Want, Got    int64
	OK           bool
}

// Report is what Check found.
type Report struct {
	Facts    []Fact
	Took     time.Duration // until everything was settled, or ctx ended
	Examples []string      // up to five orders that are wrong
}

func (n counts) report(c Checker, took time.Duration) Report {
	r := Report{Took: took, Examples: n.examples}
	same := func(en, zh string, want, got int64) {
		r.Facts = append(r.Facts, Fact{en, zh, want, got, want == got})
	}
	same("orders not settled", "未终结的订单", 0, n.unsettled)
	same("payments not decided", "未决的付款", 0, n.waiting)
	same("dispatches not sent", "未发出的发货单", 0, n.notices)
	if len(c.Accepted) > 0 {
		same(fmt.Sprintf("accepted orders lost (of %d)", len(c.Accepted)), fmt.Sprintf("丢失的已受理订单（共 %d 单）", len(c.Accepted)), 0, n.acceptedMissing)
		same("accepted orders neither paid nor declined", "既未付款也未拒付的已受理订单", 0, n.acceptedUnsettled+n.refusedAfter)
	}
	same("charged at the bank = paid orders, money", "银行扣款总额 = 已付订单总额（分）", n.paidSum, n.bankSum)
	same("charged at the bank = paid orders, count", "银行扣款笔数 = 已付订单数", n.paid, n.bankCount)
	same("orders charged more than once", "被重复扣款的订单", 0, n.bankCount-n.bankOrders)
	same("payment's book = paid orders, money", "付款账本 = 已付订单总额（分）", n.paidSum, n.paymentSum)
	same("stock sold + left = stock at start", "已售 + 剩余 = 期初库存", n.start, n.available+n.reserved+n.sold)
	same("stock still reserved", "仍被预留的库存", 0, n.reserved)
	same("pieces sold = pieces in paid orders", "已售件数 = 已付订单件数", n.paidItems, n.sold)
	same("pieces dispatched = pieces sold", "已发货件数 = 已售件数", n.sold, n.warehouseItems)
	return r
}

// Err returns nil, or an error that names every fact that does not hold.
func (r Report) Err() error {
	var wrong []string
	for _, f := range r.Facts {
		if !f.OK {
			wrong = append(wrong, fmt.Sprintf("%s: want %d, got %d", f.Text, f.Want, f.Got))
		}
	}
	if wrong == nil {
		return nil
	}
	return fmt.Errorf("invariant broken: %s", strings.Join(append(wrong, r.Examples...), "; "))
}

// String is Text in English.
func (r Report) String() string { return r.Text("en") }

// Text returns the report for people, one fact a line; lang "zh" is Chinese,
// anything else English.
func (r Report) Text(lang string) string {
	var b strings.Builder
	for _, f := range r.Facts {
		mark, text := "✓", f.Text
		if !f.OK {
			mark = "✗"
		}
		if lang == "zh" {
			text = f.TextZh
		}
		if f.OK {
			fmt.Fprintf(&b, "  %s %s: %d\n", mark, text, f.Got)
			continue
		}
		want, got := "want", "got"
		if lang == "zh" {
			want, got = "应为", "实为"
		}
		fmt.Fprintf(&b, "  %s %s: %s %d, %s %d\n", mark, text, want, f.Want, got, f.Got)
	}
	for _, e := range r.Examples {
		fmt.Fprintf(&b, "      %s\n", e)
	}
	return b.String()
}
