package main

import (
	"context"

	"github.com/surefoot-go/surefoot/shop"
)

func shopCommand() command {
	return command{
		name: "shop", args: "NAME [flags]", hidden: true, raw: true,
		about: say{"Run one service of the reference shop", "运行参考商店中的一个服务"},
		more: say{
			`NAME is gateway, user, order, payment, inventory, bank or warehouse. 'surefoot demo'
starts them all; this is for running one by hand, in a debugger or in a container.
'surefoot shop NAME --help' lists its flags.`,
			`NAME 为 gateway、user、order、payment、inventory、bank 或 warehouse。
'surefoot demo' 会启动全部服务；本命令用于手工、调试器或容器中单独运行其一。
'surefoot shop NAME --help' 列出其选项。`,
		},
		examples: []string{"surefoot shop bank --addr 127.0.0.1:17616 --admin 127.0.0.1:17617"},
		run: func(ctx context.Context, io stdio, args []string) error {
			if len(args) == 0 {
				return wrong("which service? gateway, user, order, payment, inventory, bank or warehouse", "哪个服务?gateway、user、order、payment、inventory、bank 或 warehouse")
			}
			if code := shop.Main(ctx, args[0], args[1:], io.err); code != 0 {
				return exit(code)
			}
			return nil
		},
	}
}
