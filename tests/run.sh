#!/usr/bin/env bash
# The test command. `tests/run.sh` or `tests/run.sh all` runs everything, `tests/run.sh fast` what needs no other program.
# It needs Rust, git and Python 3 on Debian or Ubuntu, no root; all else it fetches into `target/`.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1:-all}
started=$(date +%s)
DENY_VERSION=0.20.2

step() { printf '\n== %s (%s s)\n' "$*" "$(($(date +%s) - started))"; }

# Whether cargo has a tool; what rustup can add is added, and CI does not go on without it.
tool() {
  cargo "$1" --version >/dev/null 2>&1 && return
  rustup component add "$2" >/dev/null 2>&1 && return
  if [ -n "${CI:-}" ]; then echo "error: $2 is not installed" >&2; exit 1; fi
  echo "skipped: $2 is not installed"
  return 1
}

lint() {
  step "format and lint"
  if tool fmt rustfmt; then cargo fmt --all --check; fi
  if tool clippy clippy; then cargo clippy --workspace --all-targets --locked -- -D warnings; fi
}

deny() {
  step "licences, bans and sources of dependencies"
  if ! cargo deny --version >/dev/null 2>&1; then
    cargo install cargo-deny --locked --version "$DENY_VERSION" --root target/tools
    export PATH="$PWD/target/tools/bin:$PATH"
  fi
  cargo deny check bans licenses sources
}

python() {
  step "the app and the stand-ins (Python)"
  bash tests/app/run.sh
  python3 -m unittest discover -s tests/standin -p 'test_*.py'
}

case "$mode" in
  fast)
    MONSTACK_SKIP_LAB=1 cargo test --workspace --locked
    ;;
  all)
    lint
    deny
    step "build"
    cargo build --workspace --locked
    step "programs that the tests ask"
    bash tests/tools.sh target/test-bin
    export MONSTACK_TEST_BIN=${MONSTACK_TEST_BIN:-$PWD/target/test-bin}
    python
    step "tests"
    cargo test --workspace --locked --no-fail-fast
    ;;
  *)
    echo "usage: tests/run.sh [all|fast]" >&2
    exit 2
    ;;
esac
step "all passed"
