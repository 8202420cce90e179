/** Keepers that hang, die or garble at each request: the run goes on within its limits, and passes nothing by mistake. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { PlannedRun, RunEvent } from "../../ts/events/events.js";
import { parseFilesystems } from "../../ts/filesystem/variants.js";
import { type RunOptions, runPlan, type Storage } from "../../ts/run/scheduler.js";
import { ACTIONS, elapse, fakes, MESSAGES, type Message, only, resetFakes } from "../support/fake-processes.js";

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
  resetFakes();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const GiB = 2 ** 30;
const planned = (id: string, filesystem = "ext4"): PlannedRun => {
  return { key: id, suite: "t", id, iteration: 1, filesystem, program: "t", argv: [], command: "t" };
};

/** Begins a run of A and B on ext4 and C on xfs. */
function begin(checkEach = false, more: Partial<RunOptions> = {}) {
  const events: RunEvent[] = [];
  const interruption = new AbortController();
  const storage: Storage = {
    variants: new Map(parseFilesystems("ext4,xfs").map((variant) => [variant.name, variant])),
    ...{ provision: { backing: "/fake", sizeBytes: GiB }, devices: [], checkEach },
  };
  const { signal } = interruption;
  const running = runPlan(
    [planned("A"), planned("B"), planned("C", "xfs")],
    { directory: "/fake", workers: 1, timeoutMul: 2, storage, marker() {}, signal, ...more },
    (event) => events.push(event),
  );
  const verdicts = () => {
    const told = events.flatMap((event) =>
      event.type === "test-end" ? [`${event.key} ${event.interrupted ? "interrupted" : event.verdict}`] : [],
    );
    const checks = events.flatMap((event) => (event.type === "check" ? [event] : []));
    const blamed = checks.flatMap(({ result, suspects }) => (result.clean ? [] : [`${suspects.join(" ")} not clean`]));
    return [...told, ...blamed];
  };
  const words = () => events.flatMap((event) => ("text" in event ? [event.text] : []));
  const checks = () => events.flatMap((event) => (event.type === "check" ? [event.result] : []));
  return { running, verdicts, words, checks, interrupt: () => interruption.abort() };
}

/** By the factor 2, and with 1 GiB: each answer, and one in which two programs may read all there is. */
const ANSWER = 60;
const PROGRAMS = 300;
const STACK = "thread keeper 1 (D (disk sleep)) waits in fake_wait";

test("without any fault all passes, at once", async () => {
  const { running, verdicts } = begin();
  expect(await elapse(running, 0)).toBe(0);
  expect(verdicts()).toEqual(["A TPASS", "B TPASS", "C TPASS"]);
});

