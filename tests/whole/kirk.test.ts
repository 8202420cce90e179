/** kirk, from PyPI and unchanged, drives an installed LTPROOT. `KIRK` names its command. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { command, plainEnvironment } from "../support/command.js";
import { filesystems } from "../support/filesystems.js";
import { without } from "../support/needs.js";
import { temporaryDirectory } from "../support/temporary.js";

const kirk = process.env.KIRK;

const base = temporaryDirectory("kirk");
const ltproot = join(base, "ltproot");

/** Lines of LTP's other files that are quickly done, and how many results each has on ext4: passed and skipped. */
const FEW: [line: string, passed: number, skipped: number][] = [
  ["ADSP075 dio_sparse -w 4k -s 2k -o 2k -n 2", 1, 0],
  ["fsx04 fsx-linux -N 1000", 1, 0],
  ["aio01 aio01", 6, 0],
  ["aio02 aio02", 6, 0],
  ["AD000 aiodio_append", 1, 0],
  ["dio01 diotest1", 1, 0],
  ["dio02 diotest2", 3, 0],
  ["dio03 diotest3", 3, 0],
  // Linux has no direct I/O on /dev/null.
  ["dio10 diotest4 -b 65536", 16, 1],
  ["dio11 diotest5 -b 65536", 3, 0],
  ["dio26 diotest6 -b 8192 -v 100", 3, 0],
  ["ADS1018 aio-stress -o3 -O -r4k -t2 -f2", 1, 0],
  // LTP's has 100 files of 12 MiB, for which there is no room here.
  ["dma_thread_diotest1 dma_thread_diotest -a 512 --files 4", 1, 0],
];

describe.each(filesystems().slice(0, 1))("kirk on $name", ({ directory }) => {
  beforeEach(() => {
    if (kirk === undefined) without("KIRK is not set: install kirk (PyPI) and name the program by it", "kirk");
  });
  beforeAll(async () => {
    if (kirk === undefined) return;
    const installed = await command("aiodio-ltp", ["install-ltproot", ltproot]);
    expect(installed.exitCode).toBe(0);
    writeFileSync(join(ltproot, "runtest", "few"), FEW.map(([line]) => `${line}\n`).join(""));
  });

  /** kirk's report of a suite; kirk takes the counters from the Summary block, whole. */
  async function reportOf(suite: string) {
    const report = join(base, `${suite}.json`);
    const args = ["--run-suite", suite, "--tmp-dir", base, "--json-report", report];
    const env = plainEnvironment({ LTPROOT: ltproot, TMPDIR: directory });
    const { exitCode, stdout } = await execa(kirk ?? "", args, { env, extendEnv: false, reject: false });
    expect(exitCode, stdout).toBe(0);
    expect(readdirSync(directory)).toEqual([]);
    return JSON.parse(readFileSync(report, "utf8"));
  }

  // kirk starts 140 processes, one after the other.
  test("part1: 140 passed", { timeout: 900_000 }, async () => {
    const { results, stats } = await reportOf("ltp-aiodio.part1");
    expect(stats).toMatchObject({ passed: 140, failed: 0, broken: 0, skipped: 0, warnings: 0 });
    expect(results).toHaveLength(140);
    for (const { status, test } of results) {
      expect(status).toBe("pass");
      expect(test).toMatchObject({ retval: ["0"], passed: 1, failed: 0, broken: 0, skipped: 0, warnings: 0 });
      expect(test.log).toContain("TPASS");
    }
  });

  test("lines of every other program", async () => {
    const { results } = await reportOf("few");
    const told = results.map(({ test_fqn, status, test }: (typeof results)[number]) => {
      const { retval, passed, failed, broken, skipped, warnings } = test;
      return [test_fqn, status, retval, { passed, failed, broken, skipped, warnings }];
    });
    const expected = FEW.map(([line, passed, skipped]) => {
      return [line.split(" ")[0], "pass", ["0"], { passed, failed: 0, broken: 0, skipped, warnings: 0 }];
    });
    expect(told).toEqual(expected);
  });
});
