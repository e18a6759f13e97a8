#!/usr/bin/env bash
# Runs every fuzz target for a while: test/fuzz.sh 10s
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}
grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r dir; do
	grep -hoE '^func Fuzz[A-Za-z0-9]+' "$dir"/*_test.go | sed 's/func //' | sort -u | while read -r name; do
		echo "$dir $name"
		go test "$dir" -run '^$' -fuzz "^$name\$" -fuzztime "$time" >/tmp/fuzz.$$ 2>&1 </dev/null || { cat /tmp/fuzz.$$; exit 1; }
	done
done
rm -f /tmp/fuzz.$$
