import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { packaged, version } from "../../ts/package.js";
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
