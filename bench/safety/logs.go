package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"connectrpc.com/connect"
	"github.com/go-kratos/aegis/ratelimit/bbr"
	klog "github.com/go-kratos/kratos/v2/log"
	"github.com/go-kratos/kratos/v2/middleware/logging"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/zeromicro/go-zero/core/logx"

	"github.com/surefoot-go/surefoot/httpx"
	"github.com/surefoot-go/surefoot/observe"
)

// journal is a log that an experiment reads.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func silenceGozero() { logx.SetWriter(logx.NewWriter(io.Discard)) }
func silenceKratos() { klog.SetLogger(klog.NewStdLogger(io.Discard)) }

var (
	tokenInHeader = "tok-header-" + secret
	tokenInBody   = "tok-body-" + secret
	tokenInQuery  = "tok-query-" + secret
)

// confide sends a request with a secret in its header, its body and its query.
func (l *lab) confide(url string) {
	l.fetch(http.MethodPost, url+"?token="+tokenInQuery, `{"Password":"`+tokenInBody+`"}`,
		"Content-Type", "application/json", "Authorization", "Bearer "+tokenInHeader)
}

// told says which secrets the journal holds.
func (j *journal) told(l *lab, must bool) answer {
	text := j.String()
	if must && text == "" {
		l.must(errors.New("nothing was logged at all"))
	}
	var found []string
	for _, s := range []struct{ where, token string }{
		{"Authorization header", tokenInHeader}, {"password in the body", tokenInBody}, {"token in the query", tokenInQuery},
	} {
		if strings.Contains(text, s.token) {
			found = append(found, s.where)
		}
	}
	a := unless(len(found) == 0, "a request that ended with a 5xx: its header, body and query are not in the log",
		"a request that ended with a 5xx: the log holds its "+strings.Join(found, ", "))
	if strings.Contains(text, errRaw.Error()) {
		a.saw += " (what the handler's own error says is there word for word, for those who may read logs)"
	}
	return a
}

func ourLog(l *lab) answer {
	var j journal
	s := httpx.Server{Service: "lab", Observe: observe.Sinks{Log: slog.New(slog.NewJSONHandler(&j, nil))}}
	url := l.web(s.Handle("lab.Work", func(_ http.ResponseWriter, r *http.Request) error {
		if _, err := httpx.Read[struct{ Password string }](r); err != nil {
			return err
		}
		return errRaw
	}))
	l.confide(url)
	return j.told(l, true)
}

func kratosLog(l *lab) answer {
	var j journal
	url := kratosServer(l, bbr.NewLimiter(), func(context.Context) error { return errRaw }, logging.Server(klog.NewStdLogger(&j)))
	l.confide(url + "/x")
	return j.told(l, true)
}

func gozeroLog(l *lab) answer {
	var j journal
	url := gozeroServer(l, nil, func(context.Context) error { panic("bug") })
	old := logx.Reset()
	logx.SetWriter(logx.NewWriter(&j))
	defer logx.SetWriter(old)
	l.confide(url + "/x")
	return j.told(l, true)
}

// connectLog watches the standard logger and the one of retryablehttp.
func connectLog(l *lab) answer {
	var j journal
	url := connectServer(l, func(context.Context) error { return connect.NewError(connect.CodeInternal, errRaw) })
	c := retryablehttp.NewClient()
	c.Logger = log.New(&j, "", 0)
	c.RetryMax = 0
	r, err := retryablehttp.NewRequestWithContext(l.ctx, http.MethodPost, url+procedure+"?token="+tokenInQuery,
		[]byte(`{"Password":"`+tokenInBody+`"}`))
	l.must(err)
	r.Header.Set("Authorization", "Bearer "+tokenInHeader)
	if resp, err := c.Do(r); err == nil {
		resp.Body.Close()
	}
	return j.told(l, false).over("go-retryablehttp")
}
