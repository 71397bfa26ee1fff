package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/surefoot-go/surefoot/errs"
	"github.com/surefoot-go/surefoot/server"
)

// plane asks a running control plane.
type plane struct{ url string }

func (p *plane) flag(f *flags) {
	def := "http://" + server.DefaultAddr
	f.StringVar(&p.url, "server", cmp.Or(os.Getenv("SUREFOOT_SERVER"), def), "")
	f.doc("server", "URL", "$SUREFOOT_SERVER, "+def, say{"the control plane to ask", "要询问的控制平面"})
}

// do sends body, as JSON when not nil, and returns the answer's body. An
// answer that is an error comes back as one.
func (p *plane) do(ctx context.Context, method, path string, body any) ([]byte, error) {
	base, err := url.Parse(p.url)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, wrong("flag --server does not take %q (a URL such as http://127.0.0.1:7600)", "选项 --server 不接受 %q（应为 http://127.0.0.1:7600 这样的 URL）", p.url)
	}
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(p.url, "/")+path, in)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return nil, err
		}
		return nil, errs.New(errs.Unavailable, "surefoot.ask", fmt.Sprintf("no control plane answers at %s; start one with 'surefoot up', or name another with --server", p.url)).Because(err)
	}
	defer func() { _ = resp.Body.Close() }()
	out, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, errs.Decode(out, resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	return out, nil
}

func topologyCommand() command {
	var p plane
	var format, lang string
	return command{
		name: "topology", args: "[flags]",
		about: say{"Print the graph of who calls whom, drawn from telemetry", "打印由遥测数据得出的调用关系图"},
		more: say{
			"External services that a caller cannot do without are marked: a failure there\nfails the caller.",
			"对调用方不可缺少的外部依赖会被标出：它们一旦失败，调用方也会失败。",
		},
		examples: []string{
			"surefoot topology --format mermaid > topology.mmd",
			"surefoot topology --format dot | dot -Tsvg > topology.svg",
			"surefoot topology --format json | jq '.edges[] | select(.strong and .external)'",
		},
		flags: func(f *flags) {
			f.text(&format, "format", "FORMAT", "mermaid", say{"mermaid, dot or json", "mermaid、dot 或 json"})
			p.flag(f)
			f.text(&lang, "lang", "LANG", "", langAbout)
		},
		run: func(ctx context.Context, io stdio, args []string) error {
			if len(args) > 0 {
				return wrong("takes no argument, got %q", "不接受参数 %q", args[0])
			}
			if format != "mermaid" && format != "dot" && format != "json" {
				return wrong("flag --format does not take %q (mermaid, dot or json)", "选项 --format 不接受 %q（mermaid、dot 或 json）", format)
			}
			out, err := p.do(ctx, http.MethodGet, "/api/v1/topology?format="+format, nil)
			if err != nil {
				return err
			}
			_, err = io.out.Write(out)
			return err
		},
	}
}

func incidentsCommand() command {
	var p plane
	var lang string
	var open, asJSON bool
	return command{
		name: "incidents", args: "[ID] [flags]",
		about: say{"List incidents, or print the report on one", "列出事件，或打印某个事件的诊断报告"},
		examples: []string{
			"surefoot incidents --open",
			"surefoot incidents inc-20261123-0001 > report.md",
		},
		flags: func(f *flags) {
			f.flag(&open, "open", say{"only those that are not resolved", "只列出未恢复的事件"})
			f.flag(&asJSON, "json", say{"print JSON", "输出 JSON"})
			p.flag(f)
			f.text(&lang, "lang", "LANG", "", langAbout)
		},
		run: func(ctx context.Context, io stdio, args []string) error {
			switch len(args) {
			case 0:
				return listIncidents(ctx, io, &p, open, asJSON)
			case 1:
				path := "/api/v1/incidents/" + url.PathEscape(args[0]) + "/report?lang=" + io.lang
				if asJSON {
					path += "&format=json"
				}
				out, err := p.do(ctx, http.MethodGet, path, nil)
				if err != nil {
					return err
				}
				_, err = io.out.Write(out)
				return err
			default:
				return wrong("takes one incident, got %d", "只接受一个事件，得到 %d 个", len(args))
			}
		},
	}
}

func listIncidents(ctx context.Context, io stdio, p *plane, open, asJSON bool) error {
	out, err := p.do(ctx, http.MethodGet, "/api/v1/incidents", nil)
	if err != nil {
		return err
	}
	var list struct {
		Incidents []json.RawMessage `json:"incidents"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return err
	}
	kept := []json.RawMessage{}
	for _, raw := range list.Incidents {
		var i struct {
			ID       string    `json:"id"`
			State    string    `json:"state"`
			Title    string    `json:"title"`
			TitleZh  string    `json:"titleZh"`
			Origin   string    `json:"origin"`
			OpenedAt time.Time `json:"openedAt"`
		}
		if err := json.Unmarshal(raw, &i); err != nil {
			return err
		}
		if open && i.State != "open" {
			continue
		}
		kept = append(kept, raw)
		if !asJSON {
			fmt.Fprintf(io.out, "%s  %s  %s  %s\n", i.ID, pad(i.State, 8), i.OpenedAt.Local().Format(time.DateTime), plain(say{i.Title, i.TitleZh}.in(io.lang)))
		}
	}
	if asJSON {
		return json.NewEncoder(io.out).Encode(kept)
	}
	return nil
}

// plain keeps what services call themselves from steering the terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, s)
}
