// Package files reads settings from a folder of YAML, JSON and TOML files.
package files

import (
	_ "github.com/pelletier/go-toml/v2/unstable"
	_ "go.yaml.in/yaml/v3"

	_ "github.com/surefoot-go/surefoot/config/tree"
)
