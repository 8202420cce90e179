/** The controller's side of a guest, with a machine that is played by the test. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PlannedRun, RunEvent } from "../../ts/events/events.js";
import type { FromAgent, ToAgent } from "../../ts/guest/agent-protocol.js";
import { BootError, Guest } from "../../ts/guest/guest.js";
import { type GuestRunOptions, portions, runInGuests } from "../../ts/guest/scheduler.js";
import { endOf, FACTS, FakeMachine, LIMITS, ready, run, startOf } from "./fixture.js";

/** An agent that passes everything, but panics in the runs with these IDs. */
function agent(panics: readonly string[] = [], fails: readonly string[] = []) {
  return (request: ToAgent, machine: FakeMachine) => {
    if (request.type !== "run") return;
    for (const one of request.plan) {
      machine.say(startOf(one));
      // The stream delivers before the machine is gone, as a pipe does.
      if (panics.includes(one.id)) return void setImmediate(() => machine.panic());
      machine.say(endOf(one, fails.includes(one.id) ? "TFAIL" : "TPASS"));
      if (request.bail && fails.includes(one.id)) break;
    }
    machine.say({ type: "ended" });
  };
}

/** Runs a plan in fake machines; returns what happened. */
async function play(
  plan: readonly PlannedRun[],
  make: (index: number) => FakeMachine,
  parts: Partial<GuestRunOptions> = {},
) {
  const machines: FakeMachine[] = [];
  const told: string[] = [];
  const events: RunEvent[] = [];
  const result = await runInGuests(
    plan,
    {
      ...{ workers: 1, timeoutMul: 1, calibrationMs: 10, limits: LIMITS },
      request: { filesystems: "btrfs", defaults: {}, checkEach: false, trace: false, env: {} },
      start: () => {
        const machine = make(machines.length);
        machines.push(machine);
        return { machine, accelerator: "tcg" };
      },
      tell: (text) => void told.push(text),
      signal: new AbortController().signal,
      ...parts,
    },
    (event) => void events.push(event),
  );
  const verdicts = events.flatMap((event) => (event.type === "test-end" ? [`${event.key} ${event.verdict}`] : []));
  return { machines, told, events, verdicts, result };
}

describe("boot", () => {
  const signal = new AbortController().signal;

  test("ends with what the agent tells", async () => {
    const guest = await Guest.boot(ready(), signal, LIMITS);
    expect(guest.facts).toEqual(FACTS);
    expect(guest.calibrationMs).toBe(80);
  });

  test("a panic is told with the console's words", async () => {
    const machine = new FakeMachine();
    machine.panic();
    const error = await Guest.boot(machine, signal, LIMITS).catch((failure: unknown) => failure);
    expect(error).toBeInstanceOf(BootError);
    expect((error as BootError).message).toBe("it ended while it came up: kernel panic: Fatal exception");
    expect((error as BootError).words).toContain("Oops: bad area [#1]");
  });

  test("one that never ends is given up, and killed", async () => {
    const machine = new FakeMachine();
    machine.console.push(Buffer.from("[ 0.0] Linux\n"));
    await expect(Guest.boot(machine, signal, { ...LIMITS, boot: 1 })).rejects.toThrow(
      "it did not come up within 0.001 s: the kernel has not come to its init",
    );
    expect(machine.killed).toBe(true);
  });

  test("can be interrupted", async () => {
    const machine = new FakeMachine();
    const abort = new AbortController();
    const booting = Guest.boot(machine, abort.signal, LIMITS);
    abort.abort();
    await expect(booting).rejects.toThrow("interrupted while it came up");
    expect(machine.killed).toBe(true);
  });
});

