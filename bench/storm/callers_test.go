package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	failsafe "github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/budget"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/failsafe-go/failsafe-go/timeout"
	"github.com/go-kratos/aegis/circuitbreaker/sre"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/sony/gobreaker/v2"
	zero "github.com/zeromicro/go-zero/core/breaker"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/observe"
	"github.com/surefoot-go/surefoot/resilience"
	"github.com/surefoot-go/surefoot/resilience/breaker"
)

// attempt is one exchange with the target; its error is nil, errStatus, or that
// of its ctx.
type attempt func(ctx context.Context) error

// errStatus is an answer 503, with a hint when to come back if shed on purpose.
type errStatus struct{ after time.Duration }

func (errStatus) Error() string { return "503" }

// caller is one client of the target: call makes one call with its policies.
type caller struct {
	call func(ctx context.Context, a attempt) error
	// opened says how often its breaker has opened since; nil means it has none
	// that tells.
	opened func(since time.Time) int
}

// eachTry is how long a try may take where the library has no limit of its own.
const eachTry = 2 * time.Second

func limited(ctx context.Context, a attempt) error {
	ctx, cancel := context.WithTimeout(ctx, eachTry)
	defer cancel()
	return a(ctx)
}

var quiet = observe.Sinks{Log: slog.New(slog.DiscardHandler)}

// ours is a Guard; the call is idempotent.
func ours(p resilience.Policy) caller {
	p.Idempotent = true
	g := resilience.New("target", p, quiet)
	return caller{
		call: func(ctx context.Context, a attempt) error {
			_, err := resilience.Do(ctx, g, func(ctx context.Context) (struct{}, error) {
				err := a(ctx)
				if status, ok := errors.AsType[errStatus](err); ok {
					e := errs.New(errs.Unavailable, "storm", "overloaded")
					if status.after > 0 {
						return struct{}{}, e.RetryAfter(status.after)
					}
					return struct{}{}, e
				}
				return struct{}{}, err
			})
			return err
		},
		opened: func(since time.Time) (n int) {
			for _, c := range g.Snapshot().Changes {
				if c.To == breaker.Open && c.At.After(since) {
					n++
				}
			}
			return n
		},
	}
}

// plain is the loop everybody writes: 3 further tries, 100ms apart.
func plain() caller {
	return caller{call: func(ctx context.Context, a attempt) error {
		for try := 0; ; try++ {
			err := limited(ctx, a)
			if err == nil || try == 3 || ctx.Err() != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond)
		}
	}}
}

// none is a single try.
func none() caller { return caller{call: limited} }

// safely is failsafe-go; policies from the outside in.
func safely(b circuitbreaker.Builder[any], r retrypolicy.Builder[any]) caller {
	opened := openings{new([]time.Time)}
	cb := b.OnOpen(func(circuitbreaker.StateChangedEvent) { opened.add() }).Build()
	x := failsafe.With(failsafe.Policy[any](r.Build()), cb, timeout.New[any](eachTry))
	return caller{opened: opened.since, call: func(ctx context.Context, a attempt) error {
		return x.WithContext(ctx).RunWithExecution(func(e failsafe.Execution[any]) error { return a(e.Context()) })
	}}
}

// safelyByDocs has the numbers of failsafe-go's own examples.
func safelyByDocs() caller {
	return safely(
		circuitbreaker.NewBuilder[any]().WithFailureThreshold(5).WithDelay(time.Minute).WithSuccessThreshold(2),
		retrypolicy.NewBuilder[any]().WithDelay(time.Second).WithMaxRetries(3))
}

// safelyTuned uses what failsafe-go has to offer: our numbers in its policies.
func safelyTuned() caller {
	return safely(
		circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(0.5, 10, 10*time.Second).WithDelay(time.Second).WithSuccessThreshold(3),
		retrypolicy.NewBuilder[any]().WithBackoff(100*time.Millisecond, 5*time.Second).WithJitterFactor(0.5).WithMaxRetries(3).WithBudget(budget.New()))
}

// openings remembers when a breaker opened.
type openings struct{ at *[]time.Time }

func (o *openings) add() { *o.at = append(*o.at, time.Now()) }

func (o *openings) since(t time.Time) (n int) {
	for _, at := range *o.at {
		if at.After(t) {
			n++
		}
	}
	return n
}

// wire is a transport that makes the attempt it finds in the request's ctx.
type wire struct {
	b *gobreaker.CircuitBreaker[*http.Response]
}

type key struct{}

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	return w.b.Execute(func() (*http.Response, error) {
		err := limited(r.Context(), r.Context().Value(key{}).(attempt))
		if err != nil {
			return nil, err
		}
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	})
}

// retryable is retryablehttp with gobreaker in its transport, the defaults of
// both.
func retryable() caller {
	opened := openings{new([]time.Time)}
	c := retryablehttp.NewClient()
	c.Logger = nil
	c.HTTPClient = &http.Client{Transport: wire{gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				opened.add()
			}
		},
	})}}
	return caller{opened: opened.since, call: func(ctx context.Context, a attempt) error {
		r, err := retryablehttp.NewRequestWithContext(context.WithValue(ctx, key{}, a), http.MethodGet, "http://target/", nil)
		if err != nil {
			return err
		}
		resp, err := c.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}}
}

// kratos is its breaker, as its client middleware uses it; it does not retry.
func kratos() caller {
	b := sre.NewBreaker()
	return caller{call: func(ctx context.Context, a attempt) error {
		if err := b.Allow(); err != nil {
			b.MarkFailed() // as the middleware does
			return err
		}
		err := limited(ctx, a)
		if err != nil {
			b.MarkFailed()
		} else {
			b.MarkSuccess()
		}
		return err
	}}
}

// gozero is its breaker, as its clients use it; they do not retry.
func gozero() caller {
	b := zero.NewBreaker()
	return caller{call: func(ctx context.Context, a attempt) error {
		return b.DoCtx(ctx, func() error { return limited(ctx, a) })
	}}
}
