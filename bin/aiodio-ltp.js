#!/usr/bin/env node
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const args = process.argv.slice(2);
const exec = args[0] === "exec";

/** What a testcase's command has to say for itself is a result line: that is what its readers look for. */
function broken(text) {
  process.stderr.write(`aiodio_ltp.js:1: TBROK: ${text}\n`);
  process.exit(2);
}

let main;
try {
  if (exec) {
    const failure = await require("../dist/exec.cjs").becomeTestcase(args.slice(1));
    if (failure !== undefined) broken(failure);
  }
  ({ main } = require("../dist/main.cjs"));
} catch (error) {
  const what = `not built (${error.message.split("\n")[0]}): run \`npm ci\` in its directory`;
  if (exec) broken(what);
  process.stderr.write(`aiodio-ltp: ${what}\n`);
  process.exit(3);
}
process.exitCode = await main(args);
