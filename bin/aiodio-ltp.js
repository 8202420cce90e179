#!/usr/bin/env node
import { existsSync } from "node:fs";

const [command, program = "", ...argv] = process.argv.slice(2);

/** Whether there is such a testcase: each has a command of its own beside this one. */
function isProgram() {
  return program !== "aiodio-ltp" && /^[\w-]+$/.test(program) && existsSync(new URL(`${program}.js`, import.meta.url));
}

if (command === "exec" && isProgram()) {
  // As that command does it, so that nothing is different.
  const { standalone } = await import("./shared/standalone.js");
  await standalone(program, argv);
}

import("../dist/ts/cli/main.js").then(
  async ({ main }) => {
    process.exitCode = await main(process.argv.slice(2));
  },
  (error) => {
    process.stderr.write(`aiodio-ltp: not built (${error.message.split("\n")[0]}): run \`npm ci\` in its directory\n`);
    process.exitCode = 3;
  },
);
