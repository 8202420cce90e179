/** A run that is stopped from outside, as real processes: what it leaves, and how it goes on. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { childrenOf, command, emptied, printed } from "../support/command.js";
import { needsFilesystems } from "../support/needs.js";

let base: string;
let work: string;
let journal: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "aiodio-interrupted-"));
  work = join(base, "work");
  journal = join(base, "journal");
  mkdirSync(work);
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const events = () =>
  readFileSync(journal, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

describe("a run of part1", () => {
  test("Ctrl-C: summary of what ran, whole journal, nothing left, exit 130; --resume runs the rest", async () => {
    const run = command("aiodio-ltp", [
      "ltp-aiodio.part1",
      "-d",
      work,
      "-j",
      "2",
      "--journal",
      journal,
      "-s",
      "AD0[01]",
    ]);
    await printed(run, /AD003 TPASS/);
    const workers = childrenOf(run.pid);
    run.kill("SIGINT");
    const { exitCode, stdout } = await run;
    expect(exitCode).toBe(130);
    expect(stdout).toMatch(/\d+ not run/);
    expect(readdirSync(work)).toEqual([]);
    for (const pid of workers) expect(() => process.kill(pid, 0)).toThrow("ESRCH");

    const first = events();
    expect(first.at(-1)).toMatchObject({ type: "run-end", interrupted: true });
    const ended = first.filter(({ type, interrupted }) => type === "test-end" && !interrupted).map(({ key }) => key);
    expect(ended.length).toBeGreaterThan(1);

    const resumed = await command("aiodio-ltp", ["--journal", journal, "--resume", "-d", work, "-j", "2"]);
    expect(resumed.exitCode, resumed.all).toBe(0);
    expect(resumed.stdout).toContain("19 TPASS");
    const started = events()
      .slice(first.length)
      .filter(({ type }) => type === "test-start")
      .map(({ key }) => key);
    expect(started).toHaveLength(19 - ended.length);
    for (const key of ended) expect(started).not.toContain(key);
  });

  test("SIGKILL to the runner: its workers go and clean up, and --resume goes on", async () => {
    const run = command("aiodio-ltp", ["ltp-aiodio.part1", "-d", work, "-j", "2", "--journal", journal, "-s", "AD00"]);
    await printed(run, /AD002 TPASS/);
    run.kill("SIGKILL");
    await run;
    await emptied(work);
    const resumed = await command("aiodio-ltp", ["--journal", journal, "--resume", "-d", work]);
    expect(resumed.exitCode, resumed.all).toBe(0);
    expect(resumed.stdout).toContain("9 TPASS");
  });

  describe("on a filesystem of its own", () => {
    beforeEach(() => needsFilesystems("ext4:1k"));
    const start = () =>
      command("aiodio-ltp", [
        ...["ltp-aiodio.part1", "--filesystems", "ext4:1k", "-j", "1", "--journal", journal, "-s", "AD00"],
      ]);
    const told = (type: string) => events().filter((event) => event.type === type);

    test("Ctrl-C: it is checked all the same, so that what passed stays passed", async () => {
      const run = start();
      await printed(run, /AD002 TPASS/);
      run.kill("SIGINT");
      expect((await run).exitCode).toBe(130);
      expect(told("check")).toEqual([expect.objectContaining({ result: expect.objectContaining({ clean: true }) })]);
      expect(told("unchecked")).toEqual([]);
    });

    test("SIGKILL: nobody has checked it, so --resume runs what passed there again", async () => {
      const run = start();
      await printed(run, /AD002 TPASS/);
      run.kill("SIGKILL");
      await run;
      const before = events().length;
      const resumed = await command("aiodio-ltp", ["--journal", journal, "--resume", "--filesystems", "ext4:1k"]);
      expect(resumed.exitCode, resumed.all).toBe(0);
      expect(resumed.stdout).toContain("9 TPASS");
      const ran = events()
        .slice(before)
        .filter(({ type }) => type === "test-start");
      expect(ran).toHaveLength(9);
    });
  });

  test("a worker that dies is that line's TBROK, and the rest runs", async () => {
    const file = join(base, "lines");
    writeFileSync(file, "LONG aiocp -b 1k -n 1 -s 128m -f DIRECT\nNEXT aiocp -b 4k\n");
    const run = command("aiodio-ltp", [file, "-d", work, "--reporter", "ltp"]);
    await printed(run, /Copy srcfile/);
    for (const pid of childrenOf(run.pid)) process.kill(pid, "SIGSEGV");
    const { exitCode, stdout } = await run;
    expect(stdout).toMatch(/TBROK: Test killed by SIGSEGV!\n/);
    expect(stdout).toMatch(/### NEXT aiocp -b 4k\n[\s\S]*TPASS: Files are identical\n/);
    expect(exitCode).toBe(1);
    expect(readdirSync(work)).toEqual([]);
  });
});

test("--known-issues: a failure that it explains is listed as expected and is no failure of the run", async () => {
  const file = join(base, "lines");
  // Broken on purpose: an option that does not exist.
  writeFileSync(file, "BAD aiocp -Z\nGOOD aiocp -b 4k -s 4k\n");
  const issues = join(base, "issues.yaml");
  writeFileSync(
    issues,
    "lines:\n  BAD:\n    - retval: '^2$'\n      message: no such option\n  GOOD:\n    - message: was fixed\n",
  );
  const plain = await command("aiodio-ltp", [file, "-d", work]);
  expect(plain.exitCode).toBe(1);
  const known = await command("aiodio-ltp", [file, "-d", work, "--known-issues", issues]);
  expect(known.stdout).toMatch(/Did not pass, as expected:\n {2}BAD +TBROK .*\n {4}no such option\n/);
  expect(known.stdout).toMatch(/Known issues that match nothing any more:\n {2}was fixed\n/);
  expect(known.stdout).toContain("1 TBROK, 1 TPASS (1 not passed as expected)");
  expect(known.exitCode).toBe(0);
  const bad = await command("aiodio-ltp", [file, "-d", work, "--known-issues", file]);
  expect(bad.stderr).toMatch(/^aiodio-ltp: --known-issues: .*\n$/);
  expect(bad.exitCode).toBe(2);
});
