package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/shop/invariant"
)

// expect waits until seen says yes, prints what it saw as one step, and
// returns the time since the fault. A step that does not come in time fails
// the story.
func (s *system) expect(ctx context.Context, within time.Duration, what say, seen func(context.Context) (string, bool)) (time.Duration, error) {
	var detail string
	ok := poll(ctx, within, 100*time.Millisecond, func(ctx context.Context) (done bool) {
		detail, done = seen(ctx)
		return done
	})
	if !ok {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		text := s.v.text(what)
		if detail != "" {
			text += " — " + detail
		}
		s.v.step("✗", text)
		return 0, fmt.Errorf("%w: not seen within %s: %s", ErrStory, within, text)
	}
	text := s.v.text(what)
	if detail != "" {
		text += " — " + detail
	}
	s.v.step("✓", text)
	return time.Since(s.v.fault), nil
}

// must is expect for a step whose time nobody asks for.
func (s *system) must(ctx context.Context, within time.Duration, what say, seen func(context.Context) (string, bool)) error {
	_, err := s.expect(ctx, within, what, seen)
	return err
}

// until waits for a time after the fault.
func (s *system) until(ctx context.Context, after time.Duration) error {
	t := time.NewTimer(time.Until(s.v.fault.Add(after)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// failed tells a step that went wrong in a way waiting cannot mend.
func (s *system) failed(what say, args ...any) error {
	text := s.v.text(what, args...)
	s.v.step("✗", text)
	return fmt.Errorf("%w: %s", ErrStory, text)
}

// learn is how long healthy traffic runs once the whole graph is known: the
// detector does not judge a target in the first ten seconds it sees of it.
const learn = 11 * time.Second

// healthy waits for the graph to be drawn from telemetry and for the detector
// to have a past to compare with, and shows the graph.
func (s *system) healthy(ctx context.Context) error {
	s.v.title(say{"1. A healthy shop", "一、健康的商店"})
	want := []string{"gateway>user", "gateway>order", "order>payment", "order>inventory", "payment>bank", "inventory>warehouse"}
	var g graph
	var known time.Time // since when the graph has been whole
	err := s.must(ctx, 60*time.Second, say{"the dependency graph is drawn from the services' own telemetry", "依赖图已由各服务自身的遥测数据绘出"},
		func(ctx context.Context) (string, bool) {
			var err error
			if g, err = s.plane.topology(ctx); err != nil {
				return err.Error(), false
			}
			var missing []string
			for _, w := range want {
				if !slices.ContainsFunc(g.Edges, func(e edge) bool { return e.From+">"+e.To == w && e.Rate > 0 }) {
					missing = append(missing, w)
				}
			}
			if len(missing) > 0 {
				return fmt.Sprintf("missing %s", strings.Join(missing, ", ")), false
			}
			if known.IsZero() {
				known = time.Now()
			}
			return "", time.Since(known) >= learn
		})
	if err != nil {
		return err
	}
	s.v.block(tree(g, s.v.text(say{"external", "外部依赖"})))
	if list, err := s.plane.incidents(ctx); err != nil {
		return err
	} else if i := slices.IndexFunc(list, incident.open); i >= 0 {
		return s.failed(say{"an incident is open although nothing is wrong: %s", "无故障时却出现了事件：%s"}, s.incidentTitle(list[i]))
	}
	return nil
}

func (s *system) incidentTitle(i incident) string {
	if s.v.zh && i.TitleZh != "" {
		return i.TitleZh
	}
	return i.Title
}

// strike puts the fault in and starts the clock that every later step shows.
func (s *system) strike(what say, do func() error) error {
	if err := do(); err != nil {
		return err
	}
	s.v.fault = time.Now()
	s.v.step("⚡", s.v.text(what))
	return nil
}

// noticed waits for the incident and its diagnosis, checks that it names
// origin, and prints the report.
func (s *system) noticed(ctx context.Context, origin string) (incident, error) {
	var inc incident
	fault := s.v.fault
	symptom, err := s.expect(ctx, 40*time.Second, say{"the control plane opens an incident", "控制平面开启事件"},
		func(ctx context.Context) (string, bool) {
			list, err := s.plane.incidents(ctx)
			if err != nil {
				return err.Error(), false
			}
			for _, i := range list {
				if busy, real := i.lasts(); i.open() && (i.OpenedAt.After(fault.Add(-time.Second)) || busy && real) {
					inc = i
					return s.incidentTitle(i), true
				}
			}
			return "", false
		})
	if err != nil {
		return inc, err
	}
	s.note(say{"fault to symptom", "从故障到告警"}, seconds(symptom))
	var rep report
	diagnosed, err := s.expect(ctx, 40*time.Second, say{"the diagnosis names the origin", "诊断指出根因"},
		func(ctx context.Context) (string, bool) {
			var err error
			if rep, err = s.plane.report(ctx, inc.ID); err != nil {
				return err.Error(), false
			}
			return rep.Origin.Name, rep.Origin.Name == origin
		})
	if err != nil {
		return inc, err
	}
	s.note(say{"fault to diagnosis", "从故障到诊断"}, seconds(diagnosed))
	md, err := s.plane.markdown(ctx, inc.ID, s.lang())
	if err != nil {
		return inc, err
	}
	s.v.block(md)
	return inc, nil
}

func (s *system) lang() string {
	if s.v.zh {
		return "zh"
	}
	return "en"
}

// resolved waits for the incident to end.
func (s *system) resolved(ctx context.Context, id string) error {
	return s.must(ctx, 90*time.Second, say{"the incident is resolved", "事件已解决"}, func(ctx context.Context) (string, bool) {
		list, err := s.plane.incidents(ctx)
		if err != nil {
			return err.Error(), false
		}
		for _, i := range list {
			if i.ID == id {
				return "", i.over()
			}
		}
		return "incident " + id + " is gone", false
	})
}

// breaker waits until payment's breaker towards the bank shows the state:
// 0 closed, 2 open.
func (s *system) breaker(ctx context.Context, state float64, within time.Duration, what say) error {
	return s.must(ctx, within, what, func(ctx context.Context) (string, bool) {
		v, found, err := s.plane.value(ctx, `max(surefoot_breaker_state{service_name="payment",surefoot_target="bank"})`)
		if err != nil {
			return err.Error(), false
		}
		return "", found && v == state
	})
}

// pending waits until more than n orders stand as payment pending.
func (s *system) pending(ctx context.Context, n int64, within time.Duration) error {
	before := s.load.Stats().Pending
	return s.must(ctx, within, say{"the fallback answers: orders are accepted as payment pending", "降级生效：订单以“待付款”受理"}, func(context.Context) (string, bool) {
		got := s.load.Stats().Pending - before
		return s.v.text(say{"%d orders so far", "已有 %d 单"}, got), got > n
	})
}

// settled waits until every order has reached its end, then proves the
// invariants.
func (s *system) settled(ctx context.Context) error {
	var rep invariant.Report
	checker := s.checker()
	err := s.must(ctx, 90*time.Second, say{"every pending payment is settled", "所有待付款均已结清"}, func(ctx context.Context) (string, bool) {
		n, err := checker.Unsettled(ctx)
		if err != nil {
			return err.Error(), false
		}
		return s.v.text(say{"%d pending", "剩余 %d 笔"}, n), n == 0
	})
	if err != nil {
		return err
	}
	if rep, err = checker.Check(ctx); err != nil {
		return errs.New(errs.Internal, "e2e.settled", "cannot check the invariants").Because(err)
	}
	s.v.block(rep.Text(s.lang()))
	if err := rep.Err(); err != nil {
		return errors.Join(ErrStory, err)
	}
	s.v.step("✓", s.v.text(say{"no order lost, nobody charged twice, stock adds up", "无订单丢失，无重复扣款，库存相符"}))
	return nil
}

// epilogue prints what was measured.
func (s *system) epilogue(context.Context) error {
	total, _ := s.kids.memory()
	if total > 0 {
		s.note(say{"memory, shared pages counted once", "内存（共享页只计一次）"}, fmt.Sprintf("%d MB", total>>20))
	}
	st := s.load.Stats()
	s.note(say{"orders accepted", "受理订单"}, fmt.Sprint(st.Accepted))
	s.v.title(say{"Measured", "实测"})
	for _, f := range s.measured {
		s.v.print(fmt.Sprintf("  %-36s %s", s.v.text(f.name), f.value))
	}
	s.v.step("✓", s.v.text(say{"the story came true", "故事成真"}))
	return nil
}
