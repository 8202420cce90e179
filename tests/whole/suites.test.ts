/**
 * All lines of all of LTP's files, as a user types it. By default each on one of ext4, xfs and btrfs, by turns, and part1 in a
 * test of its own; with AIODIO_SUITES=1 each on all three, which takes a quarter of an hour and has the kernel under test
 * for a judge, whose own bugs it finds (fsx-linux on ext4 before Linux 7.0).
 */
import { mkdtempSync, readdirSync, readFileSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { packaged } from "../../ts/base/package.js";
import type { RunEvent } from "../../ts/events/events.js";
import { expectNoTraces, mountsHere } from "../filesystem/fixture.js";
import { command } from "../support/command.js";
import { needsFilesystems } from "../support/needs.js";
import { scan } from "../support/processes.js";
import { temporaryDirectory } from "../support/temporary.js";

const MINUTES = 60_000;
const MIB = 2 ** 20;
/** statfs(2) */
const TMPFS = 0x01021994;

/** How many lines LTP has in each. */
const FILES = {
  "ltp-aiodio.part1": 140,
  "ltp-aiodio.part2": 83,
  "ltp-aiodio.part3": 21,
  "ltp-aiodio.part4": 29,
  dio: 30,
  "ltp-aio-stress": 54,
  dma_thread_diotest: 7,
};
const FILESYSTEMS = ["ext4", "xfs", "btrfs"];

/** LTP's programs pass all lines on a sound kernel (measured under kirk); what is TCONF here would be listed, with its reason. */
const UNSUPPORTED: Readonly<Record<string, string>> = {};

const base = temporaryDirectory("suites");
const backing = temporaryDirectory("backing", roomyMemory());

/**
 * Where the disks are in memory, when that is large: their lines wait for half the time then, and it is the filesystems that are
 * tested, not the machine's disk. Undefined elsewhere.
 */
function roomyMemory(): string | undefined {
  try {
    const { type, bavail, bsize } = statfsSync("/dev/shm");
    const [, available = "0"] = /^MemAvailable: +(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "utf8")) ?? [];
    const roomy = Math.min(bavail * bsize, Number(available) * 1024) >= 12 * 1024 * MIB;
    return roomy && type === TMPFS ? "/dev/shm" : undefined;
  } catch {
    return undefined;
  }
}

type Files = Readonly<Record<string, readonly string[]>>;

/** The lines of one of LTP's files. */
function linesOf(file: string): string[] {
  const text = readFileSync(packaged("runtest", file), "utf8");
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}

const idOf = (line: string) => line.split(" ", 1)[0] ?? "";

/** What a line may take: 200 MiB, or what it writes at a time (`-w 129548k` is a buffer of 127 MiB) and 90 MiB of Node. */
function limitMib(line: string): number {
  const block = Number(/ -w (\d+)k\b/.exec(line)?.[1] ?? 0) / 1024;
  return Math.max(200, block + 90);
}

/** Each file's every third line; fsx-linux is not on ext4, where it finds a known bug (docs/bugs). */
function shareOf(filesystem: string): Files {
  const shares = Object.keys(FILES).flatMap((file): [string, string[]][] => {
    if (file === "ltp-aiodio.part1") return [];
    const places = FILESYSTEMS.filter((name) => name !== "ext4" || file !== "ltp-aiodio.part3");
    // Each file's last line is its longest, or nearly: not on btrfs, where it takes four times as long.
    return [[file, linesOf(file).filter((_, index) => places[(index + 1) % places.length] === filesystem)]];
  });
  return Object.fromEntries(shares.filter(([, lines]) => lines.length > 0));
}

