module github.com/surefoot-go/surefoot/bench

go 1.26.0
