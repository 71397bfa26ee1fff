package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

func versionCommand() command {
	var lang string
	return command{
		name:     "version",
		about:    say{"Print the version and the commit this binary was built from", "打印版本与构建所用的提交"},
		examples: []string{"surefoot version"},
		flags:    func(f *flags) { f.text(&lang, "lang", "LANG", "", langAbout) },
		run: func(_ context.Context, io stdio, args []string) error {
			if len(args) > 0 {
				return wrong("takes no argument, got %q", "不接受参数 %q", args[0])
			}
			fmt.Fprintf(io.out, "surefoot %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}

// version is the module's version, or the commit of a build from source.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v != "" && v != "(devel)" {
		return v
	}
	v = "devel"
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	if rev := set["vcs.revision"]; rev != "" {
		v += "-" + rev[:min(len(rev), 12)]
		if set["vcs.modified"] == "true" {
			v += "+changes"
		}
	}
	return v
}