describe("the protocol", () => {
  const messages = [startOf(run("A")), endOf(run("A")), { type: "alive" } as const, { type: "ended" } as const];
  const bytes = Buffer.from(messages.map((message) => `${JSON.stringify(message)}\n`).join(""));

  test("in pieces of any size is the same", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 12 }), async (cuts) => {
        const points = [...cuts.sort((a, b) => a - b), bytes.length];
        const machine = ready((request) => {
          if (request.type !== "run") return;
          let from = 0;
          for (const to of points) {
            if (to > from) machine.port.push(bytes.subarray(from, to));
            from = to;
          }
        });
        const { verdicts } = await play([run("A")], () => machine);
        expect(verdicts).toEqual(["g/btrfs/s:A TPASS"]);
      }),
      { numRuns: 50 },
    );
  });

  test("garbage between messages is no message and does no harm", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 200 }), { minLength: 4, maxLength: 4 }), async (noise) => {
        const machine = ready((request) => {
          if (request.type !== "run") return;
          for (const [index, message] of messages.entries()) {
            machine.port.push(Buffer.concat([noise[index] ?? new Uint8Array(), Buffer.from("\n")]));
            machine.say(message);
          }
        });
        const { verdicts } = await play([run("A")], () => machine);
        expect(verdicts).toEqual(["g/btrfs/s:A TPASS"]);
      }),
      { numRuns: 50 },
    );
  });

  const key = "g/btrfs/s:A";
  const [start, end] = [startOf(run("A")), endOf(run("A"))];
  const foreign = endOf(run("Z"));
  const known: RunEvent = { type: "known-issue", key, text: "it is nothing" };
  const begin: RunEvent = {
    ...{ type: "run-start", time: "", version: "0.1.0", directory: "/", workers: 1, machine: FACTS, plan: [] },
  };
  const finish: RunEvent = {
    ...{ type: "run-end", time: "", notRun: 0, interrupted: false },
    counters: { TPASS: 1, TFAIL: 0, TBROK: 0, TWARN: 0, TCONF: 0 },
  };
  const up: RunEvent = {
    ...{ type: "guest", time: "", guest: "h", worker: 1, machine: FACTS, bootSeconds: 1, timeoutMul: 1 },
  };
  const blame: RunEvent = {
    ...{ type: "check", time: "", filesystem: "btrfs", worker: 1, suspects: [key, "other"] },
    result: { clean: false, reports: [], unmountable: "EIO", seconds: 1 },
  };
  const absent: RunEvent = { type: "unavailable", filesystem: "btrfs", reason: "none", keys: ["g/btrfs/s:Z"] };

  test.each<[string, FromAgent[], string]>([
    ["of a testcase that it was not given", [startOf(run("Z")), foreign, start, end], 'something of "g/btrfs/s:Z"'],
    [
      "of a testcase that has ended",
      [start, end, startOf(run("A")), endOf(run("A"), "TFAIL")],
      'more of "g/btrfs/s:A"',
    ],
    ["that begins a run", [{ type: "event", event: begin }, start, end], 'a "run-start", which is not its to say'],
    ["that ends a run", [{ type: "event", event: finish }, start, end], 'a "run-end", which'],
    ["that excuses", [start, { type: "event", event: known }, end], 'a "known-issue", which'],
    [
      "that forgets known issues",
      [{ type: "event", event: { type: "stale-issues", issues: [] } }, start, end],
      'a "stale',
    ],
    ["of another guest", [{ type: "event", event: up }, start, end], 'a "guest", which'],
    ["that blames a testcase it was not given", [start, end, { type: "event", event: blame }], 'something of "other"'],
    ["that leaves out one", [{ type: "event", event: absent }, start, end], 'something of "g/btrfs/s:Z"'],
  ])("an event %s is dropped, and told once", async (_name, said, wrong) => {
    const { events, told } = await play([run("A")], () =>
      ready((request, machine) => {
        if (request.type !== "run") return;
        machine.say(...said, foreign, { type: "ended" });
      }),
    );
    // Nobody has spoken of a check.
    expect(events.map(({ type }) => type)).toEqual(["guest", "test-start", "test-end", "unchecked"]);
    expect(events[2]).toMatchObject({ key, verdict: "TPASS" });
    expect(told).toEqual([expect.stringContaining(`g: its agent has sent ${wrong}`)]);
  });

  test("whatever an agent sends, only what a scheduler says of the runs it was given comes through", async () => {
    const all = [begin, finish, up, known, blame, absent].map((event): FromAgent => ({ type: "event", event }));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...all, start, end, foreign), { maxLength: 20 }), async (said) => {
        const { events } = await play([run("A")], () =>
          ready((request, machine) => {
            if (request.type === "run") machine.say(...said, start, end, { type: "ended" });
          }),
        );
        const [first, ...rest] = events;
        expect(first).toMatchObject({ type: "guest", guest: "g" });
        expect(rest.pop()).toMatchObject({ type: "unchecked", suspects: [key] });
        expect(rest.filter(({ type }) => type !== "test-start" && type !== "test-end")).toEqual([]);
        expect(rest.filter((event) => "key" in event && event.key !== key)).toEqual([]);
        expect(rest.filter(({ type }) => type === "test-end")).toHaveLength(1);
      }),
      { numRuns: 100 },
    );
  });

  test("what is only shown comes through", async () => {
    const key = "g/btrfs/s:A";
    const shown = [
      { type: "progress", key, done: 1, total: 2, unit: "bytes" },
      { type: "trace", key, text: "pwrite(3) = 4096" },
    ] as const;
    const { events } = await play([run("A")], () =>
      ready((request, machine) => {
        machine.say(startOf(run("A")), ...shown.map((event): FromAgent => ({ type: "event", event })), endOf(run("A")));
        agent()({ ...request, plan: [] } as ToAgent, machine);
      }),
    );
    expect(events).toEqual(expect.arrayContaining(shown.map((event) => expect.objectContaining(event))));
  });

  test.each([
    ["an event of no kind", { type: "event", event: { type: "party" } }],
    ["an event without its fields", { type: "event", event: { type: "test-end", key: "g/btrfs/s:A" } }],
    ["a message of no kind", { type: "hello" }],
    ["something else than an object", [1, 2]],
  ])("%s is dropped", async (_, message) => {
    const { verdicts } = await play([run("A")], () =>
      ready((request, machine) => {
        machine.port.push(`${JSON.stringify(message)}\n`);
        agent()(request, machine);
      }),
    );
    expect(verdicts).toEqual(["g/btrfs/s:A TPASS"]);
  });
});

