/** A worker that still talks while it is ended. */
import { expect, test, vi } from "vitest";
import type { Death } from "../../ts/process/line-process.js";
import { supervise } from "../../ts/run/supervise.js";
import type { Listener, Worker } from "../../ts/run/worker.js";

test("a deadline that a testcase says while it is being killed keeps nobody waiting", async () => {
  vi.useFakeTimers();
  try {
    const interruption = new AbortController();
    let listener: Listener | undefined;
    let die: (death: Death) => void = () => {};
    const worker = {
      dead: false,
      death: new Promise<Death>((resolve) => {
        die = resolve;
      }),
      send: (_: unknown, to: Listener) => {
        listener = to;
        to.message({ type: "deadline", seconds: 1000 });
        interruption.abort();
      },
      kill() {
        listener?.message({ type: "deadline", seconds: 1000 });
        this.dead = true;
        die({ code: null, signal: "SIGKILL" });
      },
    };
    const request = { program: "t", argv: [] };
    const ending = await supervise(worker as unknown as Worker, request, () => {}, interruption.signal, 30);
    expect(ending).toMatchObject({ interrupted: true, alive: false });
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});
