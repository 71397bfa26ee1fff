module github.com/surefoot-go/surefoot/cmd/surefoot

go 1.26

require (
	github.com/surefoot-go/surefoot/server v0.0.0
	github.com/surefoot-go/surefoot/shop v0.0.0
)
