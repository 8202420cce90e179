/**
 * fsx-linux as a command and under faults. What each check of the workload finds is tested beside the core; here: that it
 * passes on sound filesystems, and that every kind of finding becomes LTP's verdict and is told.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { ResultLine } from "../../ts/events/events.js";
import type { Testcase } from "../../ts/testcase/testcase.js";
import { commandUnderStrace } from "../support/command.js";
import { invertAt } from "../support/damage.js";
import { executed } from "../support/execute.js";
import { filesystems } from "../support/filesystems.js";
import { needs } from "../support/needs.js";

/** Called with the file's path when the operations are over. */
let plant: (path: string) => void = () => {};
vi.mock("#native", async (original) => {
  const { watched } = await import("../support/native.js");
  return watched(original, { fsx: { after: ({ run }) => plant(run.path) } });
});

const program = (await import("../../testcases/fsx_linux.js")).default as unknown as Testcase;
const logs = mkdtempSync(join(tmpdir(), "aiodio-fsx-"));
afterAll(() => rmSync(logs, { recursive: true, force: true }));

async function run(parent: string, argv: string[]): Promise<ResultLine[]> {
  return (await executed(program, parent, argv)).lines;
}

const texts = (lines: ResultLine[]) => lines.map(({ result, text }) => `${result}: ${text}`);
const verdicts = (lines: ResultLine[]) => lines.map(({ result }) => result).filter((result) => result !== "TINFO");

/** Writes a log and returns its path. */
function log(name: string, ...operations: string[]): string {
  const path = join(logs, name);
  writeFileSync(path, `fsx-linux seed 0x5eed\n${operations.join("\n")}\n`);
  return path;
}

describe.each(filesystems())("on $name", ({ directory }) => {
  test.each([
    [["-N", "300"]],
    [["-N", "200", "--operations", "ltp", "-l", "500000", "-r", "4096", "-t", "2048", "-w", "2048"]],
    [["-N", "200", "--direct", "--engine", "libaio", "-w", "40963"]],
    [["-N", "200", "--engine", "io_uring", "-o", "3000", "--limit-operations"]],
    [["-N", "100", "-i", "2"]],
  ])("%j passes", async (argv) => {
    const lines = await run(directory, argv);
    expect(verdicts(lines)).toEqual(argv.includes("-i") ? ["TPASS", "TPASS"] : ["TPASS"]);
    expect(texts(lines)).toContain("TPASS: All file operations succeed");
    // openQA counts lines by their file name.
    expect(lines.every(({ file }) => /^[\w.:/]+$/.test(file))).toBe(true);
  });

  test("a byte that changes after the last operation is found at the end", async () => {
    plant = (path) => invertAt(path, 5000);
    const lines = await run(directory, ["--replay", log("end", "write 0 10000")]);
    plant = () => {};
    expect(verdicts(lines)).toEqual(["TFAIL"]);
    expect(texts(lines)).toContain("TFAIL: The file is not what the operations have made of it");
    expect(texts(lines)).toContainEqual(expect.stringMatching(/TINFO: ltp-file.bin, disk: 1 of 20 sectors are bad/));
    expect(texts(lines)).toContainEqual(
      expect.stringMatching(/TINFO: To repeat it: fsx-linux --replay .*\/end --engine/),
    );
  });

  test("--log is what --replay takes, and --seed repeats a run", async () => {
    const [first, second, third] = ["first", "second", "third"].map((name) => join(logs, name)) as [
      string,
      string,
      string,
    ];
    await run(directory, ["-N", "80", "--log", first, "--seed", "77"]);
    expect(verdicts(await run(directory, ["--replay", first, "--log", second]))).toEqual(["TPASS"]);
    await run(directory, ["-N", "80", "--log", third, "--seed", "0x4d"]);
    const content = readFileSync(first, "utf8");
    expect(content).toMatch(/^fsx-linux seed 0x4d\n(\w+ 0x[^\n]+\n){80}$/);
    expect(readFileSync(second, "utf8")).toBe(content);
    expect(readFileSync(third, "utf8")).toBe(content);
  });
});

const directory = filesystems()[0]?.directory ?? "";

