/**
 * All lines of all of LTP's files on ext4, xfs and btrfs, as a user types it. This takes a quarter of an hour and has the
 * kernel under test for a judge, whose own bugs it finds (fsx-linux on ext4 of Linux 6.18): only with AIODIO_SUITES=1.
 */
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { packaged } from "../../ts/package.js";
import type { RunEvent } from "../../ts/report/events.js";
import { backingDirectory, expectNoTraces, mountsHere } from "../filesystem/fixture.js";
import { command } from "../support/command.js";
import { temporaryDirectory } from "../support/temporary.js";

const MINUTES = 60_000;
const MIB = 2 ** 20;

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
const backing = backingDirectory();

/** The processes that were started with this in their environment. */
function processesWith(variable: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(variable);
    } catch {
      return false; // Not a process, or one that has ended.
    }
  });
}

const wanted = process.env.AIODIO_SUITES === "1";

describe.runIf(wanted)("every line of LTP's files", () => {
  const idsOf = (file: string): string[] =>
    readFileSync(packaged("runtest", file), "utf8")
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => line.split(" ", 1)[0] ?? "");

  test.each(Object.entries(FILES))("%s has LTP's %i lines", (file, lines) => {
    expect(new Set(idsOf(file)).size).toBe(lines);
  });

  test("LTP's verdicts, in less than 200 MiB, and nothing left", { timeout: 60 * MINUTES }, async () => {
    const mounts = mountsHere();
    const journal = join(base, "journal");
    const temporary = mkdtempSync(join(base, "tmp-"));
    const mark = `AIODIO_TEST_MARK=${process.pid}-${Date.now()}`;
    const [name = "", value = ""] = mark.split("=");
    const { stdout, stderr, exitCode } = await command(
      "aiodio-ltp",
      [
        ...Object.keys(FILES),
        ...["--filesystems", FILESYSTEMS.join(","), "--backing", backing, "-j", "2", "--journal", journal],
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
    const keys = FILESYSTEMS.flatMap((filesystem) =>
      Object.keys(FILES).flatMap((file) => idsOf(file).map((id) => `${filesystem}/${file}:${id}`)),
    );
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
    expect(new Set(checks.map(({ filesystem }) => filesystem))).toEqual(new Set(FILESYSTEMS));
    for (const { filesystem, result } of checks) expect(result, filesystem).toMatchObject({ clean: true });

    const peaks = ends.map(({ key, peakBytes = Number.NaN }) => ({ key, mib: peakBytes / MIB }));
    // NaN, where a worker has not told, is not below anything.
    expect(peaks.filter(({ mib }) => !(mib < 200))).toEqual([]);
    expect(events.at(-1)).toMatchObject({ type: "run-end", notRun: 0, interrupted: false });
    const { peakBytes } = events.at(-1) as Extract<RunEvent, { type: "run-end" }>;
    expect(peakBytes).toBeLessThan(200 * MIB);

    await expectNoTraces(backing);
    expect(mountsHere()).toBe(mounts);
    expect(readdirSync(temporary)).toEqual([]);
    expect(processesWith(mark)).toEqual([]);
  });
});
