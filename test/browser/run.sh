#!/usr/bin/env bash
# Builds the program, starts it on a folder of its own and drives its consoles.
set -euo pipefail
cd "$(dirname "$0")"
[ -d node_modules ] || npm install --silent --no-audit --no-fund
dir=$(mktemp -d)
go build -o "$dir/hufu" ../../cmd/hufu
"$dir/hufu" up --dir "$dir/D" --base-port "${BASE_PORT:-29000}" >"$dir/up.log" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null; wait $pid 2>/dev/null; rm -rf "$dir"' EXIT
for _ in $(seq 100); do [ -f "$dir/D/endpoints.json" ] && break; sleep 0.1; done
[ -f "$dir/D/endpoints.json" ] || { cat "$dir/up.log" >&2; exit 1; }
export HUFU="$dir/hufu"
for t in ${TESTS:-console manage self authority units narrow archive}; do node $t.mjs "$dir/D" "${SCREENS:-}"; done
