package service

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"

	"github.com/surefoot-go/surefoot/canary"
	"github.com/surefoot-go/surefoot/config"
	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/balance"
)

// LogSettings is the setting "log".
type LogSettings struct {
	Level string // the least severe record that is kept: debug, info, warn or error; "" means as Telemetry says
}

// Validate says whether Level is one.
func (s LogSettings) Validate() error {
	_, err := s.level()
	return err
}

func (s LogSettings) level() (slog.Leveler, error) {
	if s.Level == "" {
		return nil, nil
	}
	var l slog.Level
	if l.UnmarshalText([]byte(s.Level)) != nil {
		return nil, fmt.Errorf("level %.32q is none of debug, info, warn, error", s.Level)
	}
	return l, nil
}

// SamplingSettings is the setting "sampling".
type SamplingSettings struct {
	Ratio *float64 // share of traces begun here that are recorded, 0 to 1; nil means as Telemetry says
}

// Validate says whether Ratio is a share.
func (s SamplingSettings) Validate() error {
	if r := s.Ratio; r != nil && !(*r >= 0 && *r <= 1) {
		return fmt.Errorf("ratio %v must be 0 to 1", *r)
	}
	return nil
}

// hot is the settings that every service has.
type hot struct {
	mu      sync.Mutex
	on      bool // from Run on
	targets map[string]*config.Value[balance.Settings]
	tunes   []tune // asked for before on
}

type tune struct {
	target string
	fn     func(balance.Settings)
}

// settings fills in Config, binds what every service has, and loads.
func (s *Service) settings(ctx context.Context) error {
	c := s.Config
	if c == nil {
		return nil
	}
	if c.Service == "" {
		c.Service = s.Name
	}
	if c.Instance == "" {
		c.Instance = s.instance()
	}
	if c.Version == "" {
		c.Version = s.version()
	}
	c.Observe = fill(c.Observe, s.sinks)
	c.Routes(&s.routes)

	var after []func()
	level := config.Bind(c, "log", LogSettings{})
	after = append(after, keep(level, func(v LogSettings) {
		l, _ := v.level() // Validate has seen it
		s.dials.SetLevel(l)
	}))
	ratio := config.Bind(c, "sampling", SamplingSettings{})
	after = append(after, keep(ratio, func(v SamplingSettings) {
		switch {
		case v.Ratio == nil:
			s.dials.SetRatio(0)
		case *v.Ratio == 0:
			s.dials.SetRatio(-1)
		default:
			s.dials.SetRatio(*v.Ratio)
		}
	}))
	if door := s.Door(); door != nil {
		after = append(after, keep(config.Bind(c, "door", door.Settings()), door.Set))
	}
	var mu sync.Mutex
	s.board.Follow(func(target string, p resilience.Policy) {
		if apply := s.policy(target, p); apply != nil {
			mu.Lock()
			defer mu.Unlock()
			after = append(after, apply)
		}
	})
	s.hot.mu.Lock()
	s.hot.on = true
	for _, t := range s.hot.tunes {
		after = append(after, s.bindBalance(t.target, t.fn))
	}
	s.hot.tunes = nil
	s.hot.mu.Unlock()

	if err := c.Load(ctx); err != nil {
		text := []string{"service: settings: " + err.Error()}
		return loud{strings.Join(append(text, errs.From(err).Details()...), "\n  "), err}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, apply := range after {
		apply()
	}
	return nil
}

// loud is an error with all that is wrong in its text, for the one who starts
// the program.
type loud struct {
	text string
	err  error
}

func (l loud) Error() string { return l.text }
func (l loud) Unwrap() error { return l.err }

// keep has set called with each value to come; the returned function calls it
// with the one in force.
func keep[T any](v *config.Value[T], set func(T)) (apply func()) {
	var mu sync.Mutex // so that the last one set is the last one there is
	apply = func() {
		mu.Lock()
		defer mu.Unlock()
		set(v.Get())
	}
	v.OnChange(func(_, _ T) { apply() })
	return apply
}

// policy binds client/<target> for every guard of the target.
func (s *Service) policy(target string, p resilience.Policy) (apply func()) {
	name := "client/" + target
	if !config.ValidKey(name) {
		s.sinks.Log.Warn("this target's policy cannot be a setting: its name makes no key", "surefoot.target", target)
		return nil
	}
	set := false
	apply = keep(config.Bind(s.Config, name, p), func(now resilience.Policy) {
		if set || !reflect.DeepEqual(now, p) { // until then each guard has its own, as coded
			set = true
			s.board.Set(target, now)
		}
	})
	apply()
	return apply
}

// OnBalance calls fn with the setting "balance/<target>" when Run has loaded it
// and after each change: for a balancer that the service does not know, such as
// that of a grpcx.Balanced (its Tune). Without Config fn is never called. Those of
// Client are kept already. Safe for concurrent use.
func (s *Service) OnBalance(target string, fn func(balance.Settings)) {
	if s.Config == nil {
		return
	}
	s.hot.mu.Lock()
	if !s.hot.on {
		s.hot.tunes = append(s.hot.tunes, tune{target, fn})
		s.hot.mu.Unlock()
		return
	}
	apply := s.bindBalance(target, fn)
	s.hot.mu.Unlock()
	apply()
}

// bindBalance needs s.hot.mu.
func (s *Service) bindBalance(target string, fn func(balance.Settings)) (apply func()) {
	v := s.hot.targets[target]
	if v == nil {
		name := "balance/" + target
		if !config.ValidKey(name) {
			return func() {}
		}
		v = config.Bind(s.Config, name, balance.Settings{}.OrDefault())
		if s.hot.targets == nil {
			s.hot.targets = map[string]*config.Value[balance.Settings]{}
		}
		s.hot.targets[target] = v
	}
	set := false
	return keep(v, func(now balance.Settings) {
		if set || now != (balance.Settings{}).OrDefault() { // until then it is as coded
			set = true
			fn(now)
		}
	})
}

// Routes is the canary routes by which Client chooses versions: Config keeps
// them as the centre says, and others may set them. Safe for concurrent use.
func (s *Service) Routes() *canary.Table { return &s.routes }
