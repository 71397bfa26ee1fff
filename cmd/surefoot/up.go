package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/surefoot-go/surefoot/safe"
	"github.com/surefoot-go/surefoot/server"
)

func upCommand() command {
	var s server.Server
	var level, cluster string
	var lang string
	return command{
		name: "up", args: "[flags]",
		about: say{"Run the control plane for your own services", "为你自己的服务运行控制平面"},
		more: say{
			`Point any OpenTelemetry SDK at the OTLP address, open the console in a browser.
All it knows is in the folder --dir; only one surefoot may use a folder at a time.
It listens on loopback and asks nobody to log in: --allow-remote lets it listen
elsewhere, behind a proxy that does. Ctrl-C or SIGTERM stops it cleanly.`,
			`把任意 OpenTelemetry SDK 指向 OTLP 地址，再用浏览器打开控制台。
所有数据都在 --dir 目录里；同一目录同时只能有一个 surefoot 使用。
默认只监听本机回环地址，且不做登录验证：--allow-remote 允许监听其他地址，
请在前面放置负责验证的代理。Ctrl-C 或 SIGTERM 可干净地停止。`,
		},
		examples: []string{
			"surefoot up",
			"surefoot up --dir /var/lib/surefoot --catalog ./services",
			"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 node app.js",
		},
		flags: func(f *flags) {
			f.text(&s.Dir, "dir", "DIR", server.DefaultDir, say{"folder for all data; made when missing", "数据目录；不存在时创建"})
			f.text(&s.Addr, "addr", "HOST:PORT", server.DefaultAddr, say{"console and HTTP API", "控制台与 HTTP API"})
			f.text(&s.OTLPGRPC, "otlp-grpc", "HOST:PORT", server.DefaultOTLPGRPC, say{"telemetry over OTLP/gRPC", "OTLP/gRPC 遥测"})
			f.text(&s.OTLPHTTP, "otlp-http", "HOST:PORT", server.DefaultOTLPHTTP, say{"telemetry over OTLP/HTTP", "OTLP/HTTP 遥测"})
			f.text(&s.Etcd, "etcd", "HOST:PORT", server.DefaultEtcd, say{"embedded etcd, for services that watch routes and config", "内嵌 etcd，供服务订阅路由与配置"})
			f.text(&s.EtcdPeer, "etcd-peer", "HOST:PORT", server.DefaultEtcdPeer, say{"embedded etcd, its own port", "内嵌 etcd 的自用端口"})
			f.text(&cluster, "etcd-cluster", "LIST", "", say{"HOST:PORT,… of your own etcd cluster, instead of the embedded etcd", "自有 etcd 集群的 HOST:PORT,…，代替内嵌 etcd"})
			f.text(&s.Catalog, "catalog", "DIR", "", say{"folder of catalog-info.yaml and runbook.md files", "catalog-info.yaml 与 runbook.md 所在目录"})
			f.flag(&s.Remote, "allow-remote", say{"allow addresses that other machines reach", "允许监听其他机器可达的地址"})
			f.text(&level, "log-level", "LEVEL", "info", say{"least log level on stderr: debug, info, warn or error", "stderr 日志级别：debug、info、warn 或 error"})
			f.text(&lang, "lang", "LANG", "", langAbout)
		},
		run: func(ctx context.Context, io stdio, args []string) error {
			if len(args) > 0 {
				return wrong("takes no argument, got %q", "不接受参数 %q", args[0])
			}
			var min slog.Level
			if err := min.UnmarshalText([]byte(level)); err != nil {
				return wrong("flag --log-level does not take %q (debug, info, warn or error)", "选项 --log-level 不接受 %q（debug、info、warn 或 error）", level)
			}
			s.Log = slog.New(slog.NewTextHandler(io.err, &slog.HandlerOptions{Level: min}))
			s.Version = version()
			for member := range strings.SplitSeq(cluster, ",") {
				if member = strings.TrimSpace(member); member != "" {
					s.EtcdCluster = append(s.EtcdCluster, member)
				}
			}
			return up(ctx, io, &s)
		},
	}
}

// up runs s until ctx ends, and says once when it is ready.
func up(ctx context.Context, io stdio, s *server.Server) error {
	tuneGC()
	start := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	said := safe.Go(ctx, "up.ready", func(ctx context.Context) error {
		select {
		case <-s.Ready():
			a := s.Addrs()
			fmt.Fprintf(io.out, say{
				"surefoot is ready after %.1f s: console http://%s, OTLP gRPC %s, OTLP HTTP http://%s, etcd %s, data in %s\n",
				"surefoot 已就绪（%.1f 秒）：控制台 http://%s，OTLP gRPC %s，OTLP HTTP http://%s，etcd %s，数据目录 %s\n",
			}.in(io.lang), time.Since(start).Seconds(), a.Addr, a.OTLPGRPC, a.OTLPHTTP, a.Etcd, a.Dir)
		case <-ctx.Done():
		}
		return nil
	})
	err := s.Run(ctx)
	cancel()
	_ = said
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// tuneGC trades a little CPU for memory, unless the person who started the
// process chose otherwise: the stores hold most of the heap for long, so the
// usual doubling before a collection is mostly waste here.
func tuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(1 << 30)
	}
}

// problem says which flag cures p.
func problem(p *server.Problem, lang string) string {
	flag := map[string]string{
		"Dir": "--dir", "Addr": "--addr", "OTLPGRPC": "--otlp-grpc", "OTLPHTTP": "--otlp-http",
		"Etcd": "--etcd", "EtcdPeer": "--etcd-peer", "EtcdCluster": "--etcd-cluster", "Catalog": "--catalog",
	}[p.Field]
	var s say
	switch p.Reason {
	case server.Taken:
		s = say{"%[1]s is taken by another program; stop it or choose another address with %[2]s", "%[1]s 已被其他程序占用；请停止它，或用 %[2]s 另选地址"}
	case server.Unwritable:
		s = say{"cannot write to folder %[1]s (%[3]v); choose another with %[2]s", "目录 %[1]s 不可写（%[3]v）；请用 %[2]s 另选目录"}
	case server.InUse:
		s = say{"folder %[1]s is in use by another surefoot; stop it or choose another folder with %[2]s", "目录 %[1]s 正被另一个 surefoot 使用；请停止它，或用 %[2]s 另选目录"}
	case server.Reachable:
		s = say{"%[1]s can be reached from other machines and nothing here asks for a password; use a loopback address for %[2]s, or say --allow-remote", "%[1]s 可被其他机器访问，而这里不做登录验证；请为 %[2]s 使用回环地址，或加上 --allow-remote"}
	case server.Damaged:
		s = say{"the data in %[1]s cannot be used (%[3]v); move that folder away to start without it, or restore a copy", "%[1]s 中的数据无法使用（%[3]v）；请移走该目录以从空白开始，或恢复备份"}
	case server.Unreadable:
		s = say{"cannot read folder %[1]s (%[3]v); correct %[2]s", "目录 %[1]s 不可读（%[3]v）；请更正 %[2]s"}
	default:
		s = say{"%[1]s is not an address to listen on (%[3]v); use HOST:PORT for %[2]s", "%[1]s 不是可监听的地址（%[3]v）；%[2]s 的格式为 HOST:PORT"}
	}
	return fmt.Sprintf(s.in(lang), p.Value, flag, p.Cause())
}
