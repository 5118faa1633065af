#!/usr/bin/env python3
"""Holds `gguf-conv verify` to its bars: its time against llama-speculative-simple's on the same pair, prompt and number of
tokens, runs in turns, and its memory beside the mapped files.

usage: verify.py TARGET.gguf DRAFTER.gguf [--speculative PATH] [--runs N] [--generate N] [--words N]

Tells for each program the median of wall-clock and of processor time (user and system), for `verify` also the most
anonymous memory (Linux). Processor time is what to compare where other work shares the machine, whose load is told too;
a program that waits by spinning has it counted. Python's standard library is enough.
"""
import argparse
import os
import pathlib
import random
import statistics
import subprocess
import tempfile
import threading
import time

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("target", type=pathlib.Path)
ap.add_argument("drafter", type=pathlib.Path)
ap.add_argument("--speculative", type=pathlib.Path, help="llama.cpp's llama-speculative-simple")
ap.add_argument("--speculative-arg", action="append", default=[], help="passed on, such as --speculative-arg=-nr")
ap.add_argument("--runs", type=int, default=3)
ap.add_argument("--generate", type=int, help="tokens to write; without it verify's quick form, which writes 32")
ap.add_argument("--words", type=int, default=299, help="length of the prompt")
ap.add_argument("--threads", type=int, default=os.cpu_count())
ap.add_argument("--gguf-conv", type=pathlib.Path,
                default=pathlib.Path(__file__).parent.parent / "target/release/gguf-conv")
args = ap.parse_args()


def anonymous(pid):
    """Bytes of anonymous memory of a process now."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon:"))
    except (OSError, StopIteration):
        return 0


def run(command):
    """Wall-clock and processor seconds, and the most anonymous memory."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0

    def watch():
        nonlocal most
        while process.returncode is None:
            most = max(most, anonymous(process.pid))
            time.sleep(0.05)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # A drafter of random weights is not good for its target, which verify says by 1.
    if process.returncode not in (0, 1):
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, most


words = "the of and to in is that for it as was with be by on not he his but at are this have from or had an they".split()
random.seed(1)
prompt = tempfile.NamedTemporaryFile("w", suffix=".txt")
prompt.write(" ".join(random.choice(words) for _ in range(args.words)))
prompt.flush()
ours = [args.gguf_conv, "verify", args.drafter, "--target", args.target, "--prompt-file", prompt.name,
        "--threads", str(args.threads), *(["--generate", str(args.generate)] if args.generate else ["--quick"])]
programs = {"verify, f32": ours, "verify, llama.cpp's arithmetic": ours + ["--arithmetic", "llama.cpp"]}
if args.speculative:
    programs["llama-speculative-simple"] = [
        args.speculative, "-m", args.target, "-md", args.drafter, "--spec-type", "draft-mtp", "--spec-draft-n-max", "3",
        "-t", str(args.threads), "-tb", str(args.threads), "-c", "4096", "-n", str(args.generate or 32), "--temp", "0",
        "-f", prompt.name, *args.speculative_arg]
figures = {name: [] for name in programs}
for _ in range(args.runs):
    for name, command in programs.items():
        figures[name].append(run([str(word) for word in command]))
print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; medians of {args.runs}")
medians = {name: [statistics.median(column) for column in zip(*runs)] for name, runs in figures.items()}
peer = medians.get("llama-speculative-simple")
print(f"{'':32} {'wall':>9} {'processor':>10} {'memory':>9}  of the peer's wall, processor")
for name, (wall, cpu, memory) in medians.items():
    share = f"  {wall / peer[0]:.2f}, {cpu / peer[1]:.2f}" if peer else ""
    print(f"{name:32} {wall:7.1f} s {cpu:8.1f} s {memory / 1e6:6.0f} MB{share}")
