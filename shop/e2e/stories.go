package e2e

import (
	"context"
	"net/http"
	"time"

	"github.com/surefoot-go/surefoot/canary"
)

// bankDown: an external dependency goes away under load and comes back.
func bankDown(ctx context.Context, s *system) error {
	return s.outage(ctx, outage{
		strike: say{"the bank goes down: its connections are cut, new ones refused", "银行宕机：连接被切断，新连接被拒绝"},
		begin:  func(context.Context) error { s.bank.Cut(); return nil },
		end:    func(context.Context) error { return s.bank.Heal() },
	})
}

// bankSlow: the same dependency books every charge and then answers later than
// anyone can wait, by its own admin switch: nobody knows whether it was charged.
func bankSlow(ctx context.Context, s *system) error {
	return s.outage(ctx, outage{
		strike: say{"the bank turns slow: every answer is 3 s late", "银行变慢：每个应答迟到 3 秒"},
		begin:  func(ctx context.Context) error { return s.bankMode(ctx, "slow", 3*time.Second) },
		end:    func(ctx context.Context) error { return s.bankMode(ctx, "up", 0) },
	})
}

// An outage is one way for the bank to fail.
type outage struct {
	strike     say
	begin, end func(context.Context) error
}

// atLeast is how long the bank stays away, however soon the diagnosis is: long
// enough for a person to look at the console, and for many orders to be held.
const atLeast = 12 * time.Second

func (s *system) outage(ctx context.Context, o outage) error {
	if err := s.healthy(ctx); err != nil {
		return err
	}
	s.v.title(say{"2. The trap", "二、陷阱"})
	if err := s.strike(o.strike, func() error { return o.begin(ctx) }); err != nil {
		return err
	}
	if err := s.breaker(ctx, 2, 20*time.Second, say{"payment's breaker towards the bank opens", "payment 对银行的熔断器打开"}); err != nil {
		return err
	}
	if err := s.pending(ctx, 10, 15*time.Second); err != nil {
		return err
	}
	inc, err := s.noticed(ctx, "bank")
	if err != nil {
		return err
	}
	if err := s.until(ctx, atLeast); err != nil {
		return err
	}
	s.v.title(say{"3. The way back", "三、恢复"})
	if err := o.end(ctx); err != nil {
		return err
	}
	s.v.step("♥", s.v.text(say{"the bank is back", "银行恢复"}))
	if err := s.breaker(ctx, 0, 30*time.Second, say{"the breaker closes again", "熔断器重新闭合"}); err != nil {
		return err
	}
	if err := s.resolved(ctx, inc.ID); err != nil {
		return err
	}
	s.endLoad()
	return s.settled(ctx)
}

// badRelease: a new version goes out to some users, fails for them, and is
// taken off traffic by rule.
func badRelease(ctx context.Context, s *system) error {
	if err := s.healthy(ctx); err != nil {
		return err
	}
	s.v.title(say{"2. The release", "二、发布"})
	if err := s.release(ctx, "v2"); err != nil {
		return err
	}
	v2 := canary.Route{Service: "payment", Stable: "v1", Canary: "v2", Match: map[string]string{"tier": "premium"}, Weight: 100}
	err := s.strike(say{"payment v2 goes out to users labelled tier=premium", "payment v2 发布给标签为 tier=premium 的用户"}, func() error {
		_, err := s.plane.setRoute(ctx, v2, "release-bot", "roll out v2 to premium users")
		return err
	})
	if err != nil {
		return err
	}
	if err := s.must(ctx, 20*time.Second, say{"v2 takes premium traffic, and fails", "v2 接收 premium 流量，并出错"}, func(ctx context.Context) (string, bool) {
		share, calls := s.version(ctx, "payment", "v2")
		return s.v.text(say{"%.0f %% errors", "错误率 %.0f %%"}, 100*share), calls && share > 0.03
	}); err != nil {
		return err
	}
	inc, err := s.noticed(ctx, "payment")
	if err != nil {
		return err
	}
	took, err := s.expect(ctx, 75*time.Second, say{"the rule 'error rate over 3 % for 30 s' takes v2 off traffic and marks it pending review", "规则“错误率连续 30 秒超过 3 %”将 v2 下线并标记为待复审"}, func(ctx context.Context) (string, bool) {
		r, ok, err := s.plane.route(ctx, "payment")
		if err != nil {
			return err.Error(), false
		}
		if !ok || r.Weight != 0 || r.Review == nil {
			return "", false
		}
		return r.Review.Reason, true
	})
	if err != nil {
		return err
	}
	s.note(say{"release to rollback", "从发布到回滚"}, seconds(took))
	s.v.title(say{"3. The way back", "三、复审"})
	if status, err := s.plane.setRoute(ctx, v2, "release-bot", "try again"); status != http.StatusConflict {
		return s.failed(say{"v2 could be put back without a review (status %d, %v)", "未经复审即可恢复 v2（状态 %d，%v）"}, status, err)
	}
	s.v.step("✓", s.v.text(say{"putting v2 back is refused while it is pending review", "待复审期间拒绝恢复 v2"}))
	if status, _ := s.plane.clear(ctx, "payment", "", "no name"); status < 400 || status >= 500 {
		return s.failed(say{"a review could be cleared by nobody (status %d)", "未署名即可通过复审（状态 %d）"}, status)
	}
	s.v.step("✓", s.v.text(say{"a clearance without a name is refused", "未署名的复审被拒绝"}))
	if _, err := s.plane.clear(ctx, "payment", "Chen Li", "bug in the premium discount found; v3 will carry the fix"); err != nil {
		return err
	}
	if err := s.must(ctx, 10*time.Second, say{"Chen Li clears the review; a release is possible again", "Chen Li 通过复审，可再次发布"}, func(ctx context.Context) (string, bool) {
		r, ok, err := s.plane.route(ctx, "payment")
		if err != nil {
			return err.Error(), false
		}
		return "", ok && r.Review == nil
	}); err != nil {
		return err
	}
	if err := s.resolved(ctx, inc.ID); err != nil {
		return err
	}
	s.endLoad()
	return s.settled(ctx)
}

// version returns the error share of one version of a service, and whether it
// is called at all.
func (s *system) version(ctx context.Context, service, version string) (share float64, called bool) {
	g, err := s.plane.topology(ctx)
	if err != nil {
		return 0, false
	}
	for _, n := range g.Nodes {
		if n.Name != service {
			continue
		}
		for _, v := range n.Versions {
			if v.Version == version {
				return v.ErrorShare, v.Rate > 0
			}
		}
	}
	return 0, false
}
