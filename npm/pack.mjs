// Packs what npm installs: the package `gguf-conv`, which only starts the program, and one package a machine, which holds
// it. npm takes of those the one that fits (`os`, `cpu`).
//
// usage: node npm/pack.mjs FOLDER [MACHINE=PROGRAM…]      MACHINE as in MACHINES below
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

// As node calls them (`process.platform`, `process.arch`). Linux gets the static program, which needs no libc.
const MACHINES = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64", "win32-x64"];

const here = dirname(fileURLToPath(import.meta.url));
const top = dirname(here);
const cargo = readFileSync(join(top, "Cargo.toml"), "utf8");
const field = (name) => cargo.match(new RegExp(`^${name} = "(.*)"$`, "m"))[1];
const common = { version: field("version"), description: field("description"), license: field("license") };

const [folder, ...programs] = process.argv.slice(2);
if (!folder) throw new Error("usage: node npm/pack.mjs FOLDER [MACHINE=PROGRAM…]");
mkdirSync(folder, { recursive: true });

const work = mkdtempSync(join(tmpdir(), "gguf-conv-npm-"));
try {
  const fields = {
    bin: { "gguf-conv": "bin/gguf-conv.js" },
    engines: { node: ">=18" },
    optionalDependencies: Object.fromEntries(MACHINES.map((machine) => [`gguf-conv-${machine}`, common.version])),
  };
  pack("gguf-conv", fields, (place) => {
    cpSync(join(here, "bin"), join(place, "bin"), { recursive: true });
    copyFileSync(join(top, "README.md"), join(place, "README.md"));
  });
  for (const [machine, program] of programs.map((given) => given.split("=", 2))) {
    if (!MACHINES.includes(machine)) throw new Error(`${machine} is none of ${MACHINES.join(", ")}`);
    const [os, cpu] = machine.split("-");
    const file = os === "win32" ? "gguf-conv.exe" : "gguf-conv";
    pack(`gguf-conv-${machine}`, { os: [os], cpu: [cpu], preferUnplugged: true }, (place) => {
      copyFileSync(program, join(place, file));
      chmodSync(join(place, file), 0o755);
    });
  }
} finally {
  rmSync(work, { recursive: true });
}

// Writes one package: `fill` puts its files into the folder.
function pack(name, fields, fill) {
  const place = join(work, name);
  mkdirSync(place);
  fill(place);
  for (const file of ["LICENSE-MIT", "LICENSE-APACHE"]) copyFileSync(join(top, file), join(place, file));
  writeFileSync(join(place, "package.json"), JSON.stringify({ name, ...common, ...fields }, null, 2));
  const args = ["pack", place, "--pack-destination", resolve(folder), "--loglevel=error"];
  execFileSync("npm", args, { stdio: ["ignore", "inherit", "inherit"], shell: process.platform === "win32" });
}
