package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/shop/e2e"
)

func demoCommand() command {
	var d e2e.Demo
	var lang string
	return command{
		name: "demo", args: "[flags]",
		about: say{"Run a shop of seven services, break something, watch it survive", "运行由七个服务组成的商店，弄坏一处，看它如何挺住"},
		more: say{
			`Starts the control plane and the shop as processes of their own, puts them under
load, tells a story step by step, and checks at the end that no order was lost and
nobody was charged twice. Ctrl-C stops everything and leaves nothing behind.`,
			`以独立进程启动控制平面与商店，施加负载，逐步讲述一个故事，
最后核对没有订单丢失、没有人被重复扣款。Ctrl-C 会停止一切且不留痕迹。`,
		},
		examples: []string{
			"surefoot demo",
			"surefoot demo --story bad-release",
			"surefoot demo --story bank-slow --headless && echo it came true",
		},
		flags: func(f *flags) {
			f.text(&d.Story, "story", "NAME", e2e.Stories()[0], say{strings.Join(e2e.Stories(), ", "), strings.Join(e2e.Stories(), "、")})
			f.DurationVar(&d.For, "for", 0, "")
			f.doc("for", "DURATION", "", say{"keep everything running this long; until Ctrl-C by default, not at all with --headless", "保持运行的时长；默认直到 Ctrl-C，--headless 时讲完即止"})
			f.flag(&d.Headless, "headless", say{"tell the story and stop; exit code 0 only if it came true", "讲完故事即停止；只有故事成真退出码才为 0"})
			f.text(&d.Dir, "dir", "DIR", "", say{"folder for data and logs; a temporary one by default, removed at the end", "数据与日志目录；默认使用临时目录，结束时删除"})
			f.IntVar(&d.PortBase, "port-base", 17600, "")
			f.doc("port-base", "PORT", "17600", say{"first of the 30 loopback ports in use", "所用 30 个本机端口的第一个"})
			f.text(&lang, "lang", "LANG", "", langAbout)
		},
		run: func(ctx context.Context, io stdio, args []string) error {
			if len(args) > 0 {
				return wrong("takes no argument, got %q", "不接受参数 %q", args[0])
			}
			if d.For < 0 {
				return wrong("flag --for must not be negative", "选项 --for 不能为负")
			}
			exe, err := os.Executable()
			if err != nil {
				return errs.New(errs.FailedPrecondition, "surefoot.demo", "cannot find the surefoot binary itself").Because(err)
			}
			d.Exe, d.Lang, d.Out = exe, io.lang, io.out
			err = d.Run(ctx)
			if errors.Is(err, context.Canceled) && ctx.Err() != nil && !d.Headless {
				return nil // a person ended it
			}
			return err
		},
	}
}
