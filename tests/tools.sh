#!/usr/bin/env bash
# Fetches the real programs that tests ask (promtool, amtool, nginx, ...) from the distribution, without root.
# usage: tests/tools.sh DIR
set -euo pipefail
bin=$1
mkdir -p "$bin"
bin=$(cd "$bin" && pwd)
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
  echo "skipped: no apt-get here, so the tests ask only programs that are on PATH"
  exit 0
fi
[ -e "$bin/complete" ] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
options=(-o "Dir::State=$work/state" -o "Dir::State::status=/var/lib/dpkg/status" -o "Dir::Cache=$work/cache" -o Debug::NoLocking=1)
[ "$(id -u)" = 0 ] && options+=(-o APT::Sandbox::User=root)
apt-get "${options[@]}" -qq update
(cd "$work" && apt-get "${options[@]}" -qq download prometheus prometheus-alertmanager prometheus-node-exporter nginx)
for package in "$work"/*.deb; do dpkg-deb -x "$package" "$bin/root"; done
link() {
  if [ -x "$bin/root/$1" ]; then ln -sfn "root/$1" "$bin/$2"; else echo "missing in the packages: $1"; fi
}
link usr/bin/prometheus prometheus
link usr/bin/promtool promtool
link usr/bin/prometheus-alertmanager alertmanager
link usr/bin/amtool amtool
link usr/bin/prometheus-node-exporter node_exporter
link usr/sbin/nginx nginx
touch "$bin/complete"
