#!/usr/bin/env python3
"""Times gguf-conv against cp and, where they are given, against llama.cpp's tools, on the same inputs in one run.

usage: peers.py BIG_DIR [--runs N] [--convert-hf PATH] [--llama-quantize PATH] [--rlx PATH]

BIG_DIR holds drafters made by make_big.py (`e2b/`, `12b/`), and what make_sharded.py made (`target/`, `dspark/`). Runs of the programs alternate; medians are compared.
Outputs go to BIG_DIR/out and are removed. Python's standard library is enough for this script itself; --convert-hf is
run with the same Python and needs what it needs.
"""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("big", type=pathlib.Path)
ap.add_argument("--runs", type=int, default=5)
ap.add_argument("--convert-hf", type=pathlib.Path, help="llama.cpp's convert_hf_to_gguf.py")
ap.add_argument("--llama-quantize", type=pathlib.Path)
ap.add_argument("--rlx", type=pathlib.Path,
                help="a program that has the library rlx-gguf-convert write FOLDER/model.safetensors to OUT as q8_0")
ap.add_argument("--gguf-conv", type=pathlib.Path,
                default=pathlib.Path(__file__).parent.parent / "target/release/gguf-conv")
args = ap.parse_args()
out_dir = args.big / "out"
shutil.rmtree(out_dir, ignore_errors=True)
out_dir.mkdir()


def run(command):
    """Seconds, and the largest memory in MB that is neither mapped file nor page cache."""
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    start, anonymous = time.perf_counter(), 0
    while process.poll() is None:
        try:
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            anonymous = max([anonymous] + [int(l.split()[1]) for l in status.splitlines() if l.startswith("RssAnon")])
        except OSError:
            pass
        time.sleep(0.002)
    seconds = time.perf_counter() - start
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{process.stderr.read().decode()}")
    return seconds, anonymous / 1024


def compare(title, moved, ours, peers):
    """Alternates our command with the peers' and prints medians. `moved`: bytes read and written by ours."""
    results = {name: [] for name in ["gguf-conv", *peers]}
    for _ in range(args.runs):
        for name, command in {"gguf-conv": ours, **peers}.items():
            for old in out_dir.iterdir():
                old.unlink()
            results[name].append(run(command))
    median = {name: statistics.median(s for s, _ in runs) for name, runs in results.items()}
    memory = {name: max(m for _, m in runs) for name, runs in results.items()}
    print(f"{title}: {median['gguf-conv']:.2f} s, {memory['gguf-conv']:.0f} MB beyond the mapped files, "
          f"{moved / median['gguf-conv'] / 1e9:.1f} GB/s read and written")
    for name in peers:
        print(f"    {name}: {median[name]:.2f} s, {memory[name]:.0f} MB, ratio {median[name] / median['gguf-conv']:.2f}")
    sys.stdout.flush()


def size(path):
    return path.stat().st_size


for model in ["e2b", "12b"]:
    folder = args.big / model
    weights = folder / "model.safetensors"
    if not weights.exists():
        continue
    sizes = {}
    for outtype in ["bf16", "q8_0", "q4_0"]:
        probe = out_dir / "probe.gguf"
        run([args.gguf_conv, folder, "--outtype", outtype, "-o", probe, "--force"])
        sizes[outtype] = size(probe)
        out = out_dir / "ours.gguf"
        peers = {"cp of the checkpoint": ["cp", weights, out_dir / "copy"]}
        if args.convert_hf and outtype != "q4_0":
            peers["convert_hf_to_gguf.py"] = [sys.executable, args.convert_hf, folder, "--outtype", outtype,
                                              "--outfile", out_dir / "theirs.gguf"]
        if args.rlx and outtype == "q8_0":
            peers["rlx-gguf-convert"] = [args.rlx, folder, out_dir / "theirs.gguf"]
        compare(f"{model} folder to {outtype}", size(weights) + sizes[outtype],
                [args.gguf_conv, folder, "--outtype", outtype, "-o", out], peers)
    if args.llama_quantize:
        source = args.big / f"{model}-bf16.gguf"
        run([args.gguf_conv, folder, "--outtype", "bf16", "-o", source, "--force"])
        for outtype in ["q8_0", "q4_0", "q4_k_m"]:
            # An absolute path: llama-quantize takes a name that starts with a number for a file type.
            theirs = [args.llama_quantize, source.absolute(), (out_dir / "theirs.gguf").absolute(), outtype,
                      str(os.cpu_count())]
            ours = [args.gguf_conv, "quantize", source, "-o", out_dir / "ours.gguf", "--outtype", outtype]
            run([*ours[:-2], "--outtype", outtype, "--force"])
            compare(f"{model} bf16 GGUF to {outtype}", size(source) + size(out_dir / "ours.gguf"), ours,
                    {"llama-quantize": theirs, "cp of the input": ["cp", source, out_dir / "copy"]})
        source.unlink()
# What make_sharded.py made: a target in shards, and a drafter that needs that target.
target = args.big / "target"
if target.exists():
    written = args.big / "target-q8_0.gguf"
    run([args.gguf_conv, target, "--outtype", "q8_0", "-o", written, "--force"])
    for model, more, theirs in [("target", [], []),
                                ("dspark", ["--target", written], ["--target-model-dir", target])]:
        folder = args.big / model
        weights = sorted(folder.glob("*.safetensors"))
        out = out_dir / "ours.gguf"
        ours = [args.gguf_conv, folder, *more, "--outtype", "q8_0", "-o", out]
        run([*ours, "--force"])
        peers = {"cat of the checkpoint": ["sh", "-c", 'out=$1; shift; cat "$@" > "$out"', "sh", out_dir / "copy", *weights]}
        if args.convert_hf:
            peers["convert_hf_to_gguf.py"] = [sys.executable, args.convert_hf, folder, *theirs, "--outtype", "q8_0",
                                              "--outfile", out_dir / "theirs.gguf"]
        compare(f"{model} to q8_0", sum(map(size, weights)) + size(out), ours, peers)
    written.unlink()
shutil.rmtree(out_dir)
