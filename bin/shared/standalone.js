// What the commands of single testcases have in common.
import { realpathSync } from "node:fs";
import { basename } from "node:path";

/**
 * Runs a testcase as a command: by default the one that the started file is named after, whatever link led to it. What is
 * wrong with the installation or with the runner is TBROK: Node's own exit status would be 1, which means that the kernel
 * failed.
 */
export async function standalone(
  program = basename(realpathSync(process.argv[1]), ".js"),
  argv = process.argv.slice(2),
) {
  const broken = (text) => {
    process.stderr.write(`${program.replaceAll("-", "_")}.js:1: TBROK: ${text}\n`);
    process.exit(2);
  };
  process.on("uncaughtException", (error) => broken(`the runner cannot go on: ${error?.stack ?? error}`));
  let run;
  try {
    run = (await import("../../dist/ts/run/standalone.js")).runStandalone;
  } catch (error) {
    broken(`not built (${error.message.split("\n")[0]}): run \`npm ci\` in the package's directory`);
  }
  process.exit(await run(program, argv));
}