describe("a run in guests", () => {
  test("tells of the guest before its testcases, with time limits by calibration", async () => {
    const { events, machines } = await play([run("A"), run("B")], () => ready(agent()), { timeoutMul: 2 });
    expect(events[0]).toMatchObject({ type: "guest", guest: "g", worker: 1, machine: FACTS, timeoutMul: 16 });
    expect(machines).toHaveLength(1);
    expect(machines[0]?.requests).toMatchObject([{ type: "run", timeoutMul: 16 }]);
    expect(machines[0]?.killed).toBe(true);
  });

  test("a panic is the testcase's TBROK with the oops, and the next one runs in a fresh guest", async () => {
    const { verdicts, events, machines } = await play([run("A"), run("B"), run("C")], () => ready(agent(["B"])));
    expect(verdicts).toEqual(["g/btrfs/s:A TPASS", "g/btrfs/s:B TBROK", "g/btrfs/s:C TPASS"]);
    expect(machines).toHaveLength(2);
    expect(events.flatMap((event) => (event.type === "raw" ? [event.text] : []))).toEqual([
      "Oops: bad area [#1]",
      "Kernel panic - not syncing: Fatal exception",
    ]);
    expect(events.filter((event) => event.type === "test-start")).toHaveLength(3);
    expect(events).toContainEqual(
      expect.objectContaining({ result: "TBROK", text: "the guest died: kernel panic: Fatal exception" }),
    );
  });

  test("a guest that dies between testcases breaks the next one, and not for ever", async () => {
    const dying = () => ready((_, machine) => machine.die({ code: 1, signal: null }));
    const { verdicts, machines } = await play([run("A"), run("B")], dying);
    expect(verdicts).toEqual(["g/btrfs/s:A TBROK", "g/btrfs/s:B TBROK"]);
    expect(machines).toHaveLength(2);
  });

  test("one that hangs is killed, and told with its last lines", async () => {
    const hanging = () => {
      const machine = ready((request) => {
        if (request.type === "run" && request.plan[0]) machine.say(startOf(request.plan[0]));
        machine.console.push(Buffer.from("the last line\n"));
      });
      return machine;
    };
    const limits = { ...LIMITS, silence: 20 };
    const { verdicts, machines, events } = await play([run("A")], hanging, { limits });
    expect(verdicts).toEqual(["g/btrfs/s:A TBROK"]);
    expect(machines[0]?.killed).toBe(true);
    expect(events).toContainEqual(expect.objectContaining({ type: "raw", text: "the last line" }));
  });

  test("one that SIGKILL does not end is left behind, and the run goes on in another", async () => {
    let made = 0;
    const immortal = () => {
      const machine = ready(made++ === 0 ? undefined : agent());
      machine.mortal = made > 1;
      return machine;
    };
    const limits = { ...LIMITS, silence: 20, gone: 20 };
    const { verdicts, machines } = await play([run("A"), run("B")], immortal, { limits });
    expect(verdicts).toEqual(["g/btrfs/s:A TBROK", "g/btrfs/s:B TPASS"]);
    expect(machines.map(({ abandoned }) => abandoned)).toEqual([true, false]);
  });

  test("one that SIGKILL does not end as it comes up is left behind, too", async () => {
    const machine = new FakeMachine();
    machine.mortal = false;
    const limits = { ...LIMITS, boot: 1, gone: 1 };
    await expect(Guest.boot(machine, new AbortController().signal, limits)).rejects.toThrow("it did not come up");
    expect(machine.abandoned).toBe(true);
  });

  test("one that does not come up breaks all its testcases, once tried", async () => {
    const broken = () => {
      const machine = new FakeMachine();
      machine.panic();
      return machine;
    };
    const { verdicts, machines, told } = await play([run("A"), run("B"), run("C", "xfs")], broken);
    expect(verdicts).toEqual(["g/btrfs/s:A TBROK", "g/btrfs/s:B TBROK", "g/xfs/s:C TBROK"]);
    expect(machines).toHaveLength(1);
    expect(told.join("\n")).toContain("kernel panic: Fatal exception");
  });

  test("each guest of the plan is another machine; filesystems carry its name", async () => {
    const filesystem: FromAgent = {
      type: "event",
      event: { type: "filesystem", time: "", filesystem: "btrfs", worker: 1, mounts: [], dirtiedBytes: 0 },
    };
    const { machines, events } = await play([run("A"), run("A", "btrfs", "h")], () =>
      ready((request, machine) => {
        machine.say(filesystem);
        agent()(request, machine);
      }),
    );
    expect(machines).toHaveLength(2);
    expect(events.flatMap((event) => (event.type === "filesystem" ? [event.filesystem] : []))).toEqual([
      "g btrfs",
      "h btrfs",
    ]);
  });

  test("--bail ends with the first trouble, a panic included", async () => {
    const plan = [run("A"), run("B"), run("C"), run("D", "xfs")];
    const failed = await play(plan, () => ready(agent([], ["B"])), { bail: () => true });
    expect(failed.verdicts).toEqual(["g/btrfs/s:A TPASS", "g/btrfs/s:B TFAIL"]);
    const died = await play(plan, () => ready(agent(["B"])), { bail: () => true });
    expect(died.verdicts).toEqual(["g/btrfs/s:A TPASS", "g/btrfs/s:B TBROK"]);
    const excused = await play(plan, () => ready(agent([], ["B"])), { bail: () => false });
    expect(excused.verdicts).toEqual([
      "g/btrfs/s:A TPASS",
      "g/btrfs/s:B TFAIL",
      "g/btrfs/s:C TPASS",
      "g/xfs/s:D TPASS",
    ]);
    expect(excused.machines).toHaveLength(1);
  });

  test("what the agent could not do ends the run with its words", async () => {
    const unable = () => ready((_, machine) => machine.say({ type: "ended", error: "no disk" }));
    await expect(play([run("A")], unable)).rejects.toThrow("g could not go on: no disk");
  });

  test("what its agent could not do later is no end of the run: the rest runs in a fresh guest", async () => {
    // Its kernel hangs at the next filesystem.
    const hanging = (request: ToAgent, machine: FakeMachine) => {
      if (request.type !== "run") return;
      const [first, ...rest] = request.plan;
      if (first) machine.say(startOf(first), endOf(first));
      machine.say({ type: "ended", ...(rest.length > 0 && { error: "it hangs" }) });
    };
    const { machines, verdicts, told } = await play([run("A"), run("B"), run("C")], () => ready(hanging));
    expect(verdicts).toEqual(["g/btrfs/s:A TPASS", "g/btrfs/s:B TPASS", "g/btrfs/s:C TPASS"]);
    expect(machines.map(({ killed }) => killed)).toEqual([true, true, true]);
    expect(told).toEqual(["g could not go on: it hangs", "g could not go on: it hangs"]);
  });

  test("a testcase that its agent could not bring to an end is TBROK", async () => {
    const failing = (request: ToAgent, machine: FakeMachine) => {
      if (request.type !== "run") return;
      if (request.plan[0]?.id !== "A") return agent()(request, machine);
      machine.say(startOf(request.plan[0]), { type: "ended", error: "it hangs" });
    };
    const { verdicts } = await play([run("A"), run("B")], () => ready(failing));
    expect(verdicts).toEqual(["g/btrfs/s:A TBROK", "g/btrfs/s:B TPASS"]);
  });

  test("a fresh guest that can't even begin breaks what is left on that filesystem, and nothing else", async () => {
    const unable = (request: ToAgent, machine: FakeMachine) => {
      if (request.type === "run" && request.plan[0]?.id !== "B") return agent()(request, machine);
      machine.say({ type: "ended", error: "no disk" });
    };
    const plan = [run("A"), run("B", "xfs"), run("C", "xfs"), run("D", "ext4"), run("E", "btrfs", "h")];
    const { machines, verdicts, events } = await play(plan, () => ready(unable));
    expect(verdicts).toEqual([
      ...["g/btrfs/s:A TPASS", "g/xfs/s:B TBROK", "g/xfs/s:C TBROK"],
      ...["g/ext4/s:D TPASS", "h/btrfs/s:E TPASS"],
    ]);
    expect(machines).toHaveLength(4);
    expect(events).toContainEqual(expect.objectContaining({ result: "TBROK", text: "g could not go on: no disk" }));
  });

  test("an interrupt reaches the agent, and a guest that ignores it is killed", async () => {
    const abort = new AbortController();
    const deaf = () =>
      ready((request) => {
        if (request.type === "run") abort.abort();
      });
    const limits = { ...LIMITS, interrupt: 20 };
    const { machines, result, verdicts } = await play([run("A")], deaf, { limits, signal: abort.signal });
    expect(machines[0]?.requests.map(({ type }) => type)).toEqual(["run", "interrupt"]);
    expect(machines[0]?.killed).toBe(true);
    expect(result).toEqual({ interrupted: true });
    expect(verdicts).toEqual([]);
  });

  test("several guests at once run all testcases, each once", async () => {
    const plan = ["A", "B", "C", "D", "E"].map((id) => run(id));
    const { machines, verdicts, events } = await play(plan, () => ready(agent(["B"])), { workers: 2 });
    expect(verdicts.sort()).toEqual(plan.map(({ key, id }) => `${key} ${id === "B" ? "TBROK" : "TPASS"}`));
    // One for each place, and a fresh one after the panic.
    expect(machines).toHaveLength(3);
    expect(new Set(events.flatMap((event) => (event.type === "guest" ? [event.worker] : [])))).toEqual(new Set([1, 2]));
  });

  test("several at once share a filesystem's testcases", () => {
    const plan = [run("A"), run("B"), run("C"), run("D", "xfs")];
    const ids = (workers: number) => portions(plan, workers).map((part) => part.map(({ id }) => id).join(""));
    expect(ids(1)).toEqual(["ABC", "D"]);
    expect(ids(2)).toEqual(["AB", "C", "D"]);
  });
});
