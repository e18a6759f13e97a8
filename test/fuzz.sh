#!/usr/bin/env bash
# Runs every fuzz target for a while: test/fuzz.sh 10s
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r dir; do
	grep -hoE '^func Fuzz[A-Za-z0-9]+' "$dir"/*_test.go | sed 's/func //' | sort -u | while read -r name; do
		echo "$dir $name"
		go test "$dir" -run '^$' -fuzz "^$name\$" -fuzztime "$time" >"$out" 2>&1 </dev/null && continue
		# Workers that are busy when the time is up are told so as a failure (golang/go#75804); a finding names its input.
		grep -q 'context deadline exceeded' "$out" && ! grep -qE 'Failing input|panic:|_test\.go:|to re-run' "$out" && continue
		cat "$out"
		exit 1
	done
done
