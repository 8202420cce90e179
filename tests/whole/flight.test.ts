/** What the flight recorder has of a testcase whose worker, or whose whole run, was killed in mid-flight. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { queryRecord } from "#native";
import { childrenOf, command, emptied } from "../support/command.js";

let base: string;
let journal: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "aiodio-flight-"));
  journal = join(base, "journal");
  // Long enough to be killed in the middle: each write is its own commit.
  writeFileSync(
    join(base, "lines"),
    "LONG aiocp -b 4k -n 8 -f DIRECT -s 256m --fsync none\nSHORT aiocp -b 64k -s 64k -f DIRECT\n",
  );
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const OPERATION = /\d+\.\d{6} libaio#\d+ p(?:read|write)\((?:src|dst)file\.bin, 0x[0-9a-f]+, 4096\) = /;

/** Starts a run with a trace and resolves in the middle of the copy, with the worker's process. */
async function flying(): Promise<{ run: ReturnType<typeof command>; worker: number }> {
  const run = command("aiodio-ltp", [
    join(base, "lines"),
    "-d",
    base,
    "--journal",
    journal,
    "--reporter",
    "ltp",
    "--trace",
  ]);
  await new Promise<void>((resolve, reject) => {
    let operations = 0;
    run.all.on("data", (bytes: Buffer) => {
      operations += bytes
        .toString()
        .split("\n")
        .filter((line) => OPERATION.test(line)).length;
      if (operations > 2000) resolve();
    });
    run.all.on("end", () => reject(new Error("the run ended")));
  });
  return { run, worker: childrenOf(run.pid)[0] ?? 0 };
}

/** Stops a worker at a moment when something of it is in flight: between two batches nothing is. */
async function stopped(worker: number): Promise<void> {
  await vi.waitFor(
    async () => {
      process.kill(worker, "SIGSTOP");
      await vi.waitFor(() => expect(readFileSync(`/proc/${worker}/stat`, "utf8")).toMatch(/\) T /));
      if (queryRecord({ path: `${journal}.flight-1`, max: 1 }).inFlight.length > 0) return;
      process.kill(worker, "SIGCONT");
      throw new Error("nothing was in flight");
    },
    { timeout: 30_000, interval: 1 },
  );
}

