#!/usr/bin/env bash
# Runs every test. --quick runs what needs no installs.
set -euo pipefail
cd "$(dirname "$0")"
quick=0
[ "${1:-}" = "--quick" ] && quick=1

step() { printf '\n== %s\n' "$*"; }

if [ $quick = 0 ]; then
	step "tools"
	need=()
	for pair in openssl:openssl ldapsearch:ldap-utils slapd:slapd psql:postgresql chromium:chromium curl:curl python3:python3 node:nodejs npm:npm zbarimg:zbar-tools pdffonts:poppler-utils; do
		PATH="$PATH:/usr/sbin" command -v "${pair%%:*}" >/dev/null || need+=("${pair##*:}")
	done
	fc-list 2>/dev/null | grep -qi 'noto.*cjk' || need+=(fonts-noto-cjk fontconfig)
	if [ ${#need[@]} -gt 0 ]; then
		sudo=""
		[ "$(id -u)" = 0 ] || sudo=sudo
		$sudo apt-get update -q
		DEBIAN_FRONTEND=noninteractive $sudo apt-get install -q -y --no-install-recommends "${need[@]}"
	fi
fi

step "build, vet, format"
go build ./...
go vet ./...
test -z "$(gofmt -l $(git ls-files '*.go'))" || { gofmt -l $(git ls-files '*.go'); exit 1; }

step "go test"
go test ./...
[ $quick = 1 ] && exit 0

step "stores on PostgreSQL"
./test/postgres.sh go test -count=1 ./pki/... ./base/... ./casework/... ./access/...

step "every story"
go test -count=1 -timeout 20m ./test/story -long

step "crash: kill -9 under load"
go test -count=1 -timeout 20m ./test/crash -long

if [ -f test/browser/console.mjs ]; then
	step "browser"
	./test/browser/run.sh
fi

step "fuzz, briefly"
./test/fuzz.sh 3s

printf '\nall tests passed\n'
