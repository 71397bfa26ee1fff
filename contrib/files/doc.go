// Package files reads settings from a folder of YAML, JSON and TOML files, for
// package config.
//
//	c := &config.Config{Service: "order", Files: &files.Folder{Dir: "conf", Service: "order"}}
//
// It is a module of its own so that nobody gets two parsers who wanted none. It
// looks at the folder each second instead of asking the kernel to be told: that
// works on every file system, and with editors that rename, with links that are
// swapped (a ConfigMap of Kubernetes), and with folders that come and go.
package files
