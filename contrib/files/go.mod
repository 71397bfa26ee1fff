module github.com/surefoot-go/surefoot/contrib/files

go 1.26.0

require (
	github.com/pelletier/go-toml/v2 v2.4.3
	github.com/surefoot-go/surefoot v0.0.0
	go.yaml.in/yaml/v3 v3.0.5
)
