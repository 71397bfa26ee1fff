package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

func instancesCommand() command {
	var p plane
	var lang string
	var asJSON bool
	return command{
		name: "instances", args: "[SERVICE] [flags]",
		about: say{"List the instances that are registered", "列出已注册的实例"},
		more: say{
			"What the registry says, which may be less than what clients use: they keep a set\nthat was good.",
			"这是注册中心的内容；客户端会保留曾经可用的实例集，因此可能更多。",
		},
		examples: []string{"surefoot instances", "surefoot instances payment --json"},
		flags: func(f *flags) {
			f.flag(&asJSON, "json", say{"print JSON", "输出 JSON"})
			p.flag(f)
			f.text(&lang, "lang", "LANG", "", langAbout)
		},
		run: func(ctx context.Context, io stdio, args []string) error {
			path := "/api/v1/instances"
			switch len(args) {
			case 0:
			case 1:
				path += "?service=" + url.QueryEscape(args[0])
			default:
				return wrong("takes one service, got %d", "只接受一个服务，得到 %d 个", len(args))
			}
			out, err := p.do(ctx, http.MethodGet, path, nil)
			if err != nil {
				return err
			}
			if asJSON {
				_, err = io.out.Write(out)
				return err
			}
			return showInstances(io, out)
		},
	}
}

func showInstances(io stdio, out []byte) error {
	var list struct {
		Instances []struct {
			Service string `json:"service"`
			ID      string `json:"id"`
			Addr    string `json:"addr"`
			Version string `json:"version"`
			Zone    string `json:"zone"`
			Weight  int    `json:"weight"`
		} `json:"instances"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return err
	}
	if len(list.Instances) == 0 {
		fmt.Fprintln(io.out, say{"no instance is registered", "没有已注册的实例"}.in(io.lang))
		return nil
	}
	rows := [][]string{{
		say{"SERVICE", "服务"}.in(io.lang), say{"INSTANCE", "实例"}.in(io.lang), say{"ADDRESS", "地址"}.in(io.lang),
		say{"VERSION", "版本"}.in(io.lang), say{"ZONE", "区域"}.in(io.lang), say{"WEIGHT", "权重"}.in(io.lang),
	}}
	for _, i := range list.Instances {
		rows = append(rows, []string{
			plain(i.Service), plain(i.ID), plain(i.Addr), plain(cmp.Or(i.Version, "-")), plain(cmp.Or(i.Zone, "-")), strconv.Itoa(cmp.Or(i.Weight, 1)),
		})
	}
	table(io, "", rows)
	return nil
}
