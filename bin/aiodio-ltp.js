#!/usr/bin/env node
import("../dist/ts/cli/main.js").then(
  async ({ main }) => {
    process.exitCode = await main(process.argv.slice(2));
  },
  (error) => {
    process.stderr.write(`aiodio-ltp: not built (${error.message.split("\n")[0]}): run \`npm ci\` in its directory\n`);
    process.exitCode = 3;
  },
);
