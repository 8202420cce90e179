/** Whatever starts a program is killed: the program goes with it, however it was started. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { expect, test } from "vitest";
import { goneOf, plainEnvironment } from "../support/command.js";
import { LIBRARY } from "../support/library.js";
import { temporaryDirectory } from "../support/temporary.js";

const directory = temporaryDirectory("dying");

test.each([
  ["a tool", "runTool", (words: string[]) => [words[0], words.slice(1), 90]],
  ["a command", "runCommand", (words: string[]) => [words]],
  ["a peer", "startPeer", (words: string[]) => [words, { stdio: "ignore", detached: true }]],
])("%s dies with the process that started it, even by SIGKILL", async (_, start, argumentsOf) => {
  const file = join(directory, start);
  const words = ["sh", "-c", `echo $$ >${file}.new; mv ${file}.new ${file}; exec sleep 1000`];
  const script = `import { ${start} } from ${LIBRARY}; await ${start}(...${JSON.stringify(argumentsOf(words))});`;
  const starter = execa(process.execPath, ["--input-type=module", "-e", script], {
    ...{ env: plainEnvironment(), extendEnv: false, reject: false },
  });
  await expect.poll(() => existsSync(file), { timeout: 60_000 }).toBe(true);
  starter.kill("SIGKILL");
  await starter;
  await goneOf(Number(readFileSync(file, "utf8")));
});