test("a worker killed in mid-flight yields its record, in the output and from the journal", async () => {
  const { run, worker } = await flying();
  await stopped(worker);
  process.kill(worker, "SIGKILL");
  const { exitCode, stdout } = await run;
  expect(exitCode).toBe(1);
  expect(stdout).toMatch(/TBROK: Test killed by SIGKILL!/);
  expect(stdout).toMatch(/TINFO: in flight when it ended: [1-8] operations?/);
  expect(stdout).toMatch(/TINFO: {3}\d+\.\d{6} libaio#\d+ p(read|write)\(.*, 4096\) = \? <in flight>/);

  const { stdout: told, exitCode: status } = await command("aiodio-ltp", ["explain", journal]);
  expect(status).toBe(0);
  expect(told).toContain("LONG");
  expect(told).not.toContain("SHORT");
  expect(told).toMatch(/in flight when it ended: [1-8] operation/);
  expect(told).toMatch(/operations: the last 40 of \d{4,}/);
  expect(told.split("\n").filter((line) => OPERATION.test(line)).length).toBeGreaterThanOrEqual(40);
  expect((await command("aiodio-ltp", ["explain", journal, "SHORT"])).stdout).toMatch(/TPASS: Files are identical/);
  expect((await command("aiodio-ltp", ["explain", journal, "SHRT"])).stderr).toMatch(
    /no testcase SHRT .*did you mean "SHORT"/,
  );
  // A run that ended in good order needs no records beside its journal.
  expect(readdirSync(base).sort()).toEqual(["journal", "lines"]);
});

test("so does a run that was killed as a whole", async () => {
  const { run } = await flying();
  run.kill("SIGKILL");
  await run;
  const { stdout } = await command("aiodio-ltp", ["explain", journal]);
  expect(stdout).toMatch(/LONG did not end: aiocp/);
  expect(stdout).toMatch(/operations: the last 40 of \d{4,}/);

  // The next part's workers record into the same file; what was in it is in the journal by then.
  const resumed = await command("aiodio-ltp", [join(base, "lines"), "-d", base, "--journal", journal, "--resume"]);
  expect(resumed.exitCode, resumed.all).toBe(0);
  const { stdout: told } = await command("aiodio-ltp", ["explain", journal]);
  expect(told).toMatch(/^LONG +TPASS .*\n/);
  expect(told).toMatch(/ {2}begun before, and killed with the run:\n(.*\n)*? {2}operations: the last 40 of \d{4,}/);
  expect(told.split("\n").filter((line) => OPERATION.test(line)).length).toBeGreaterThanOrEqual(40);
  // The worker notices by itself; its directory goes with it. No record is left beside the journal.
  rmSync(journal);
  rmSync(join(base, "lines"));
  await emptied(base);
});

test("the trace shows each operation of io_uring once, and the journal none of them", async () => {
  writeFileSync(join(base, "lines"), "T aiocp -b 64k -n 4 -f DIRECT -s 1m --engine io_uring\n");
  const { stdout, exitCode } = await command("aiodio-ltp", [
    join(base, "lines"),
    "-d",
    base,
    "--journal",
    journal,
    "--trace",
  ]);
  expect(exitCode, stdout).toBe(0);
  const lines = stdout.split("\n").filter((line) => line.includes("io_uring#"));
  const pattern =
    /^T \d+\.\d{6} io_uring#\d+ p(read|write)\((src|dst)file\.bin, 0x[0-9a-f]+, 65536\) = 65536 <\d+\.\d{6}>$/;
  expect(lines.filter((line) => !pattern.test(line))).toEqual([]);
  expect(lines).toHaveLength(32);
  expect(stdout).toMatch(/sync#\d+ fsync\(dstfile\.bin\) = 0 </);
  expect(readFileSync(journal, "utf8")).not.toContain("io_uring#");
});

test("plain system calls are operations like the others", async () => {
  writeFileSync(join(base, "lines"), "D diotest2 -b 4096 -i 3\n");
  const { stdout, exitCode } = await command("aiodio-ltp", [join(base, "lines"), "-d", base, "--trace"]);
  expect(exitCode, stdout).toBe(0);
  const calls = stdout.split("\n").filter((line) => /sync#\d+ p(read|write)\(/.test(line));
  const written = /^D \d+\.\d{6} sync#\d+ pwrite\([\w.-]+, 0x[0-9a-f]+, 4096\) = 4096 <\d+\.\d{6}>$/;
  const read = /^D \d+\.\d{6} sync#\d+ pread\([\w.-]+, 0x[0-9a-f]+, 4096\) = 4096 <\d+\.\d{6}>$/;
  // Three of the combinations of direct and buffered sides, three iterations each.
  expect(calls.filter((line) => written.test(line)).length, stdout).toBeGreaterThanOrEqual(9);
  expect(calls.filter((line) => read.test(line)).length, stdout).toBeGreaterThanOrEqual(9);
});

test.each([
  ["dio_races --race append-visible -n 3", /sync#\d+ pread\(testfile\.append-visible, /, "the reader's reads"],
  ["dio_races --race append-fallocate -n 3", /sync#\d+ fallocate\(testfile\.append-fallocate, /, "the call beside"],
  ["dio_races --race truncate-up -n 1", /sync#\d+ ftruncate\(testfile\.truncate-up, /, "the call beside"],
  ["dio_invalidate --collide buffered -n 2 -b 4k", /sync#\d+ pwrite\(testfile\.\w+, /, "the collider's writes"],
  ["dio_sparse -n 2 -s 1m -w 4k", /sync#\d+ pread\(dio_sparse, /, "the readers' reads"],
])("in %s both sides are recorded", async (line, pattern) => {
  writeFileSync(join(base, "lines"), `R ${line}\n`);
  const { stdout } = await command("aiodio-ltp", [join(base, "lines"), "-d", base, "--trace"]);
  expect(stdout).toMatch(pattern);
});

test("what is no journal is refused", async () => {
  const { exitCode, stderr } = await command("aiodio-ltp", ["explain", join(base, "lines")]);
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/lines:1: is no line of a journal/);
  expect((await command("aiodio-ltp", ["explain", "j", "A", "B"])).stderr).toMatch(/explain \[JOURNAL \[ID\]\]/);
});
