#!/usr/bin/env bash
# Tidies every module of the workspace. The modules require each other at
# v0.0.0, which no proxy serves, and a released go.mod must not carry replace
# lines (go install refuses them): so the work is done on a copy that has them.
set -euo pipefail
cd "$(dirname "$0")/.."
m=github.com/surefoot-go/surefoot
dirs=$(sed -n 's/^\t\(\.[^ ]*\)$/\1/p' go.work)
root=$PWD
for d in ${*:-$dirs}; do
	(
		cd "$d"
		cp go.mod .tidy.mod
		touch go.sum && cp go.sum .tidy.sum
		trap 'rm -f .tidy.mod .tidy.sum' EXIT
		for o in $dirs; do
			path=$m${o#.}
			go mod edit -replace="$path=$root/$o" .tidy.mod
		done
		GOWORK=off GOFLAGS=-mod=mod go mod tidy -modfile=.tidy.mod
		for o in $dirs; do
			go mod edit -dropreplace="$m${o#.}" .tidy.mod
		done
		mv .tidy.mod go.mod
		mv .tidy.sum go.sum
		[ -s go.sum ] || rm -f go.sum
	)
done
