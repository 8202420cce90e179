/**
 * The whole runner but its processes, over seeded schedules of keepers, checkers and workers that hang, die, tear, garble, refuse
 * or report damage at any message, with and without an interruption: a run always ends, within its limits, and no
 * testcase's verdict is better than what happened.
 */
import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { CheckResult, PlannedRun, RunEvent } from "../../ts/events/events.js";
import { parseFilesystems } from "../../ts/filesystem/variants.js";
import { Results } from "../../ts/report/results.js";
import { type RunOptions, runPlan } from "../../ts/run/scheduler.js";
import {
  ACTIONS,
  type Action,
  type Asked,
  elapse,
  fakeDirectory,
  fakes,
  resetFakes,
} from "../support/fake-processes.js";

vi.mock("../../ts/process/line-process.js", async () => ({
  LineProcess: (await import("../support/fake-processes.js")).FakeProcess,
}));
vi.mock("../../ts/run/flight.js", async (original) => ({
  ...(await original<object>()),
  FlightFile: { open: () => undefined },
}));

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(process, "geteuid").mockReturnValue(0);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const SCHEDULES = 1000;
const GiB = 2 ** 30;
/** No message is waited for longer: making a filesystem of 1 GiB, in which two programs may read all of it. */
const MESSAGE_SECONDS = 150;
/** What a checker says that looks at the filesystem. */
const CHECKS = ["clean", "corrupt", "failed"] as const;

const schedule = fc.record({
  filesystems: fc.array(fc.constantFrom("ext4", "xfs", "btrfs"), { minLength: 1, maxLength: 6 }),
  workers: fc.integer({ min: 1, max: 2 }),
  checkEach: fc.boolean(),
  bail: fc.boolean(),
  /** One message in so many goes wrong. */
  rarity: fc.constantFrom(2, 5, 10, 40),
  /** At which message the run is interrupted. */
  interruptAt: fc.option(fc.integer({ min: 1, max: 30 }), { nil: undefined, freq: 2 }),
  actions: fc.infiniteStream(
    fc.tuple(fc.nat({ max: 10_000 }), fc.constantFrom(...ACTIONS), fc.constantFrom(...CHECKS)),
  ),
});

interface Happened {
  /** Keys of which some message of the last run of it went wrong. */
  wrong: Set<string>;
  /** By keeper: what has run on its filesystem since a checker found it clean. */
  unchecked: Map<string, Set<string>>;
}

/** Plays one schedule and returns what the user is told, and what happened. */
async function play(given: typeof schedule extends fc.Arbitrary<infer T> ? T : never) {
  const { filesystems, workers, checkEach, bail, rarity, interruptAt, actions } = given;
  resetFakes();
  const results = new Results();
  const interruption = new AbortController();
  const happened: Happened = { wrong: new Set(), unchecked: new Map() };
  const since = (directory: string) => {
    const keys = happened.unchecked.get(directory) ?? new Set();
    happened.unchecked.set(directory, keys);
    return keys;
  };
  let asked = 0;
  fakes.action = ({ role, message, number, subject = "", directory = "" }: Asked): Action => {
    asked += 1;
    if (asked === interruptAt) interruption.abort();
    const [chance, drawn, check] = actions.next().value;
    const action = chance % rarity === 0 ? drawn : "right";
    if (role === "worker" && message === "run") {
      happened.wrong.delete(subject);
      since(directory).add(subject);
    }
    if (role === "worker" && ["run", "made", "done"].includes(message) && action !== "right") {
      happened.wrong.add(subject);
    }
    if (message === "check") {
      const verdict = chance % 3 === 0 ? check : "clean";
      fakes.checked = checkOf(verdict);
      if (action === "right" && verdict === "clean") since(fakeDirectory(number)).clear();
    }
    return action;
  };
  const plan = filesystems.map((filesystem, index): PlannedRun => {
    const key = `${index}`;
    return { key, suite: "t", id: key, iteration: 1, filesystem, program: "t", argv: [key], command: "t" };
  });
  const emit = (event: RunEvent) => results.add(event);
  const time = "2026-11-21T00:00:00.000Z";
  const facts = { version: "0", directory: "/fake", workers, machine: {} as never };
  emit({ type: "run-start", time, ...facts, plan });
  const storage = {
    variants: new Map(parseFilesystems("ext4,xfs,btrfs").map((variant) => [variant.name, variant])),
    ...{ provision: { backing: "/fake", sizeBytes: GiB }, devices: [], checkEach },
  };
  const options: RunOptions = {
    ...{ directory: "/fake", workers, storage, marker() {}, signal: interruption.signal },
    ...(bail && { bail: () => results.unexpected > 0 }),
  };
  const running = runPlan(plan, options, emit);
  const seconds = await elapse(running, 1_000_000);
  await running;
  for (const unchecked of results.takeUnchecked()) emit({ type: "unchecked", time, ...unchecked });
  return { results, plan, happened, asked, seconds, whole: !interruption.signal.aborted && !bail };
}

function checkOf(verdict: (typeof CHECKS)[number]): CheckResult {
  if (verdict === "clean") return { clean: true, reports: [], seconds: 0 };
  return { clean: false, reports: [{ checker: "fsck", verdict, output: "" }], seconds: 0 };
}

test(`over ${SCHEDULES} schedules`, async () => {
  let passes = 0;
  await fc.assert(
    fc.asyncProperty(schedule, async (given) => {
      const { results, plan, happened, asked, seconds, whole } = await play(given);
      expect(seconds).toBeLessThanOrEqual((asked + 1) * MESSAGE_SECONDS);
      const doubtful = new Set([...happened.wrong, ...[...happened.unchecked.values()].flatMap((keys) => [...keys])]);
      const passed = plan
        .map(({ key }) => key)
        .filter((key) => {
          return results.completed(key) && results.of(key).end?.verdict === "TPASS";
        });
      expect(passed.filter((key) => doubtful.has(key))).toEqual([]);
      if (whole) expect(plan.filter(({ key }) => !results.of(key).end)).toEqual([]);
      expect(vi.getTimerCount()).toBe(0);
      expect(fakes.processes.filter(({ dead, abandoned }) => !dead && !abandoned)).toEqual([]);
      passes += passed.length;
    }),
    { numRuns: SCHEDULES },
  );
  // Not all of it is refused: that would be no worse than the truth, too.
  expect(passes).toBeGreaterThan(SCHEDULES / 2);
});
