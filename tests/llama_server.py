#!/usr/bin/env python3
"""Stands in for llama-server: the llama.cpp server of the wheel `xllamacpp`, started with llama-server's arguments.

usage: llama_server.py -m T.gguf [-md D.gguf] [--spec-type TYPE] [--spec-draft-n-max N] [-np N] [-c N] [--metrics] --port N
"""
import argparse
import signal
import threading

import xllamacpp

parser = argparse.ArgumentParser()
parser.add_argument("-m", "--model", required=True)
parser.add_argument("-md", "--model-draft")
parser.add_argument("--spec-type")
parser.add_argument("--spec-draft-n-max", type=int, default=3)
parser.add_argument("-np", "--parallel", type=int, default=1)
parser.add_argument("-c", "--ctx-size", type=int, default=4096)
parser.add_argument("-ub", "--ubatch-size", type=int)
parser.add_argument("-ctk", "--cache-type-k")
parser.add_argument("-ctv", "--cache-type-v")
parser.add_argument("-t", "--threads", type=int)
parser.add_argument("-lv", "--verbosity", type=int)
parser.add_argument("--metrics", action="store_true")
parser.add_argument("--no-metrics", action="store_true", help="as if --metrics had not been given")
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, required=True)
args = parser.parse_args()

params = xllamacpp.CommonParams()
params.model.path = args.model
params.port = args.port
params.n_ctx = args.ctx_size
params.n_parallel = args.parallel
params.endpoint_metrics = args.metrics and not args.no_metrics
if args.ubatch_size:
    params.n_ubatch = args.ubatch_size
if args.threads:
    params.cpuparams.n_threads = args.threads
if args.verbosity:
    params.verbosity = args.verbosity
for name in ("k", "v"):
    wanted = getattr(args, f"cache_type_{name}")
    if wanted:
        setattr(params, f"cache_type_{name}", getattr(xllamacpp.ggml_type, f"GGML_TYPE_{wanted.upper()}"))
if args.model_draft:
    params.speculative.draft.mparams.path = args.model_draft
    params.speculative.draft.n_max = args.spec_draft_n_max
if args.spec_type:
    name = "COMMON_SPECULATIVE_TYPE_" + args.spec_type.upper().replace("-", "_")
    params.speculative.types = [getattr(xllamacpp.common_speculative_type, name)]

server = xllamacpp.Server(params)
print("listening", server.listening_address, flush=True)
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
ended.wait()