/** Runs these lines on these filesystems by one command, and compares each verdict, the memory, and what is left. */
async function run(files: Files, filesystems: readonly string[]): Promise<void> {
  const mounts = mountsHere();
  const temporary = mkdtempSync(join(base, "tmp-"));
  const suites = mkdtempSync(join(base, "runtest-"));
  for (const [file, lines] of Object.entries(files)) writeFileSync(join(suites, file), `${lines.join("\n")}\n`);
  const journal = join(suites, "journal");
  const mark = `AIODIO_TEST_MARK=${process.pid}-${Date.now()}`;
  const [name = "", value = ""] = mark.split("=");
  const { stdout, stderr, exitCode } = await command(
    "aiodio-ltp",
    [
      ...Object.keys(files).map((file) => join(suites, file)),
      ...["--filesystems", filesystems.join(","), "--backing", backing, "-j", "2", "--journal", journal],
      ...["--reporter", "quiet"],
    ],
    { TMPDIR: temporary, [name]: value },
  );
  const events: RunEvent[] = readFileSync(journal, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const ends = events.filter((event) => event.type === "test-end");

  // One result for every line; what is not as expected is shown with its own words.
  const commands = new Map<string, string>(
    filesystems.flatMap((filesystem) =>
      Object.entries(files).flatMap(([file, lines]) =>
        lines.map((line) => [`${filesystem}/${file}:${idOf(line)}`, line] as const),
      ),
    ),
  );
  const keys = [...commands.keys()];
  const expected = (key: string) => (key in UNSUPPORTED ? "TCONF" : "TPASS");
  const wrong = ends.filter(({ key, verdict }) => verdict !== expected(key)).map(({ key }) => key);
  const words = events
    .filter((event) => event.type === "line" || event.type === "raw")
    .filter(({ key }) => wrong.includes(key))
    .map((event) => `${event.key}: ${event.type === "line" ? `${event.result}: ` : ""}${event.text}`);
  expect(words).toEqual([]);
  expect(ends.map(({ key, verdict }) => `${key} ${verdict}`).sort()).toEqual(
    keys.map((key) => `${key} ${expected(key)}`).sort(),
  );
  expect(exitCode, stdout + stderr).toBe(0);

  // Each worker's filesystem was found clean by its own checker in the end.
  const checks = events.filter((event) => event.type === "check");
  expect(new Set(checks.map(({ filesystem }) => filesystem))).toEqual(new Set(filesystems));
  for (const { filesystem, result } of checks) expect(result, filesystem).toMatchObject({ clean: true });

  const peaks = ends.map(({ key, peakBytes = Number.NaN }) => ({ key, mib: peakBytes / MIB }));
  // NaN, where a worker has not told, is not below anything.
  expect(peaks.filter(({ key, mib }) => !(mib < limitMib(commands.get(key) ?? "")))).toEqual([]);
  expect(events.at(-1)).toMatchObject({ type: "run-end", notRun: 0, interrupted: false });
  const { peakBytes } = events.at(-1) as Extract<RunEvent, { type: "run-end" }>;
  expect(peakBytes).toBeLessThan(200 * MIB);

  await expectNoTraces(backing);
  expect(mountsHere()).toBe(mounts);
  expect(readdirSync(temporary)).toEqual([]);
  expect(scan(mark).own).toEqual([]);
}

describe.runIf(process.getuid?.() === 0)(
  "every line of LTP's files: LTP's verdicts, in bounded memory, and nothing left",
  () => {
    beforeEach(() => needsFilesystems(...FILESYSTEMS));

    test.each(Object.entries(FILES))("%s has LTP's %i lines", (file, lines) => {
      expect(new Set(linesOf(file).map(idOf)).size).toBe(lines);
    });

    test("each line has its filesystem", () => {
      const shared = FILESYSTEMS.flatMap((filesystem) => Object.values(shareOf(filesystem)).flat());
      const rest = Object.keys(FILES).filter((file) => file !== "ltp-aiodio.part1");
      expect(shared.sort()).toEqual(rest.flatMap(linesOf).sort());
    });

    const whole = process.env.AIODIO_SUITES === "1";
    test.runIf(!whole).each(FILESYSTEMS)("its share on %s", { timeout: 30 * MINUTES }, async (filesystem) => {
      await run(shareOf(filesystem), [filesystem]);
    });

    test.runIf(whole)("all lines on all of them", { timeout: 60 * MINUTES }, async () => {
      await run(Object.fromEntries(Object.keys(FILES).map((file) => [file, linesOf(file)])), FILESYSTEMS);
    });
  },
);