describe("a keeper that hangs", () => {
  test("as it makes the filesystem is that line's TBROK with the kernel's stack; the next line has another", async () => {
    fakes.action = only("keeper", "provision", "hang", 1);
    const { running, verdicts, words } = begin();
    expect(await elapse(running, 1000)).toBe(PROGRAMS);
    expect(verdicts()).toEqual(["A TBROK", "B TPASS", "C TPASS"]);
    expect(words()).toContain("The keeper of the filesystem did not answer 'provision' within 300 s, and is given up");
    expect(words()).toContain(STACK);
    expect(fakes.processes.find(({ role }) => role === "keeper")).toMatchObject({ dead: true, abandoned: true });
  });

  test.each([true, false])(
    "in a check, after each testcase or at the end (%s), leaves its lines unchecked",
    async (each) => {
      fakes.action = only("keeper", "check", "hang", 1);
      const { running, verdicts, words, checks } = begin(each);
      expect(await elapse(running, 1000)).toBe(PROGRAMS);
      const text = "The keeper of the filesystem did not answer 'check' within 300 s, and is given up";
      if (each) {
        expect(verdicts()).toEqual(["A TWARN", "B TPASS", "C TPASS"]);
        expect(words()).toEqual(expect.arrayContaining([text, `  ${STACK}`]));
      } else {
        expect(verdicts()).toEqual(["A TPASS", "B TPASS", "C TPASS", "A B not clean"]);
        expect(checks()[0]).toMatchObject({ unchecked: text, reports: [{ verdict: "failed", output: STACK }] });
      }
    },
  );

  test("as it unmounts what was clean leaves it in doubt, and not the next filesystem", async () => {
    fakes.action = only("keeper", "release", "hang", 1);
    const { running, verdicts, checks } = begin();
    expect(await elapse(running, 1000)).toBe(ANSWER);
    expect(verdicts()).toEqual(["A TPASS", "B TPASS", "C TPASS", "A B not clean"]);
    expect(checks().map(({ clean }) => clean)).toEqual([true, false, true]);
  });

  test.each(["provision", "check", "release"] as const)("and can't be killed in %s is left behind", async (message) => {
    fakes.action = (asked) => {
      const hangs = asked.role === "keeper" && asked.number === 1 && [message, "kill"].includes(asked.message);
      return hangs ? "hang" : "right";
    };
    const { running, verdicts } = begin();
    await elapse(running, 1000);
    expect(fakes.processes.find(({ role }) => role === "keeper")).toMatchObject({ dead: false, abandoned: true });
    expect(verdicts()).toContain("C TPASS");
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([
    ["provision", 0],
    // What has passed is worth as much as the filesystem: it is checked after an interruption, too.
    ["check", 30],
    ["release", 5],
  ] as const)("in %s holds up Ctrl-C for %i s", async (message, seconds) => {
    fakes.action = only("keeper", message, "hang", 1);
    const { running, verdicts, interrupt } = begin();
    await elapse(Promise.resolve(), 0);
    await vi.advanceTimersByTimeAsync(2000);
    expect(fakes.asked.at(-1)).toBe(`keeper 1 ${message}`);
    interrupt();
    expect(await elapse(running, 100)).toBe(seconds);
    expect(verdicts().filter((text) => /TBROK|not clean/.test(text))).toEqual([]);
  });
});

test.each([false, true])(
  "a check that is given up for Ctrl-C leaves what passed neither TWARN nor checked (each %s)",
  async (each) => {
    fakes.action = only("keeper", "check", "hang", 1);
    const { running, verdicts, checks, interrupt } = begin(each);
    await elapse(Promise.resolve(), 0);
    await vi.advanceTimersByTimeAsync(2000);
    interrupt();
    await elapse(running, 100);
    expect(verdicts()).toEqual(each ? ["A TPASS"] : ["A TPASS", "B TPASS"]);
    expect(checks()).toEqual([]);
  },
);

describe("whoever ends the run may hit its processes first: none of their testcases has ended", () => {
  test.each([
    ["keeper", "provision", 1, []],
    ["worker", "run", 2, ["A interrupted"]],
    ["worker", "made", 2, ["A interrupted"]],
    ["worker", "done", 2, ["A interrupted"]],
  ] as const)("%s in %s", async (role, message, number, expected) => {
    const run = begin();
    fakes.action = (asked) => {
      if (only(role, message, "die", number)(asked) === "right") return "right";
      // The signal arrives when the process's end has been seen, and nothing has been made of it.
      void Promise.resolve().then(() => Promise.resolve().then(run.interrupt));
      return "die";
    };
    await elapse(run.running, 100);
    expect(run.verdicts()).toEqual(expected);
  });
});

describe.each(["die", "tear", "garble", "error"] as const)("a keeper whose answer is to %s", (action) => {
  test("when it is to make the filesystem, is that line's TBROK", async () => {
    fakes.action = only("keeper", "provision", action, 1);
    const { running, verdicts } = begin();
    await elapse(running, 10);
    expect(verdicts()).toEqual(["A TBROK", "B TPASS", "C TPASS"]);
  });

  test("when it is to check, leaves its lines unchecked", async () => {
    fakes.action = only("keeper", "check", action, 1);
    const { running, verdicts } = begin();
    await elapse(running, 10);
    expect(verdicts()).toEqual(["A TPASS", "B TPASS", "C TPASS", "A B not clean"]);
  });
});

describe("what could be had before", () => {
  test.each([true, false])(
    "and can't any more breaks only its line, but for a usage error at the start (%s)",
    async (first) => {
      fakes.usage = true;
      fakes.action = only("keeper", "provision", "error", first ? 1 : 2);
      const { running, verdicts } = begin();
      if (first) await expect(elapse(running, 10).then(() => running)).rejects.toThrow("ext4: no provision");
      else await elapse(running, 10);
      expect(verdicts()).toEqual(first ? [] : ["A TPASS", "B TPASS", "C TBROK"]);
    },
  );

  test.each(["hang", "error"] as const)(
    "and now is to %s ends what runs on a machine that can be replaced",
    async (action) => {
      fakes.usage = true;
      fakes.action = only("keeper", "provision", action, 2);
      const { running, verdicts } = begin(false, { replaceable: true });
      await elapse(running, 1000);
      await expect(running).rejects.toThrow(action === "hang" ? "did not answer 'provision'" : "xfs: no provision");
      expect(verdicts()).toEqual(["A TPASS", "B TPASS", "C TBROK"]);
    },
  );
});

test("what goes wrong on a filesystem is the last on it", async () => {
  fakes.action = only("worker", "made", "error", 2);
  const { running, verdicts } = begin();
  await elapse(running, 10);
  expect(verdicts()).toEqual(["A TBROK", "B TPASS", "C TPASS"]);
  expect(fakes.asked.filter((text) => /keeper \d (provision|check)$/.test(text))).toEqual([
    ...["keeper 1 provision", "keeper 1 check", "keeper 2 provision", "keeper 2 check"],
    ...["keeper 3 provision", "keeper 3 check"],
  ]);
});

test("a keeper that dies under a testcase takes no further one with it", async () => {
  fakes.action = (asked) => {
    if (
      asked.role === "worker" &&
      asked.message === "made" &&
      fakes.asked.filter((text) => / made$/.test(text)).length === 1
    ) {
      fakes.processes.find(({ role }) => role === "keeper")?.kill();
    }
    return "right";
  };
  const { running, verdicts } = begin();
  await elapse(running, 10);
  expect(verdicts()).toEqual(["A TPASS", "B TPASS", "C TPASS", "A not clean"]);
  expect(fakes.processes.filter(({ role }) => role === "keeper")).toHaveLength(3);
});

/** What a fault in each message must not leave as a pass; `close` and `kill` come when all is said. */
const DOUBTFUL: readonly Message[] = ["provision", "check", "run", "made", "done"];
const cases = (["keeper", "worker"] as const).flatMap((role) =>
  MESSAGES[role].flatMap((message) =>
    ACTIONS.filter((action) => action !== "right").map((action) => [role, message, action] as const),
  ),
);

test.each(cases)("a %s's %s may %s: the run ends, and the last line passes", async (role, message, action) => {
  // The first worker waits where no filesystem is.
  fakes.action = only(role, message, action, role === "worker" ? 2 : 1);
  const { running, verdicts } = begin();
  await elapse(running, 1000);
  const told = verdicts();
  expect(told.map((text) => text.split(" ")[0])).toEqual(expect.arrayContaining(["A", "B", "C"]));
  expect(told).toContain("C TPASS");
  if (DOUBTFUL.includes(message)) {
    expect(told.some((text) => /^A (TBROK|TFAIL|B not clean|not clean)/.test(text))).toBe(true);
  }
  expect(vi.getTimerCount()).toBe(0);
});
