package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func errGroup(_ *lab, fix bool) {
	results := make(chan int)
	var g errgroup.Group
	leave := make(chan struct{})
	for range 2 {
		g.Go(func() error {
			if fix {
				select {
				case results <- 1:
				case <-leave:
				}
				return nil
			}
			results <- 1 // @ errgroup
			return nil
		})
	}
	<-results // the first is enough
	close(leave)
	_ = g.Wait() // @ errgroup
}

// client is one for all requests of a process.
func (l *lab) client() *http.Client {
	return shared(l, func() *http.Client {
		return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	})
}

func bodyOpen(l *lab, fix bool) {
	res, err := l.client().Get("http://" + l.far + "/large")
	if err != nil {
		return
	}
	if fix {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}

func noTimeout(l *lab, fix bool) {
	ctx := context.Background()
	if fix {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.far+"/hang", nil)
	if err != nil {
		return
	}
	res, err := l.client().Do(r) // @ no-timeout
	if err == nil {
		res.Body.Close()
	}
}

func streamOpen(l *lab, fix bool) {
	conn := shared(l, func() *grpc.ClientConn {
		c, _ := grpc.NewClient(l.grpc, grpc.WithTransportCredentials(insecure.NewCredentials())) // a wrong address would show in the first call
		return c
	})
	ctx, cancel := context.WithCancel(context.Background())
	if fix {
		defer cancel()
	}
	stream, err := grpc_health_v1.NewHealthClient(conn).Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err == nil {
		_, _ = stream.Recv()
	}
	_ = cancel
}

func rowsLeft(l *lab, fix bool) {
	db := shared(l, func() *sql.DB { return sql.OpenDB(endless{}) })
	ctx, cancel := context.WithCancel(context.Background())
	if fix {
		defer cancel()
	}
	rows, err := db.QueryContext(ctx, "")
	if err != nil {
		cancel()
		return
	}
	rows.Next()
	if fix {
		rows.Close()
	}
	_ = cancel
}

// endless is a database whose queries have rows for ever.
type endless struct{}

func (endless) Connect(context.Context) (driver.Conn, error)      { return endless{}, nil }
func (endless) Driver() driver.Driver                             { return nil }
func (endless) Prepare(string) (driver.Stmt, error)               { return nil, errors.ErrUnsupported }
func (endless) Begin() (driver.Tx, error)                         { return nil, errors.ErrUnsupported }
func (endless) Close() error                                      { return nil }
func (endless) Columns() []string                                 { return []string{"n"} }
func (endless) Next(to []driver.Value) error                      { to[0] = int64(1); return nil }
func (endless) Query(string, []driver.Value) (driver.Rows, error) { return endless{}, nil }
func (endless) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return endless{}, nil
}
