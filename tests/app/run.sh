#!/usr/bin/env bash
# Runs the app's tests in the environment that monstack itself makes for the app.
set -euo pipefail
cd "$(dirname "$0")/../.."
export XDG_CACHE_HOME="$PWD/target/tmp/cache" XDG_STATE_HOME="$PWD/target/tmp/state"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${CARGO_TARGET_DIR:-target}/debug/monstack" -C "$folder" render >/dev/null
program=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["programs"]["app"]["program"])' \
  "$folder/.monstack/monstack/stack.json")
rm -rf "$folder/.monstack"
PYTHONDONTWRITEBYTECODE=1 "$(dirname "$program")/python" -m unittest discover -s tests/app
