import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { execPath, packaged, version } from "../../ts/base/package.js";
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

test("not built: a testcase is TBROK, and no failure of the kernel", () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, "bin"));
  copyFileSync(bin, join(folder, "bin/aiodio-ltp.js"));
  const { status, stderr } = spawnSync(process.execPath, [join(folder, "bin/aiodio-ltp.js"), "exec", "aiocp"], {
    encoding: "utf8",
  });
  expect(stderr).toMatch(/^aiodio_ltp\.js:1: TBROK: not built \([^\n]*\): run `npm ci` in its directory\n$/);
  expect(status).toBe(2);
});

describe.skipIf(!existsSync(packaged("dist/main.cjs")))("built", () => {
  test("statuses reach the shell", () => {
    expect(shell('"$1" "$2" --version')).toMatchObject({ status: 0, stdout: `${version}\n`, stderr: "" });
    expect(shell('"$1" "$2" --nope')).toMatchObject({ status: 2, stdout: "" });
  });

  test("a reader that goes away is no error", () => {
    const { stdout, stderr } = shell('"$1" "$2" list ltp-aiodio.part1 | head -n 1');
    expect(stdout).toBe("AD001 aiocp -b 1k -n 1 -f DIRECT\n");
    expect(stderr).toBe("");
  });

  test("a testcase by its name; what is no testcase is a usage error", () => {
    expect(shell('"$1" "$2" exec aiocp -V')).toMatchObject({ status: 0, stderr: `aiodio-ltp version: ${version}\n` });
    expect(shell('"$1" "$2" exec nothing')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('no "nothing"'),
    });
  });

  test.each([
    [
      "its scripts are gone",
      {},
      /^aiodio_exec\.rs:\d+: TBROK: not built \(\S+command-main\.cjs is not there\): run `npm ci`/,
    ],
    [
      "Node fails, and again where that is told",
      { "command-main.cjs": "process.exit(7);", "aftermath-main.cjs": "process.exit(8);" },
      /^aiodio_exec\.rs:\d+: TBROK: the testcase's end could not be told: Node ended with exit status: 8\n$/,
    ],
  ])("a testcase's command is TBROK, and no failure of the kernel, where %s", (_, scripts, message) => {
    const folder = temporaryFolder();
    const place = join(folder, "dist");
    mkdirSync(place, { recursive: true });
    for (const [name, text] of Object.entries(scripts)) writeFileSync(join(place, name), text);
    const { status, stderr } = spawnSync(execPath(), [process.execPath, folder, "aiocp"], { encoding: "utf8" });
    expect(stderr).toMatch(message);
    expect(status).toBe(2);
  });

  test("what a testcase has told to its end stands, though its process dies as it goes", () => {
    const folder = temporaryFolder();
    const place = join(folder, "dist");
    mkdirSync(place, { recursive: true });
    const script =
      'require("node:fs").writeSync(Number(process.argv[3]), "done 32\\n"); process.kill(process.pid, "SIGKILL");';
    writeFileSync(join(place, "command-main.cjs"), script);
    writeFileSync(join(place, "aftermath-main.cjs"), 'console.error("a second end");');
    const { status, stderr } = spawnSync(execPath(), [process.execPath, folder, "aiocp"], { encoding: "utf8" });
    expect({ status, stderr }).toEqual({ status: 32, stderr: "" });
  });

  test.skipIf(!existsSync("/dev/full"))("output that cannot be written is no success", () => {
    expect(shell('"$1" "$2" list >/dev/full').status).toBe(3);
  });
});
