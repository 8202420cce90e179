/**
 * Guests over seeded schedules of agents that hang, die, tear, garble or lie at any message: a run always ends, and no testcase's
 * verdict is better than what its agent truly said and its filesystem's checker found.
 */
import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { RunEvent } from "../../ts/events/events.js";
import type { FromAgent, ToAgent } from "../../ts/guest/agent-protocol.js";
import { runInGuests } from "../../ts/guest/scheduler.js";
import { Results } from "../../ts/report/results.js";
import { elapse } from "../support/fake-processes.js";
import { endOf, FACTS, FakeMachine, LIMITS, READY, run, startOf } from "./fixture.js";

/** Before any clock is faked. */
const { setImmediate: laterForReal } = globalThis;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const SCHEDULES = 1000;
const ACTIONS = ["right", "hang", "die", "tear", "garble", "lie"] as const;
const TIME = "2026-11-21T00:00:00.000Z";

const schedule = fc.record({
  lines: fc.array(fc.constantFrom("ext4", "btrfs"), { minLength: 1, maxLength: 6 }),
  workers: fc.integer({ min: 1, max: 2 }),
  /** One message in so many goes wrong. */
  rarity: fc.constantFrom(2, 5, 10, 40),
  interruptAt: fc.option(fc.integer({ min: 1, max: 30 }), { nil: undefined, freq: 2 }),
  actions: fc.infiniteStream(fc.tuple(fc.nat({ max: 10_000 }), fc.constantFrom(...ACTIONS), fc.boolean())),
});

/** Plays one schedule: what the user is told, and which testcases really passed on a filesystem found clean. */
async function play(given: typeof schedule extends fc.Arbitrary<infer T> ? T : never) {
  const { lines, workers, rarity, interruptAt, actions } = given;
  const plan = lines.map((filesystem, index) => run(`${index}`, filesystem));
  const results = new Results();
  const interruption = new AbortController();
  const good = new Set<string>();
  let messages = 0;

  /** Says it, or does what is drawn instead; whether the agent can go on. */
  const say = (machine: FakeMachine, message: FromAgent): "said" | "not said" | "over" => {
    messages += 1;
    if (messages === interruptAt) interruption.abort();
    const [chance, drawn] = actions.next().value;
    const action = chance % rarity === 0 ? drawn : "right";
    const text = JSON.stringify(message);
    if (action === "right") machine.say(message);
    if (action === "tear" || action === "garble") machine.port.push(`${text.slice(0, text.length / 2)}\n`);
    if (action === "tear" || action === "die") laterForReal(() => machine.die({ code: null, signal: "SIGKILL" }));
    if (action === "lie") machine.say({ type: "event", event: { type: "known-issue", key: "", text } });
    if (action === "right") return "said";
    return action === "garble" || action === "lie" ? "not said" : "over";
  };
  const serve = (request: ToAgent, machine: FakeMachine) => {
    if (request.type === "interrupt") machine.say({ type: "ended" });
    if (request.type !== "run") return;
    const event = (event: RunEvent) => say(machine, { type: "event", event });
    let made: string | undefined;
    let passed: string[] = [];
    const check = () => {
      const filesystem = made ?? "";
      const clean = actions.next().value[2];
      const result = {
        clean,
        reports: clean ? [] : [{ checker: "fsck", verdict: "corrupt" as const, output: "" }],
        seconds: 0,
      };
      const suspects = clean ? [] : passed;
      const said = event({ type: "check", time: TIME, filesystem, worker: 1, suspects, result });
      if (said === "said" && clean) for (const key of passed) good.add(key);
      passed = [];
      return said;
    };
    for (const one of request.plan) {
      if (one.filesystem !== made) {
        if (made !== undefined && check() === "over") return;
        made = one.filesystem;
        const facts = { filesystem: made ?? "", worker: 1, mounts: [], dirtiedBytes: 0 };
        if (event({ type: "filesystem", time: TIME, ...facts }) === "over") return;
      }
      if (say(machine, startOf(one)) === "over") return;
      const passes = actions.next().value[2];
      const said = say(machine, endOf(one, passes ? "TPASS" : "TFAIL"));
      if (said === "over") return;
      if (said === "said" && passes) passed.push(one.key);
    }
    if (check() !== "over") say(machine, { type: "ended" });
  };

  const emit = (event: RunEvent) => results.add(event);
  emit({ type: "run-start", time: TIME, version: "0", directory: "/", workers, machine: FACTS, plan });
  const running = runInGuests(
    plan,
    {
      ...{ workers, timeoutMul: 1, calibrationMs: 10, limits: LIMITS, signal: interruption.signal, tell() {} },
      request: { filesystems: "btrfs", defaults: {}, checkEach: false, trace: false, env: {} },
      start() {
        const machine = new FakeMachine(serve);
        say(machine, READY);
        return { machine, accelerator: "tcg" };
      },
    },
    emit,
  ).catch((error: Error) => error);
  const seconds = await elapse(running, 1_000_000);
  const outcome = await running;
  for (const unchecked of results.takeUnchecked()) emit({ type: "unchecked", time: TIME, ...unchecked });
  return { results, plan, good, seconds, messages, outcome, aborted: interruption.signal.aborted };
}

test(`over ${SCHEDULES} schedules`, async () => {
  let passes = 0;
  await fc.assert(
    fc.asyncProperty(schedule, async (given) => {
      const { results, plan, good, seconds, messages, outcome, aborted } = await play(given);
      expect(seconds).toBeLessThanOrEqual(((messages + 1) * LIMITS.silence) / 1000);
      const passed = plan.filter(({ key }) => results.completed(key) && results.of(key).end?.verdict === "TPASS");
      expect(passed.filter(({ key }) => !good.has(key))).toEqual([]);
      // A run that can't go on says so; else each testcase has its end.
      if (!aborted && !(outcome instanceof Error)) expect(plan.filter(({ key }) => !results.of(key).end)).toEqual([]);
      expect(vi.getTimerCount()).toBe(0);
      passes += passed.length;
    }),
    { numRuns: SCHEDULES },
  );
  // Not all of it is refused: that would be no worse than the truth, too.
  expect(passes).toBeGreaterThan(SCHEDULES / 4);
});
