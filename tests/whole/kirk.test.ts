/** kirk, from PyPI and unchanged, drives an installed LTPROOT. `KIRK` names its command. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, describe, expect, test } from "vitest";
import { command, plainEnvironment } from "../support/command.js";
import { filesystems } from "../support/filesystems.js";

const kirk = process.env.KIRK;
if (kirk === undefined && process.env.CI) throw new Error("KIRK is not set: .ci/run must install kirk and name it");

const base = mkdtempSync(join(tmpdir(), "aiodio-kirk-"));
const ltproot = join(base, "ltproot");
afterAll(() => rmSync(base, { recursive: true, force: true }));

describe.runIf(kirk !== undefined)("kirk", () => {
  test.each(filesystems().slice(0, 1))("runs part1 on $name: 140 passed", async ({ directory }) => {
    const installed = await command("aiodio-ltp", ["install-ltproot", ltproot]);
    expect(installed.exitCode).toBe(0);
    const report = join(base, "report.json");
    const args = ["--run-suite", "ltp-aiodio.part1", "--tmp-dir", base, "--json-report", report];
    const env = plainEnvironment({ LTPROOT: ltproot, TMPDIR: directory });
    const { exitCode, stdout } = await execa(kirk ?? "", args, { env, extendEnv: false, reject: false });
    expect(exitCode, stdout).toBe(0);
    const { results, stats } = JSON.parse(readFileSync(report, "utf8"));
    expect(stats).toMatchObject({ passed: 140, failed: 0, broken: 0, skipped: 0, warnings: 0 });
    expect(results).toHaveLength(140);
    for (const { status, test } of results) {
      expect(status).toBe("pass");
      // kirk took the counters from the Summary block, whole.
      expect(test).toMatchObject({ retval: ["0"], passed: 1, failed: 0, broken: 0, skipped: 0, warnings: 0 });
      expect(test.log).toContain("TPASS");
    }
    expect(readdirSync(directory)).toEqual([]);
  });
});
