#!/usr/bin/env node
// Runs the program, which lies in the package of this machine.
"use strict";

const { spawnSync } = require("node:child_process");

const machine = `${process.platform}-${process.arch}`;
const file = process.platform === "win32" ? "gguf-conv.exe" : "gguf-conv";

let program;
try {
  program = require.resolve(`gguf-conv-${machine}/${file}`);
} catch {
  console.error(
    `error: the package gguf-conv-${machine} is not installed: install gguf-conv without --omit=optional, or with ` +
      "`cargo install gguf-conv` where there is no such package",
  );
  process.exit(4);
}

// Ctrl-C reaches both; the program says how it ends.
process.on("SIGINT", () => {});
const { status, signal, error } = spawnSync(program, process.argv.slice(2), { stdio: "inherit" });
if (error) {
  console.error(`error: ${program}: ${error.message}`);
  process.exit(4);
}
if (signal) {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
} else {
  process.exit(status);
}
