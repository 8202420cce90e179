#!/usr/bin/env node
const [command, program, ...argv] = process.argv.slice(2);

/** The testcases' own supervisor takes this process's place. */
async function becomeTestcase() {
  const [{ programs }, { execPath, root }, { becomeProgram }] = await Promise.all([
    import("../dist/ts/testcase/registry.js"),
    import("../dist/ts/base/package.js"),
    import("../native/index.js"),
  ]);
  if (!programs.has(program)) return;
  const error = becomeProgram(execPath(), [process.execPath, root, program, ...argv]);
  process.stderr.write(`aiodio_ltp.js:1: TBROK: ${execPath()}: ${error}: install aiodio-ltp again\n`);
  process.exit(2);
}

let main;
try {
  if (command === "exec") await becomeTestcase();
  ({ main } = await import("../dist/ts/cli/main.js"));
} catch (error) {
  const what = `not built (${error.message.split("\n")[0]}): run \`npm ci\` in its directory`;
  // Who runs a testcase looks for a result line.
  process.stderr.write(command === "exec" ? `aiodio_ltp.js:1: TBROK: ${what}\n` : `aiodio-ltp: ${what}\n`);
  process.exit(command === "exec" ? 2 : 3);
}
process.exitCode = await main(process.argv.slice(2));
