package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/shop/catalog"
	"github.com/surefoot-go/surefoot/shop/fault"
	"github.com/surefoot-go/surefoot/shop/load"
)

// Ports, counted from PortBase.
const (
	portConsole = iota
	portOTLP
	portOTLPHTTP
	portEtcd
	portEtcdPeer
	portGateway = iota + 5
	portUser
	portOrder
	portPayment
	portPaymentV2
	portInventory
	portBank
	portBankAdmin
	portWarehouse
	portPaymentV3
	portProxyBank      = 20
	portProxyWarehouse = 21
	portsUsed          = 30
)

var portOffsets = []int{
	portConsole, portOTLP, portOTLPHTTP, portEtcd, portEtcdPeer,
	portGateway, portUser, portOrder, portPayment, portPaymentV2, portPaymentV3, portInventory, portBank, portBankAdmin, portWarehouse,
	portProxyBank, portProxyWarehouse,
}

// stopLimit is how long each process may take to drain before it is killed.
const stopLimit = 10 * time.Second

// A system is everything one demo runs.
type system struct {
	d     Demo
	v     *view
	kids  *children
	plane plane
	bank  *fault.Proxy
	ware  *fault.Proxy

	load     *load.Generator
	stopLoad context.CancelFunc
	loadDone chan struct{}

	measured  []figure
	closeOnce sync.Once
}

// A figure is one number of the story, printed at its end.
type figure struct {
	name  say
	value string
}

func newSystem(d Demo, v *view) (*system, error) {
	logs := filepath.Join(d.Dir, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, errs.New(errs.FailedPrecondition, "e2e", "cannot make "+logs).Because(err)
	}
	s := &system{d: d, v: v, kids: newChildren(d.Exe, logs)}
	s.plane = plane{url: "http://" + s.addr(portConsole), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}}
	return s, nil
}

func (s *system) addr(off int) string { return fmt.Sprintf("127.0.0.1:%d", s.d.PortBase+off) }
func (s *system) path(name string) string {
	return filepath.Join(s.d.Dir, name)
}

// watchDeaths ends the story when a process ends by itself.
func (s *system) watchDeaths(ctx context.Context, cancel context.CancelCauseFunc) {
	safe.Go(ctx, "e2e.deaths", func(ctx context.Context) error {
		select {
		case ch := <-s.kids.died:
			cancel(ch.death())
		case <-ctx.Done():
		}
		return nil
	})
}

// up starts the control plane, the outside world, the proxies, the services
// and the load, and returns when every service answers.
func (s *system) up(ctx context.Context) error {
	begun := time.Now()
	s.v.title(say{"Surefoot demo: %s", "Surefoot 演示：%s"}, s.about())
	if err := catalog.Write(s.path("catalog")); err != nil {
		return errs.New(errs.FailedPrecondition, "e2e.up", "cannot write the catalogue to "+s.path("catalog")).Because(err)
	}
	if _, err := s.kids.start("control-plane", "up",
		"--dir", s.path("plane"), "--catalog", s.path("catalog"), "--addr", s.addr(portConsole),
		"--otlp-grpc", s.addr(portOTLP), "--otlp-http", s.addr(portOTLPHTTP),
		"--etcd", s.addr(portEtcd), "--etcd-peer", s.addr(portEtcdPeer)); err != nil {
		return err
	}
	if err := s.outside(); err != nil {
		return err
	}
	if err := s.answer(ctx, "control-plane", s.plane.url+"/readyz"); err != nil {
		return err
	}
	s.note(say{"control plane ready after", "控制平面就绪用时"}, seconds(time.Since(begun)))
	if err := s.services(); err != nil {
		return err
	}
	for name, off := range map[string]int{"user": portUser, "gateway": portGateway} {
		if err := s.answer(ctx, name, "http://"+s.addr(off)+"/readyz"); err != nil {
			return err
		}
	}
	for name, off := range map[string]int{"order": portOrder, "payment": portPayment, "inventory": portInventory} {
		if err := s.listens(ctx, name, s.addr(off)); err != nil {
			return err
		}
	}
	if !s.d.Headless {
		s.v.line(say{"\n  Console   %s", "\n  控制台    %s"}, s.v.paint("1;4", s.plane.url))
	}
	s.v.line(say{"  Data      %s", "  数据目录  %s"}, s.d.Dir)
	s.v.line(say{"  Running   8 processes, %.0f orders a second, open loop", "  运行      8 个进程，每秒 %.0f 单，开环负载"}, s.d.Rate)
	s.startLoad(ctx)
	return nil
}

func (s *system) about() string {
	for _, st := range stories {
		if st.name == s.d.Story {
			return s.v.text(st.about)
		}
	}
	return s.d.Story
}

