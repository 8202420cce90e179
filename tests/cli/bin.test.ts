import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { packaged, version } from "../../ts/base/package.js";
import { temporaryFolder } from "./fixture.js";

const bin = packaged("bin/aiodio-ltp.js");
const shell = (script: string) => spawnSync("sh", ["-c", script, "sh", process.execPath, bin], { encoding: "utf8" });

test("not built: one line that says what to do", () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, "bin"));
  copyFileSync(bin, join(folder, "bin/aiodio-ltp.js"));
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, "bin/aiodio-ltp.js")], {
    encoding: "utf8",
  });
  expect({ status, stdout }).toEqual({ status: 3, stdout: "" });
  expect(stderr).toMatch(/^aiodio-ltp: not built \([^\n]*\): run `npm ci` in its directory\n$/);
});

test.each([
  [
    "nothing is built",
    undefined,
    /^aio_stress\.js:1: TBROK: not built \([^\n]*\): run `npm ci` in the package's directory\n$/,
  ],
  [
    "the runner fails",
    'export async function runStandalone() { throw new Error("a bug"); }',
    /^aio_stress\.js:1: TBROK: the runner cannot go on: Error: a bug\n/,
  ],
  [
    "the runner fails later",
    'export function runStandalone() { setImmediate(() => { throw new Error("a bug"); }); return new Promise(() => {}); }',
    /^aio_stress\.js:1: TBROK: the runner cannot go on: Error: a bug\n/,
  ],
])("a testcase's command is TBROK, and no failure of the kernel, where %s", (_, runner, message) => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  cpSync(packaged("bin"), join(folder, "bin"), { recursive: true });
  if (runner !== undefined) {
    mkdirSync(join(folder, "dist/ts/run"), { recursive: true });
    writeFileSync(join(folder, "dist/ts/run/standalone.js"), runner);
  }
  const { status, stderr } = spawnSync(process.execPath, [join(folder, "bin/aio-stress.js")], { encoding: "utf8" });
  expect(stderr).toMatch(message);
  expect(status).toBe(2);
});

describe.skipIf(!existsSync(packaged("dist/ts/cli/main.js")))("built", () => {
  test("statuses reach the shell", () => {
    expect(shell('"$1" "$2" --version')).toMatchObject({ status: 0, stdout: `${version}\n`, stderr: "" });
    expect(shell('"$1" "$2" --nope')).toMatchObject({ status: 2, stdout: "" });
  });

  test("a reader that goes away is no error", () => {
    const { stdout, stderr } = shell('"$1" "$2" list ltp-aiodio.part1 | head -n 1');
    expect(stdout).toBe("AD001 aiocp -b 1k -n 1 -f DIRECT\n");
    expect(stderr).toBe("");
  });

  test.skipIf(!existsSync("/dev/full"))("output that cannot be written is no success", () => {
    expect(shell('"$1" "$2" list >/dev/full').status).toBe(3);
  });
});
