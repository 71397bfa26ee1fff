package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/shop/load"
)

const (
	// leakAt is the send where payment v3's goroutines stay; a test keeps it true.
	leakAt = "payment/receipts.go:41"
	// leakLimit is how soon after the first leaked goroutine the finding has to
	// be on the screen, at one of them per order and 20 orders a second.
	leakLimit = 60 * time.Second
)

// leaks says that a finding is of goroutines that v3 leaks.
func (f finding) leaks() bool { return f.Kind == "goroutines" && f.Version == "v3" }

// leak: a new version answers every order well, and leaves a goroutine behind
// for each. No rule about errors can see it.
func leak(ctx context.Context, s *system) error {
	if err := s.healthy(ctx); err != nil {
		return err
	}
	if err := s.othersHealthy(ctx); err != nil {
		return err
	}
	s.v.title(say{"2. The release", "二、发布"})
	if err := s.release(ctx, "v3"); err != nil {
		return err
	}
	v3 := canary.Route{Service: "payment", Stable: "v1", Canary: "v3", Weight: 100}
	before := s.load.Stats()
	if err := s.strike(say{"payment v3 goes out to everybody", "payment v3 发布给所有用户"}, func() error {
		_, err := s.plane.setRoute(ctx, v3, "release-bot", "roll out v3, with receipts")
		return err
	}); err != nil {
		return err
	}
	var seen finding
	took, err := s.expect(ctx, leakLimit, say{"payment itself finds the leak, and says where", "payment 自行发现泄漏，并指出位置"}, func(ctx context.Context) (string, bool) {
		list, err := s.plane.findings(ctx, "payment")
		if err != nil {
			return err.Error(), false
		}
		i := slices.IndexFunc(list, func(f finding) bool { return f.leaks() && f.State == "open" })
		if i < 0 {
			return "", false
		}
		seen = list[i]
		return s.findingText(seen), true
	})
	if err != nil {
		return err
	}
	s.note(say{"leak to finding", "从泄漏到发现"}, seconds(took))
	after := s.load.Stats()
	s.note(say{"goroutines leaked when found", "发现时已泄漏的协程"}, fmt.Sprint(seen.Count))
	if !strings.HasSuffix(seen.Blocked, leakAt) {
		return s.failed(say{"the finding names %s, not %s", "所指位置是 %s，而非 %s"}, seen.Blocked, leakAt)
	}
	if seen.TraceID == "" {
		return s.failed(say{"the finding names no request that left a goroutine behind", "没有给出任何一个泄漏协程的请求"})
	}
	if most := after.Sent - before.Sent; seen.Count <= 0 || seen.Count > most {
		return s.failed(say{"the finding counts %d goroutines after %d orders", "称泄漏了 %d 个协程，而只有 %d 单"}, seen.Count, most)
	}
	if err := s.unseen(ctx, before, v3); err != nil {
		return err
	}
	if err := s.othersHealthy(ctx); err != nil {
		return err
	}
	inc, err := s.noticed(ctx, "payment")
	if err != nil {
		return err
	}
	if md, err := s.plane.markdown(ctx, inc.ID, s.lang()); err != nil {
		return err
	} else if !strings.Contains(md, leakAt) || !strings.Contains(md, "v3") {
		return s.failed(say{"the report does not name %s and v3", "报告没有指出 %s 与 v3"}, leakAt)
	}
	if err := s.leakMended(ctx, v3); err != nil {
		return err
	}
	if err := s.resolved(ctx, inc.ID); err != nil {
		return err
	}
	if err := s.othersHealthy(ctx); err != nil {
		return err
	}
	s.endLoad()
	return s.settled(ctx)
}

// leakMended takes v3 off traffic and stops it, and waits for its findings to
// close.
func (s *system) leakMended(ctx context.Context, v3 canary.Route) error {
	s.v.title(say{"3. The way back", "三、回滚"})
	v3.Weight = 0
	if _, err := s.plane.setRoute(ctx, v3, "Chen Li", "v3 leaks a goroutine per receipt"); err != nil {
		return err
	}
	if err := s.must(ctx, 30*time.Second, say{"Chen Li takes v3 off traffic", "Chen Li 将 v3 下线"}, func(ctx context.Context) (string, bool) {
		calls, seen, err := s.plane.value(ctx, `sum(rate(traces_span_metrics_calls_total{service_name="payment",service_version="v3",span_kind="SPAN_KIND_SERVER"}[10s]))`)
		if err != nil {
			return err.Error(), false
		}
		return "", !seen || calls == 0
	}); err != nil {
		return err
	}
	s.kids.retire("payment-v3", stopLimit)
	s.v.step("✓", s.v.text(say{"v3 is stopped, and what it leaked is gone with it", "v3 已停止，泄漏的资源随之释放"}))
	return s.must(ctx, 100*time.Second, say{"the finding is closed", "该异常已消除"}, func(ctx context.Context) (string, bool) {
		list, err := s.plane.findings(ctx, "payment")
		if err != nil {
			return err.Error(), false
		}
		return "", !slices.ContainsFunc(list, func(f finding) bool { return f.State == "open" && grows[f.Kind] })
	})
}

// unseen checks that nobody but the process itself could have told: orders are
// accepted as before the release, v3 fails no call, and the rollback rule has not
// moved. A starved machine may cost some orders, fewer than the three in a hundred
// that the rule wants.
func (s *system) unseen(ctx context.Context, before load.Stats, v3 canary.Route) error {
	now := s.load.Stats()
	answered := func(st load.Stats) int64 { return st.Sent - st.InFlight }
	refused, all := answered(now)-now.Accepted-(answered(before)-before.Accepted), answered(now)-answered(before)
	if 100*refused > 3*all {
		return s.failed(say{"%d of %d orders were refused: this leak was to be silent", "%d 单被拒（共 %d 单）：泄漏本应无声"}, refused, all)
	}
	if share, called := s.version(ctx, "payment", "v3"); !called || share > 0.03 {
		return s.failed(say{"v3 was to take all orders and fail none (%.1f %% errors)", "v3 应接收所有订单且不出错（错误率 %.1f %%）"}, 100*share)
	}
	r, ok, err := s.plane.route(ctx, "payment")
	if err != nil {
		return err
	}
	if !ok || r.Weight != v3.Weight || r.Review != nil {
		return s.failed(say{"the rollback rule moved, which watches errors alone", "只看错误率的回滚规则竟然动作了"})
	}
	s.v.step("✓", s.v.text(say{"until then %d of %d orders were refused, and the rollback rule saw nothing", "此前 %d 单被拒（共 %d 单），回滚规则毫无察觉"}, refused, all))
	return nil
}

// grows are the kinds of findings that a healthy process never has, however
// little of the machine it gets.
var grows = map[string]bool{"goroutines": true, "heap": true, "descriptors": true, "timers": true, "stack": true}

// othersHealthy checks that nobody but payment v3 leaks, or has leaked, anything.
func (s *system) othersHealthy(ctx context.Context) error {
	for _, name := range []string{"gateway", "user", "order", "inventory", "payment"} {
		list, err := s.plane.findings(ctx, name)
		if err != nil {
			return err
		}
		for _, f := range list {
			if grows[f.Kind] && (name != "payment" || f.Version != "v3") {
				return s.failed(say{"%s is healthy and has a finding: %s", "%s 是健康的，却报告异常：%s"}, name, s.findingText(f))
			}
		}
	}
	return nil
}

func (s *system) findingText(f finding) string {
	if s.v.zh && f.TextZh != "" {
		return f.TextZh
	}
	return f.Text
}