// outside starts what does not belong to the shop, and the proxies before it.
func (s *system) outside() (err error) {
	if _, err = s.kids.start("bank", "shop", "bank", "--addr", s.addr(portBank), "--admin", s.addr(portBankAdmin), "--dsn", s.path("bank.db")); err != nil {
		return err
	}
	if _, err = s.kids.start("warehouse", "shop", "warehouse", "--addr", s.addr(portWarehouse), "--dsn", s.path("warehouse.db")); err != nil {
		return err
	}
	if s.bank, err = fault.Listen("bank", s.addr(portProxyBank), s.addr(portBank)); err != nil {
		return errs.New(errs.FailedPrecondition, "e2e.outside", "cannot open the proxy before the bank").Because(err)
	}
	if s.ware, err = fault.Listen("warehouse", s.addr(portProxyWarehouse), s.addr(portWarehouse)); err != nil {
		return errs.New(errs.FailedPrecondition, "e2e.outside", "cannot open the proxy before the warehouse").Because(err)
	}
	return nil
}

func (s *system) services() error {
	common := []string{"--otlp", s.addr(portOTLP), "--etcd", s.addr(portEtcd)}
	for _, svc := range []struct {
		name string
		args []string
	}{
		{"user", []string{"--addr", s.addr(portUser), "--dsn", s.path("user.db")}},
		{"inventory", []string{"--addr", s.addr(portInventory), "--dsn", s.path("inventory.db"), "--warehouse", "http://" + s.addr(portProxyWarehouse)}},
		{"payment", s.paymentArgs(portPayment, "v1")},
		{"order", []string{"--addr", s.addr(portOrder), "--dsn", s.path("order.db"), "--payment", s.addr(portPayment), "--payment-v2", s.addr(portPaymentV2), "--payment-v3", s.addr(portPaymentV3), "--inventory", s.addr(portInventory)}},
		{"gateway", []string{"--addr", s.addr(portGateway), "--user", "http://" + s.addr(portUser), "--order", s.addr(portOrder)}},
	} {
		args := append([]string{"shop", svc.name}, svc.args...)
		if _, err := s.kids.start(svc.name, append(args, common...)...); err != nil {
			return err
		}
	}
	return nil
}

func (s *system) paymentArgs(port int, version string) []string {
	return []string{"--addr", s.addr(port), "--version", version, "--dsn", s.path("payment.db"), "--bank", "http://" + s.addr(portProxyBank)}
}

// bankMode turns the bank's own admin switch.
func (s *system) bankMode(ctx context.Context, mode string, delay time.Duration) error {
	bank := plane{url: "http://" + s.addr(portBankAdmin), client: s.plane.client}
	_, err := bank.do(ctx, http.MethodPut, "/admin/mode", map[string]any{"mode": mode, "delayMs": delay.Milliseconds()}, nil)
	return err
}

// release starts another version of payment beside the first.
func (s *system) release(ctx context.Context, version string) error {
	name, port := "payment-"+version, map[string]int{"v2": portPaymentV2, "v3": portPaymentV3}[version]
	args := append([]string{"shop", "payment"}, s.paymentArgs(port, version)...)
	args = append(args, "--otlp", s.addr(portOTLP), "--etcd", s.addr(portEtcd))
	if _, err := s.kids.start(name, args...); err != nil {
		return err
	}
	return s.listens(ctx, name, s.addr(port))
}

// readyLimit bounds the wait for one process to answer on a busy machine.
const readyLimit = 30 * time.Second

// answer waits until url answers 200.
func (s *system) answer(ctx context.Context, name, url string) error {
	client := &http.Client{Timeout: time.Second}
	return s.await(ctx, name, func(ctx context.Context) bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false
		}
		resp, err := client.Do(req)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// listens waits until something accepts connections at addr.
func (s *system) listens(ctx context.Context, name, addr string) error {
	return s.await(ctx, name, func(ctx context.Context) bool {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
}

func (s *system) await(ctx context.Context, name string, ok func(context.Context) bool) error {
	if !poll(ctx, readyLimit, 50*time.Millisecond, ok) {
		return errs.New(errs.Internal, "e2e", fmt.Sprintf("%s is not ready after %s; its last lines:\n%s", name, readyLimit, tail(filepath.Join(s.d.Dir, "logs", name+".log"), 12)))
	}
	return nil
}

// poll asks ok every step until it says yes, limit has passed, or ctx ends.
func poll(ctx context.Context, limit, step time.Duration, ok func(context.Context) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t := time.NewTicker(step)
	defer t.Stop()
	for {
		if ok(ctx) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
		}
	}
}

func (s *system) note(name say, value string) {
	s.measured = append(s.measured, figure{name, value})
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// close stops everything, load first and the control plane last. It may be
// called twice.
func (s *system) close() {
	s.closeOnce.Do(func() {
		s.endLoad()
		s.kids.end(stopLimit)
		if s.bank != nil {
			s.bank.Close()
		}
		if s.ware != nil {
			s.ware.Close()
		}
		s.plane.client.CloseIdleConnections()
	})
}
