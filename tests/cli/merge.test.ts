/** A run in parts, and the journals of the parts as one. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { PlannedRun, Verdict } from "../../ts/events/events.js";
import { eventsOf } from "../support/journal.js";
import { command, fakeScheduler, fakeSystem, temporaryFolder } from "./fixture.js";

const LINES = Array.from({ length: 10 }, (_, index) => `L${index} aiocp -b ${index + 1}k`);

/** A working directory with a runtest file of ten lines: one fails, one breaks, one does not apply. */
function place() {
  const cwd = temporaryFolder();
  writeFileSync(join(cwd, "t"), `${LINES.join("\n")}\n`);
  mkdirSync(join(cwd, "work"));
  const verdicts: Record<string, Verdict> = { L3: "TFAIL", L5: "TBROK", L7: "TCONF" };
  const verdictOf = ({ id }: PlannedRun) => verdicts[id] ?? "TPASS";
  const run = (line: string, parts = {}) =>
    command(line, fakeSystem({ cwd, runPlan: fakeScheduler(verdictOf).runPlan, ...parts }));
  return { cwd, run, verdictOf };
}

/** A report's lines without their numbers, in order. */
const points = (tap: string) =>
  tap
    .split("\n")
    .filter((line) => /^(?:not )?ok /.test(line))
    .map((line) => line.replace(/ok \d+/, "ok"))
    .sort();

test("three parts merged are the whole run", async () => {
  const { cwd, run } = place();
  expect((await run("-d work --journal whole t")).status).toBe(1);
  const statuses = [];
  for (const part of [1, 2, 3]) statuses.push((await run(`-d work --shard ${part}/3 --journal part${part} t`)).status);
  expect(statuses).toContain(1);
  expect(await run("merge part1 part2 part3 -o merged")).toEqual({ status: 0, out: "", err: "" });
  const [whole, merged] = [await run("report whole --reporter tap"), await run("report merged --reporter tap")];
  expect(points(merged.out)).toEqual(points(whole.out));
  expect(points(merged.out)).toHaveLength(10);
  expect((await run("compare whole merged")).out).toBe("10 lines compared: no difference\n");

  const [start, ...rest] = (await eventsOf(join(cwd, "merged"))).events;
  expect(start).toMatchObject({ type: "run-start", workers: 3 });
  expect(start).not.toHaveProperty("shard");
  expect(rest.filter(({ type }) => type === "run-start")).toEqual([]);
  expect(rest.at(-1)).toMatchObject({
    type: "run-end",
    notRun: 0,
    counters: { TPASS: 7, TFAIL: 1, TBROK: 1, TCONF: 1 },
  });
  // What each worker has done is still told apart.
  const workers = rest.flatMap((event) => (event.type === "test-start" ? event.worker : []));
  expect(new Set(workers).size).toBe(3);
});

test("of a part that was interrupted and resumed the last word counts", async () => {
  const { cwd, run, verdictOf } = place();
  await run("-d work --shard 1/2 --journal a t");
  // It fails at first, and the run is stopped by it.
  const failing = fakeScheduler((planned) => (planned.id === "L1" ? "TFAIL" : verdictOf(planned)));
  expect((await run("-d work --shard 2/2 --bail --journal b t", { runPlan: failing.runPlan })).status).toBe(1);
  const unfinished = await run("merge a b -o early");
  expect(unfinished.status).toBe(0);
  expect((await run("report early --reporter tap")).out).toMatch(/^Bail out! \d+ of 10 testcases were not run$/m);
  await run("-d work --shard 2/2 --resume --journal b t");
  await run("merge a b -o merged");
  const { out } = await run("report merged --reporter tap");
  expect(points(out)).toHaveLength(10);
  expect(out).not.toContain("Bail out!");
  expect(out).toMatch(/^not ok \d+ - L1 /m);
  expect(readdirSync(cwd).filter((name) => name.includes("tmp"))).toEqual([]);
});

