// Loads GGUF files in real llama.cpp (prebuilt, by way of node-llama-cpp) and fails if one does not load, or if one
// that is expected to be refused does.
// usage: node load.mjs FILE… [--refused FILE…]
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const args = process.argv.slice(2);
const split = args.indexOf("--refused");
const loads = split < 0 ? args : args.slice(0, split);
const refused = split < 0 ? [] : args.slice(split + 1);

const llama = await getLlama({build: "never", gpu: false, logLevel: LlamaLogLevel.error});
let passed = 0, failed = 0;

async function tryLoad(path) {
    try {
        const model = await llama.loadModel({modelPath: path});
        const size = model.size;
        await model.dispose();
        return `loaded, ${size} bytes`;
    } catch (error) {
        return error;
    }
}

for (const [paths, shouldLoad] of [[loads, true], [refused, false]]) {
    for (const path of paths) {
        const result = await tryLoad(path);
        const didLoad = !(result instanceof Error);
        didLoad === shouldLoad ? passed++ : failed++;
        console.log(`${didLoad === shouldLoad ? "ok  " : "FAIL"} ${path}: ${didLoad ? result : result.message}`);
    }
}
console.log(`llama.cpp ${llama.llamaCppRelease.release}`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
