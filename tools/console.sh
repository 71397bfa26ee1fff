#!/usr/bin/env bash
# The console's own checks.
#   console.sh check            types, unit tests, and that a fresh build equals the committed dist
#   console.sh browser BINARY   every page in a real Chromium, against the demo run by BINARY
# PORT_BASE moves the demo's ports, SHOTS names a folder for screenshots.
set -euo pipefail
cd "$(dirname "$0")/.."
web=server/console/web

deps() { [ -d $web/node_modules ] || (cd $web && npm ci --no-audit --no-fund --silent); }

case ${1:-} in
check)
	deps
	(cd $web && npm run --silent typecheck && npm test --silent)
	before=$(mktemp -d)
	trap 'rm -rf "$before"' EXIT
	cp -r server/console/dist "$before/"
	(cd $web && npm run --silent build)
	if ! diff -r "$before/dist" server/console/dist; then
		echo "console: the committed dist is not what its source builds; run \`make console\` and commit it" >&2
		exit 1
	fi
	;;
browser)
	deps
	bin=$2
	base=${PORT_BASE:-22600}
	log=$(mktemp)
	CHROMIUM=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
	export CHROMIUM
	"$bin" demo --headless --for 10m --port-base "$base" >"$log" 2>&1 &
	demo=$!
	trap 'kill -TERM $demo 2>/dev/null; wait $demo 2>/dev/null || true; rm -f "$log"' EXIT
	url=http://127.0.0.1:$base
	# The browser comes when there is a report to look at.
	for _ in $(seq 200); do
		curl -fsS "$url/api/v1/incidents" 2>/dev/null | grep -q '"hasReport":true' && break
		kill -0 $demo 2>/dev/null || break
		sleep 0.5
	done
	if ! (cd $web && node e2e/console.e2e.mjs "$url" --otlp "http://127.0.0.1:$((base + 2))" --need traces,incident,report ${SHOTS:+--shots "$SHOTS"}); then
		echo "the demo it looked at said:" >&2
		tail -n 20 "$log" >&2
		exit 1
	fi
	;;
*)
	echo "usage: console.sh check | browser BINARY" >&2
	exit 2
	;;
esac
