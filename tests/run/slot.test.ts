/** A worker that not even SIGKILL ends, as when the kernel hangs: nobody waits for it forever, and the run goes on. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { TestReport } from "../../ts/events/events.js";
import { Slot } from "../../ts/run/slot.js";
import type { Listener } from "../../ts/run/worker.js";

const made = vi.hoisted(() => [] as { abandoned: boolean }[]);
/** When the first worker hangs. */
const hangs = vi.hoisted(() => ({ at: "work" as "work" | "end" }));

vi.mock("../../ts/run/worker.js", () => ({
  Worker: class {
    readonly hangs = made.length === 0;
    readonly pid = made.length + 1;
    abandoned = false;
    dead = false;
    private die: () => void = () => {};
    readonly death = new Promise((resolve) => {
      this.die = () => resolve({ code: 0, signal: null });
    });
    constructor() {
      made.push(this);
    }
    send(_request: unknown, listener: Listener) {
      if (this.hangs && hangs.at === "work") return listener.message({ type: "deadline", seconds: 1 });
      const result = this.hangs ? "TFAIL" : "TPASS";
      listener.message({ type: "line", result, file: "t.ts", line: 1, text: "said" });
      listener.message({ type: "done", summary: true });
    }
    kill() {}
    kernelStacks() {
      return ["thread 1 (D (disk sleep)) waits in io_schedule"];
    }
    abandon() {
      this.abandoned = true;
    }
    async close() {
      if (this.hangs) await new Promise(() => {});
      this.dead = true;
      this.die();
    }
  },
}));

beforeEach(() => {
  vi.useFakeTimers();
  made.length = 0;
});
afterEach(() => {
  vi.useRealTimers();
});

test("an unkillable worker is TFAIL without a summary, and the next testcase gets another one", async () => {
  hangs.at = "work";
  const slot = new Slot({});
  const said: string[] = [];
  const report = (event: TestReport) => {
    if (event.type === "raw") said.push(event.text);
  };
  const { signal } = new AbortController();
  const hung = slot.run({ program: "t", argv: [] }, report, signal);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await hung).toMatchObject({ verdict: "TFAIL", exit: 1, summary: false, interrupted: false, unended: true });
  expect(said).toEqual([
    "Test timeouted, sending SIGKILL!",
    "Cannot kill test processes!",
    "thread 1 (D (disk sleep)) waits in io_schedule",
    "Congratulation, likely test hit a kernel bug.",
    "Exiting uncleanly...",
  ]);
  expect(await slot.run({ program: "t", argv: [] }, report, signal)).toMatchObject({ verdict: "TPASS", exit: 0 });
  expect(made.map(({ abandoned }) => abandoned)).toEqual([true, false]);
  await slot.close();
});

test.each(["after a testcase", "when its place moves", "at the end of the run"])(
  "a worker that can't go %s is left behind",
  async (when) => {
    hangs.at = "end";
    const slot = new Slot({});
    const over =
      when === "after a testcase"
        ? slot.run({ program: "t", argv: [] }, () => {}, new AbortController().signal)
        : when === "when its place moves"
          ? slot.move([])
          : slot.close();
    await vi.advanceTimersByTimeAsync(60_000);
    const outcome = await over;
    if (outcome) expect(outcome).toMatchObject({ verdict: "TFAIL", exit: 1, summary: true });
    expect(made.map(({ abandoned }) => abandoned)).toEqual(when === "at the end of the run" ? [true] : [true, false]);
  },
);