test.each([
  [["-l", "x"], "Invalid file size 'x'"],
  [["-o", "0"], "Invalid maximum size for single operation '0'"],
  [["-N", "0"], "Invalid number of operations '0'"],
  [["-w", "4k"], "Invalid memory write alignment factor '4k'"],
  [["-r", "-1"], "Invalid memory read alignment factor '-1'"],
  [["-t", ""], "Invalid memory truncate alignment factor ''"],
  [["--operations", "fly"], "Invalid operations 'fly': use all, ltp, or some of read"],
  [["--seed", "-1"], "Invalid seed '-1'"],
  [["-l", "2g"], "A file of up to 2147483648 bytes: choose 1 to 1073741824"],
])("%j is TBROK", async (argv, message) => {
  const lines = await run(directory, argv);
  expect(verdicts(lines)).toEqual(["TBROK"]);
  expect(texts(lines)).toContainEqual(expect.stringContaining(message));
});

test.each([
  ["is missing", join(logs, "nothing"), "The log of operations cannot be read: ENOENT"],
  ["is no log", log("bad", "fly 0 1"), "line 2: there is no operation"],
  ["asks for the impossible", log("impossible", "collapse 0 4096"), "Operation 1 of the log"],
])("a log that %s is TBROK", async (_, path, message) => {
  const lines = await run(directory, ["--replay", path]);
  expect(verdicts(lines)).toEqual(["TBROK"]);
  expect(texts(lines)).toContainEqual(expect.stringContaining(message));
});

test("debug lines are LTP's", async () => {
  const lines = await run(directory, [
    "-D",
    "--replay",
    log("debug", "write 1 2", "read 1 2", "truncate 9", "punch 0 1"),
  ]);
  expect(lines.filter(({ result }) => result === "TDEBUG").map(({ text }) => text)).toEqual([
    "Writing at offset=1, size=2",
    "Reading at offset=1, size=2",
    "Truncating to 9",
    "punch 0x0 0x1",
  ]);
});

/** `ltp` operations only: no probing, whose calls would count too. */
const LTP = ["--operations", "ltp"];
describe("with strace's injections", () => {
  beforeEach(() => needs("strace"));

  const two = ["write 0 4096", "write 0 4096"];
  test.each([
    [
      "a write that did nothing",
      "pwrite64:retval=4096:when=2",
      [...two, "read 0 4096"],
      [
        "Operation 3: read 0x0 0x1000: what was read is wrong",
        "4 KiB at offset 0x0: another generation (1): data of an earlier write",
        "  1: write 0x0 0x1000",
        "  2: write 0x0 0x1000",
      ],
    ],
    [
      "the same, seen by a mapping",
      "pwrite64:retval=4096:when=2",
      [...two, "mapread 0 4096"],
      ["what the mapping shows is wrong"],
    ],
    [
      "a truncation that did nothing",
      "ftruncate:retval=0:when=5",
      ["write 0 4096", "truncate 1", "truncate 2", "truncate 4096", "truncate 99"],
      ["4096 bytes where 99 should be"],
    ],
    [
      "a write's error",
      "pwrite64:error=EIO:when=2",
      two,
      ["Operation 2: write 0x0 0x1000: ltp-file.bin: Writing 4096 bytes at offset 0 failed: EIO (5)"],
    ],
    ["an error of msync", "msync:error=EIO:when=1", ["mapwrite 0 4096"], ["ltp-file.bin: msync() failed: EIO (5)"]],
    [
      "the same beside what follows",
      "msync:error=EIO:when=1",
      ["mapwrite 0 4096 sync-beside"],
      ["ltp-file.bin: msync() failed: EIO (5)"],
    ],
  ])("%s is TFAIL and told", async (_, injection, operations, notes) => {
    const argv = [...LTP, "--replay", log("injected", ...operations)];
    const { all, exitCode } = await commandUnderStrace([injection], "fsx-linux", argv, { TMPDIR: directory });
    expect(all).toContain("TFAIL: Some file operations failed\n");
    for (const note of notes) expect(all).toContain(note);
    expect(exitCode).toBe(1);
  });
});
