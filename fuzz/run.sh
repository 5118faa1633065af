#!/usr/bin/env bash
# Fuzzes one target, or all, for some seconds each, on a stable toolchain without cargo-fuzz.
# usage: fuzz/run.sh [SECONDS [TARGET…]]          (cargo fuzz run TARGET works too, where a nightly is at hand)
# What is found lies in fuzz/artifacts, what leads somewhere in fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(gguf safetensors round_trip migrate)

# What libFuzzer needs to see of the code: coverage by counters, and the operands of comparisons.
flags="--cfg fuzzing -Cpasses=sancov-module"
for arg in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=" -Cllvm-args=-sanitizer-coverage-$arg"
done
host=$(rustc -vV | sed -n 's/host: //p')
RUSTFLAGS="$flags" cargo build --locked --release --target "$host"
program=${CARGO_TARGET_DIR:-target}/$host/release
# The inputs are written to files: in memory, where that is possible.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then TMPDIR=/dev/shm; fi
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/gguf-conv-fuzz.XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

# The headers of the small drafters, without their data: `Scratch` puts zeros in its place.
headers() {
    for file in ../fixtures/mini-*/drafter-q8_0.gguf; do
        head -c 36000 "$file" > "corpus/$1/$(basename "$(dirname "$file")")"
    done
}

for target in "${targets[@]}"; do
    mkdir -p "corpus/$target" artifacts
    # Seeds: the malformed files, and the small pairs cut behind their headers.
    case $target in
        safetensors)
            cp ../fixtures/bad/*.safetensors "corpus/$target"
            for file in ../fixtures/mini-*/drafter/model.safetensors; do
                head -c 6000 "$file" > "corpus/$target/$(echo "$file" | cut -d / -f 3)"
            done
            ;;
        *)
            cp ../fixtures/bad/*.gguf "corpus/$target"
            headers "$target"
            ;;
    esac
    # No input may take over 1 s or 512 MB.
    "$program/$target" "corpus/$target" -max_total_time="$seconds" -timeout=1 -rss_limit_mb=512 \
        -max_len=100000 -artifact_prefix="artifacts/$target-" -print_final_stats=1
done
