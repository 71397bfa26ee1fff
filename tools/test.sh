#!/usr/bin/env bash
# Everything that must be true before a change lands, in the order in which a
# mistake is cheapest to find. A part whose tools are missing is installed
# where that is possible and otherwise skipped loudly; nothing is skipped in
# silence. Every step is timed.
set -euo pipefail
cd "$(dirname "$0")/.."

begun=$SECONDS
work=$(mktemp -d)
telling=() # process ids of the stories being told
trap '[ ${#telling[@]} = 0 ] || kill "${telling[@]}" 2>/dev/null; wait; rm -rf "$work"' EXIT
skipped=()
step() {
	local name=$1 t=$SECONDS
	shift
	printf '\n== %s\n' "$name"
	"$@"
	printf -- '-- %s: %d s\n' "$name" $((SECONDS - t))
}
skip() {
	skipped+=("$1")
	printf '\n!! SKIPPED: %s\n' "$1"
}
# gotest is go test with what was skipped shown, and of the rest only what
# matters: a line a package, and everything when something fails.
gotest() {
	local log=$work/go.log
	if go test -v "$@" 2>&1 | tee "$log" | grep --line-buffered -E '^(ok|FAIL)|^ *--- FAIL|SKIPPED'; then
		local s
		# What the quick pass skips for its length, the second one does.
		while IFS= read -r s; do skipped+=("$s"); done < <(grep -oE 'SKIPPED.*' "$log" | grep -v ' takes ' | sort -u)
		return 0
	fi
	grep -vE '^(=== |PASS$|\?)|^ *--- (PASS|SKIP)' "$log" | tail -n 400
	return 1
}
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo -n "$@"; else return 1; fi; }

want_chromium() {
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null && return 0
	command -v apt-get >/dev/null || return 1
	{ as_root apt-get update && as_root apt-get install -y --no-install-recommends chromium; } >"$work/apt.log" 2>&1 ||
		{ tail -n 5 "$work/apt.log"; return 1; }
}

step "build" go build work
step "the binary" go build -ldflags='-s -w' -o "$work/surefoot" ./cmd/surefoot
step "vet" go vet work
step "format and structure" make --no-print-directory fmt arch
# What drives the binary from outside comes next, without the race detector,
# which would not reach into it.
step "unit tests, race detector" gotest -race -short -timeout 15m $(go list work | grep -vE '/cmd/surefoot$|/server/e2e$')
# The stories mostly wait, so they are told beside each other and beside what
# comes next.
stories=(bank-down bank-slow bad-release leak)
base=21600
for story in "${stories[@]}"; do
	"$work/surefoot" demo --headless --story "$story" --port-base $base >"$work/$story.log" 2>&1 &
	telling+=($!)
	base=$((base + 100))
done
stories_end() {
	local failed=0 i
	for i in "${!stories[@]}"; do
		wait "${telling[$i]}" || failed=1
		cat "$work/${stories[$i]}.log"
	done
	telling=()
	return $failed
}
step "servers for real: kill -9, full disk, bad input, other SDKs; storms in fake time" gotest -timeout 10m -count=1 ./cmd/surefoot/... ./server/e2e/... \
	./telemetry ./shop ./server/coord ./server/outage ./server/topology ./resilience/shed ./bench/storm ./bench/locks ./bench/vitals
step "the stories: bank-down, bank-slow, bad-release, leak" stories_end
if command -v npm >/dev/null && command -v node >/dev/null; then
	step "console: unit tests and a build equal to the committed one" tools/console.sh check
	if want_chromium; then
		step "console in a real browser" tools/console.sh browser "$work/surefoot"
	else
		skip "the console in a real browser: no Chromium and no way to install it"
	fi
else
	skip "the console's own tests and the browser test: node and npm are not installed"
fi

printf '\nAll of it: %d s.\n' $((SECONDS - begun))
for s in "${skipped[@]}"; do printf '!! skipped: %s\n' "$s"; done
