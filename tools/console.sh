#!/usr/bin/env bash
# The console's own checks.
#   console.sh check            types, unit tests, and that a fresh build equals the committed dist
#   console.sh browser BINARY   every page in a real Chromium, against the demo run by BINARY
set -euo pipefail
cd "$(dirname "$0")/.."
web=server/console/web

deps() { [ -d $web/node_modules ] || (cd $web && npm ci --no-audit --no-fund --silent); }

case ${1:-} in
check)
	deps
	(cd $web && npm run --silent check && npm test --silent)
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
	base=22600
	"$bin" demo --headless --for 150s --port-base $base >/tmp/surefoot-browser-demo.log 2>&1 &
	demo=$!
	trap 'kill -TERM $demo 2>/dev/null; wait $demo 2>/dev/null || true' EXIT
	url=http://127.0.0.1:$base
	# The browser comes when there is an incident to look at.
	for _ in $(seq 300); do
		if curl -fsS "$url/api/v1/incidents" 2>/dev/null | grep -q '"hasReport":true'; then break; fi
		kill -0 $demo 2>/dev/null || { cat /tmp/surefoot-browser-demo.log; exit 1; }
		sleep 0.3
	done
	(cd $web && SUREFOOT_URL=$url node e2e/console.e2e.mjs)
	;;
*)
	echo "usage: console.sh check | browser BINARY" >&2
	exit 2
	;;
esac