test("by the times of another run parts are equally long", async () => {
  const { cwd, run } = place();
  await run("-d work --journal before t");
  // L9 takes as long as all others together.
  const text = readFileSync(join(cwd, "before"), "utf8");
  const slow = text.replaceAll(/("key":"t:L9",.*?"durationSeconds":)[\d.]+/g, "$10.09");
  expect(slow).not.toBe(text);
  writeFileSync(join(cwd, "before"), slow);
  const sizes = [];
  for (const part of [1, 2]) {
    const { out } = await run(`-d work --no-journal --reporter tap --shard ${part}/2 --timings before t`);
    sizes.push(points(out).length);
  }
  expect(sizes.sort()).toEqual([1, 9]);
});

test("a comparison for people, for a request that brings the change, and for programs", async () => {
  const { cwd, run } = place();
  await run("-d work --journal old t");
  await run("-d work --journal new t", {
    runPlan: fakeScheduler(({ id }) => (id === "L1" ? "TFAIL" : "TPASS")).runPlan,
  });
  const { status, out } = await run("compare old new --reporter markdown=m.md --reporter json=c.json");
  expect(status).toBe(1);
  expect(out).toMatch(/^New failures: 1\n {2}t:L1 {2}TFAIL, before: passed/);
  const markdown = readFileSync(join(cwd, "m.md"), "utf8");
  expect(markdown).toMatch(/^## aiodio-ltp: worse\n\n10 lines compared\.\n\n### New failures: 1\n\n- `t:L1` TFAIL/);
  expect(JSON.parse(readFileSync(join(cwd, "c.json"), "utf8"))).toMatchObject({
    ...{ compared: 10, broken: [{ now: { name: "t:L1" } }] },
  });
  expect((await run("compare old new --reporter markdown")).out).toBe(markdown);
});

test.each([
  ["merge", "merge takes journals and the file for all of them: merge JOURNAL... -o FILE"],
  ["merge a", "merge takes journals and the file for all of them: merge JOURNAL... -o FILE"],
  ["merge a -o out", "merge: 2 of 2 parts are missing: add them"],
  ["merge a a -o out", /merge: t:L\d is in \S+\/a and in \S+\/a: drop one of them/],
  ["merge a c -o out", /merge: \S+\/a and \S+\/c are of runs with different numbers of parts \(2, 3\)/],
  ["merge a nothing -o out", /no journal \S+\/nothing/],
  ["merge a b -o work", /merge: cannot write \S+\/work \(it exists: name another\)/],
  ["merge a b -o no/out", /merge: cannot write \S+\/no\/out \(ENOENT: name another\)/],
  ["compare a", "compare takes two journals: compare OLD NEW"],
  ["compare a b", "the two journals have no line in common that has run"],
  ["compare a a --reporter tap", "--reporter: compare has no tap: choose progress, markdown, json"],
  [
    "compare a a --reporter json --reporter markdown",
    "--reporter: json and markdown both want standard output: give markdown=FILE",
  ],
  ["-d work --timings a t", "--timings makes the parts of --shard equal: add --shard K/N, or drop it"],
  ["-d work --shard 11/11 t", "--shard 11/11: there are only 10 lines: make fewer parts"],
  ["--journal a --resume --shard 1/2", /--resume without FILE takes the plan from the journal/],
])("%s is one clear error, and nothing is written", async (line, message) => {
  const { cwd, run } = place();
  await run("-d work --shard 1/2 --journal a t");
  await run("-d work --shard 2/2 --journal b t");
  // Lines that the others do not have, of another number of parts.
  writeFileSync(join(cwd, "u"), "X1 aiocp\nX2 aiocp\nX3 aiocp\n");
  await run("-d work --shard 1/3 --journal c u");
  const { status, out, err } = await run(line);
  expect({ status, out }).toEqual({ status: 2, out: "" });
  expect(err).toMatch(/^aiodio-ltp: [^\n]+\n$/);
  expect(err).toEqual(typeof message === "string" ? `aiodio-ltp: ${message}\n` : expect.stringMatching(message));
  expect(existsSync(join(cwd, "out"))).toBe(false);
});
