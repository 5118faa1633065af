#!/usr/bin/env bash
# Fuzzes one target, or all, for some seconds each, on a stable toolchain without cargo-fuzz.
# usage: fuzz/run.sh [SECONDS [TARGET…]]          (cargo fuzz run TARGET works too, where a nightly is at hand)
# What is found lies in fuzz/artifacts, what leads somewhere in fuzz/corpus. FUZZ_SEED repeats a run's inputs, as far as its time does.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] ||
    targets=(gguf safetensors round_trip migrate check diff config tokenizer imatrix hash_list arch)

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

# Seeds: the malformed files, the small pairs cut behind their headers, and the texts as they are.
seed() {
    mkdir -p "corpus/$1" artifacts
    case $1 in
        safetensors)
            cp ../fixtures/bad/*.safetensors "corpus/$1"
            for file in ../fixtures/mini-*/drafter/model.safetensors; do
                head -c 6000 "$file" > "corpus/$1/$(echo "$file" | cut -d / -f 3)"
            done
            ;;
        config | tokenizer)
            for file in ../fixtures/mini-*/drafter/"$1.json"; do
                cp "$file" "corpus/$1/$(echo "$file" | cut -d / -f 3)"
            done
            ;;
        arch) cp ../arch/*.toml "corpus/$1" ;;
        hash_list)
            for file in ../fixtures/mini-*/SHA256SUMS; do
                cp "$file" "corpus/$1/$(echo "$file" | cut -d / -f 3)"
            done
            ;;
        *)
            cp ../fixtures/bad/*.gguf "corpus/$1"
            headers "$1"
            ;;
    esac
}

# No input may take over 1 s or 512 MB. Where one process takes the other's time, libFuzzer counts it too.
run() {
    "$program/$1" "corpus/$1" -seed="${FUZZ_SEED:-0}" -max_total_time="$seconds" -timeout=$((2 * $(nproc))) -rss_limit_mb=512 \
        -max_len=100000 -artifact_prefix="artifacts/$1-" -print_final_stats=1 > "artifacts/$1.log" 2>&1 ||
        { tail -n 40 "artifacts/$1.log" && return 1; }
    echo "$1: $(sed -n 's/^stat::number_of_executed_units: *//p' "artifacts/$1.log") inputs"
}

for target in "${targets[@]}"; do seed "$target"; done
export -f run
export program seconds
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I {} bash -c 'set -euo pipefail; run {}'
