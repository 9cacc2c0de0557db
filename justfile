# List the recipes
default:
    @just --list

# All that CI runs
check:
    bash tests/run.sh all

# Fast tests alone
test:
    bash tests/run.sh fast

# Rewrite the golden files; read the diff before committing it
bless:
    MONSTACK_BLESS=1 cargo test --test golden --test config

# Build both programs
build:
    cargo build --release

# The stack on this machine, from this checkout
up: build
    target/release/monstack up

# Figures of this machine
bench: build
    python3 benches/local.py
