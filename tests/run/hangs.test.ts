/** A worker that hangs, or garbles its end, at each point of a testcase: the run goes on within its limits. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { TestReport } from "../../ts/events/events.js";
import { Slot } from "../../ts/run/slot.js";
import type { Listener } from "../../ts/run/worker.js";

type Step = "start" | "directory" | "done" | "remove";

const fake = vi.hoisted(() => ({
  /** Where the first worker hangs, or, after `remove`, the second one. */
  hangs: "start" as "start" | "directory" | "done" | "remove",
  /** The last message comes, but can't be read. */
  garbles: false,
  /** SIGKILL ends it. */
  mortal: true,
  workers: [] as { abandoned: boolean; dead: boolean }[],
}));

vi.mock("../../ts/run/worker.js", () => ({
  Worker: class {
    readonly number = fake.workers.push(this as never);
    readonly pid = this.number;
    abandoned = false;
    dead = false;
    private die: () => void = () => {};
    readonly death = new Promise((resolve) => {
      this.die = () => {
        this.dead = true;
        resolve({ code: null, signal: "SIGKILL" });
      };
    });
    send(request: { type: string; path?: string }, listener: Listener) {
      if (request.type === "remove") {
        if (fake.hangs !== "remove" || this.number > 2) listener.message({ type: "removed", error: undefined });
        return;
      }
      const hangs = (step: Step) => this.number === 1 && fake.hangs === step;
      if (hangs("start")) return;
      listener.message({ type: "directory", path: "/LTP_aio123456" });
      // A testcase without a time limit of its own.
      listener.message({ type: "deadline", seconds: fake.hangs === "remove" && this.number === 1 ? 1 : undefined });
      if (hangs("remove")) return;
      listener.message({ type: "line", result: "TPASS", file: "t.ts", line: 1, text: "said" });
      listener.message({ type: "deadline", seconds: 30, over: true });
      if (hangs("directory")) return;
      listener.message({ type: "directory", path: undefined });
      if (hangs("done") && fake.garbles) listener.garbled?.("The worker said something that can't be read");
      if (hangs("done")) return;
      listener.message({ type: "done", summary: true });
    }
    kill() {
      if (fake.mortal) this.die();
    }
    kernelStacks() {
      return [`thread ${this.pid} (D (disk sleep)) waits in __lookup_slow`];
    }
    abandon() {
      this.abandoned = true;
    }
    async close() {
      this.dead = true;
      this.die();
    }
  },
}));

beforeEach(() => {
  vi.useFakeTimers();
  fake.workers.length = 0;
});
afterEach(() => {
  vi.useRealTimers();
});

const { signal } = new AbortController();

/** Begins one testcase; what is said, and whether it is over. */
function begin(hangs: Step, garbles = false) {
  Object.assign(fake, { hangs, garbles, mortal: true });
  const slot = new Slot({ LTP_TIMEOUT_MUL: "2" });
  const said: string[] = [];
  const running = slot.run(
    { program: "t", argv: [] },
    (event: TestReport) => {
      if (event.type === "raw") said.push(event.text);
      if (event.type === "line") said.push(`${event.result}: ${event.text}`);
    },
    signal,
  );
  const state = { over: false };
  void running.then(() => {
    state.over = true;
  });
  const next = () => slot.run({ program: "t", argv: [] }, () => {}, signal);
  return { slot, said, running, state, next };
}

const seconds = (count: number) => vi.advanceTimersByTimeAsync(count * 1000);

test.each([
  ["start", false, 60, "before it began"],
  ["directory", false, 30, "while its directory was removed"],
  ["done", false, 30, "while its directory was removed"],
  ["done", true, 30, "while its directory was removed"],
] as const)(
  "hanging at %s (garbled: %s) ends after %d s, with the kernel's stack and no pass",
  async (step, garbles, limit, when) => {
    const { said, running, state, next, slot } = begin(step, garbles);
    await seconds(limit - 1);
    expect(state.over).toBe(false);
    expect(said.filter((text) => text.startsWith("It hung"))).toEqual([]);
    await seconds(2);
    expect(await running).toMatchObject({ verdict: "TBROK", hung: true, interrupted: false });
    const expected = [
      `It hung ${when}:`,
      "thread 1 (D (disk sleep)) waits in __lookup_slow",
      "TBROK: Test killed! (timeout?)",
    ];
    expect(said).toEqual(expect.arrayContaining(expected));
    expect(await next()).toMatchObject({ verdict: "TPASS", hung: false });
    await slot.close();
  },
);

test.each(["start", "directory", "done"] as const)("one that can't be killed at %s is left behind", async (step) => {
  const { said, running, next } = begin(step);
  fake.mortal = false;
  await seconds(200);
  expect(await running).toMatchObject({ verdict: "TFAIL", summary: false, hung: true });
  expect(said).toContain("Congratulation, likely test hit a kernel bug.");
  expect(fake.workers[0]).toMatchObject({ abandoned: true });
  expect(await next()).toMatchObject({ verdict: "TPASS" });
});

test.each([true, false])(
  "a fresh worker that hangs in the removal, too, is TWARN (it can be killed: %s)",
  async (mortal) => {
    const { said, running, next } = begin("remove");
    // The testcase's own time limit.
    await seconds(2);
    fake.mortal = mortal;
    await vi.waitFor(() => expect(fake.workers).toHaveLength(2));
    await seconds(200);
    expect(await running).toMatchObject({ verdict: "TBROK", hung: true });
    expect(said).toContain("TWARN: tst_rmdir: rmobj(/LTP_aio123456) failed: it was not done within 60 s");
    expect(said.at(-1)).toBe("thread 2 (D (disk sleep)) waits in __lookup_slow");
    expect(fake.workers.map(({ dead, abandoned }) => dead || abandoned)).toEqual([true, true, false]);
    expect(fake.workers[1]).toMatchObject({ abandoned: !mortal });
    expect(await next()).toMatchObject({ verdict: "TPASS" });
  },
);
