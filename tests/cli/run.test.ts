import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { zeroCounters } from "../../ts/events/events.js";
import type { RunPlan } from "../../ts/run/scheduler.js";
import { fakeTerminal } from "../report/fixture.js";
import { eventsOf } from "../support/journal.js";
import { command, fakeScheduler, fakeSystem, temporaryFolder } from "./fixture.js";

/** A working directory with a runtest file `t` of three lines. */
function place(text = "A aiocp -b 1k\nB aiocp -b 2k\nC aiocp -b 4k\n") {
  const cwd = temporaryFolder();
  writeFileSync(join(cwd, "t"), text);
  mkdirSync(join(cwd, "work"));
  return { cwd, work: join(cwd, "work") };
}

describe("exit status", () => {
  test.each([
    ["TPASS", 0],
    ["TCONF", 0],
    ["TFAIL", 1],
    ["TBROK", 1],
    ["TWARN", 1],
  ] as const)("with one %s is %d", async (verdict, status) => {
    const { cwd } = place();
    const { runPlan } = fakeScheduler(({ id }) => (id === "B" ? verdict : "TPASS"));
    expect((await command("-d work t", fakeSystem({ cwd, runPlan }))).status).toBe(status);
  });

  test("is 5 when nothing passed, and the last line says so", async () => {
    const { cwd } = place();
    const { runPlan } = fakeScheduler(() => "TCONF");
    for (const reporter of ["progress", "quiet"]) {
      const { status, out } = await command(`-d work --reporter ${reporter} t`, fakeSystem({ cwd, runPlan }));
      expect(status).toBe(5);
      expect(out).toMatch(/\n?3 testcases in .*: 3 TCONF; nothing passed\n$/);
    }
  });

  test.each(["--require ^B$", "--require 2k --require ^A$", "--forbid-conf"])(
    "is 1 when TCONF will not do: %s",
    async (flags) => {
      const { cwd } = place();
      const { runPlan } = fakeScheduler(({ id }) => (id === "B" ? "TCONF" : "TPASS"));
      const { status, out } = await command(`-d work ${flags} t`, fakeSystem({ cwd, runPlan }));
      expect(status).toBe(1);
      expect(out).toMatch(/\nDid not pass:\n {2}B TCONF .*\n/);
      expect(out).not.toContain("Did not apply");
      const quiet = await command(
        `-d work --reporter quiet ${flags} t`,
        fakeSystem({ cwd, runPlan: fakeScheduler(({ id }) => (id === "B" ? "TCONF" : "TPASS")).runPlan }),
      );
      expect(quiet).toMatchObject({ status: 1, out: expect.stringMatching(/^B TCONF /) });
    },
  );

  test("is 0 when what did not apply is not required", async () => {
    const { cwd } = place();
    const { runPlan } = fakeScheduler(({ id }) => (id === "B" ? "TCONF" : "TPASS"));
    expect((await command("-d work --require ^A t", fakeSystem({ cwd, runPlan }))).status).toBe(0);
    const none = await command("-d work --require ^Z t", fakeSystem({ cwd, runPlan }));
    expect(none).toEqual({
      status: 2,
      out: "",
      err: "aiodio-ltp: --require ^Z means none of the 3 testcases: correct it\n",
    });
  });

  test("is 3 when the scheduler cannot go on, and what ran is summed up", async () => {
    const { cwd } = place();
    const { runPlan } = fakeScheduler();
    const system = fakeSystem({
      cwd,
      runPlan: async (plan, options, emit) => {
        await runPlan(plan.slice(0, 1), options, emit);
        throw Object.assign(new Error("spawn node ENOMEM"), { code: "ENOMEM", syscall: "spawn" });
      },
    });
    const { status, out, err } = await command("-d work t", system);
    expect(status).toBe(3);
    expect(err).toBe("aiodio-ltp: cannot go on: spawn node ENOMEM\n");
    expect(out).toMatch(/1 of 3 testcases in .*: 1 TPASS; 2 not run\n$/);
  });

  test("is 3 when testcases are left out without a reason", async () => {
    const { cwd } = place();
    const { runPlan } = fakeScheduler();
    const system = fakeSystem({ cwd, runPlan: (plan, options, emit) => runPlan(plan.slice(1), options, emit) });
    const { status, err } = await command("-d work t", system);
    expect(status).toBe(3);
    expect(err).toMatch(/^aiodio-ltp: cannot go on: Error: 1 testcases were left out, and nothing says why\n/);
  });
});

test("options reach the scheduler", async () => {
  const { cwd, work } = place();
  const { runPlan, options, ran } = fakeScheduler();
  const line = "-d work -j 2 --bail --engine sync --timeout-mul 3 -S ^B$ -i 2 t";
  expect((await command(line, fakeSystem({ cwd, runPlan }))).status).toBe(0);
  expect(options[0]).toMatchObject({
    directory: work,
    workers: 2,
    bail: expect.any(Function),
    defaults: { engine: "sync" },
    timeoutMul: 3,
  });
  expect(ran).toEqual(["t:A", "t:C", "t:A#2", "t:C#2"]);
});

test("what a list wants skipped is not run, and told with its reason", async () => {
  const { cwd } = place();
  writeFileSync(join(cwd, "kirk"), "^B$\n");
  writeFileSync(join(cwd, "lkft"), "skiplist:\n- reason: too slow\n  boards: all\n  tests: [A, B]\n");
  writeFileSync(join(cwd, "all"), ".\n");
  writeFileSync(join(cwd, "known"), "t:\n  C:\n  - skip: 1\n    message: hangs\n    why: so\n");
  for (const [options, runs, says] of [
    ["--skip-file kirk", ["t:A", "t:C"], `aiodio-ltp: not run: t:B: ${join(cwd, "kirk")}:1\n`],
    ["--skip-file lkft", ["t:C"], "aiodio-ltp: not run: t:A, t:B: too slow\n"],
    [
      "--known-issues known --skip-file kirk",
      ["t:A"],
      `aiodio-ltp: --known-issues: ${join(cwd, "known")}:5: the key "why" is not known and does not count\n` +
        `aiodio-ltp: not run: t:B: ${join(cwd, "kirk")}:1\naiodio-ltp: not run: t:C: hangs\n`,
    ],
  ] as const) {
    const { runPlan, ran } = fakeScheduler();
    const { status, err } = await command(`-d work ${options} t`, fakeSystem({ cwd, runPlan }));
    expect({ status, ran, err }, options).toEqual({ status: 0, ran: runs, err: says });
  }
  const { status, err } = await command("-d work --skip-file all t", fakeSystem({ cwd }));
  expect(status).toBe(2);
  expect(err).toMatch(/aiodio-ltp: --skip-file: all wants all testcases skipped\n$/);
});

test("what was skipped is counted and listed at the end", async () => {
  const { cwd } = place();
  writeFileSync(join(cwd, "known"), "t:\n  A:\n  - skip: 1\n    message: hangs\n");
  writeFileSync(join(cwd, "skip"), "^C$\n");
  for (const [reporter, prefix] of [
    ["progress", ""],
    ["quiet", ""],
    ["ltp", "### "],
  ]) {
    const line = `-d work --known-issues known --skip-file skip --reporter ${reporter} t`;
    const { status, out } = await command(line, fakeSystem({ cwd }));
    expect(status).toBe(0);
    const list = ["Skipped, as listed:", "  not run: t:A: hangs", `  not run: t:C: ${join(cwd, "skip")}:1`];
    expect(out).toContain(list.map((text) => `${prefix}${text}\n`).join(""));
    expect(out).toMatch(/\n(### )?1 testcases in .*: 1 TPASS; 2 skipped as listed\n$/);
  }
});

test("an expected failure is neither shown in red nor explained first", async () => {
  const { cwd } = place();
  writeFileSync(join(cwd, "known.json"), JSON.stringify({ t: { A: [{ message: "bug 1" }] } }));
  for (const [reporter, shown] of [
    ["progress", "A TFAIL  0.01 s  aiocp -b 1k\n    bug 1\n"],
    ["quiet", ""],
  ] as const) {
    const { runPlan } = fakeScheduler(({ id }) => (id === "C" ? "TPASS" : "TFAIL"));
    const system = fakeSystem({ cwd, runPlan, terminal: fakeTerminal({ colour: true }) });
    const { out } = await command(`-d work --known-issues known.json --reporter ${reporter} t`, system);
    const [before = "", ...rest] = out.split("B \u001b[1;31mTFAIL\u001b[0m  0.01 s  aiocp -b 2k\n");
    expect(before.replace(/^3 testcases in .*\n/, "")).toBe(shown);
    const after = rest.join("");
    expect(after).toMatch(/^ {4}aiocp.ts:1: .*TFAIL: .*B says so\n/);
    expect(after).toContain("Did not pass, as expected:\n  A TFAIL  0.01 s  aiocp -b 1k\n    bug 1\n");
  }
});

test("under a failure stands the command that runs just that again, with its seed", async () => {
  const { cwd, work } = place();
  const { runPlan } = fakeScheduler(({ id }) => (id === "B" ? "TFAIL" : "TPASS"));
  const seeded: typeof runPlan = (plan, options, emit) =>
    runPlan(plan, options, (event) => {
      emit(event);
      if (event.type !== "test-start") return;
      emit({ type: "line", key: event.key, result: "TINFO", file: "x.ts", line: 1, text: "Seed 0x1f, engine sync" });
    });
  const line = "-d work --engine sync --timeout-mul 2 -i 2 --shuffle=1 -j 2 --reporter quiet t";
  const { out } = await command(line, fakeSystem({ cwd, runPlan: seeded }));
  const [again = "", ...more] = [...out.matchAll(/ {4}repeat: (.*)\n/g)].map(([, text]) => text ?? "");
  expect(more).toEqual([again]);
  expect(again).toBe(`aiodio-ltp -d ${work} --engine sync --timeout-mul 2 -s '^B$' --seed 0x1f ${join(cwd, "t")}`);
  const { runPlan: second, ran, options } = fakeScheduler();
  const words = again.replaceAll("'", "").split(" ").slice(1);
  expect((await command(words, fakeSystem({ cwd: "/", runPlan: second }))).status).toBe(0);
  expect(ran).toEqual(["t:B"]);
  expect(options[0]).toMatchObject({
    ...{ directory: work, timeoutMul: 2, defaults: { engine: "sync", seed: "0x1f" } },
  });
});

test("run -- runs a line without a file, and its failure is repeated like that", async () => {
  const { cwd, work } = place();
  const { runPlan, ran } = fakeScheduler(() => "TFAIL");
  const words = ["run", "-d", "work", "--reporter", "quiet", "--", "aiocp", "-b", "4 k", "--engine", "sync"];
  const { status, out } = await command(words, fakeSystem({ cwd, runPlan }));
  expect({ status, ran }).toEqual({ status: 1, ran: ["aiocp:aiocp"] });
  expect(out).toContain(`    repeat: aiodio-ltp run -d ${work} -- aiocp -b '4 k' --engine sync\n`);
  expect(await command("run --", fakeSystem({ cwd }))).toMatchObject({
    ...{ status: 2, err: "aiodio-ltp: run -- needs a program: run -- PROGRAM [ARG...]\n" },
  });
  const unknown = await command("run -d work -- aiocpp -b 4k", fakeSystem({ cwd }));
  expect(unknown.err).toMatch(/^aiodio-ltp: unknown program "aiocpp" \(did you mean "aiocp"\?\) at the command line/);
});

test("--durations says which lines took longest", async () => {
  const { cwd } = place();
  const { runPlan } = fakeScheduler();
  const seconds: Record<string, number> = { A: 1, B: 3, C: 2 };
  const slow: typeof runPlan = (plan, options, emit) =>
    runPlan(plan, options, (event) =>
      emit(event.type === "test-end" ? { ...event, durationSeconds: seconds[event.key.slice(2)] ?? 0 } : event),
    );
  const { out } = await command("-d work --durations 2 t", fakeSystem({ cwd, runPlan: slow }));
  expect(out).toContain("\nTook longest:\n     3.00 s  B  aiocp -b 2k\n     2.00 s  C  aiocp -b 4k\n\n3 testcases");
});

test("alone on a terminal it says what the machine can test, and what most people want", async () => {
  const terminal = fakeTerminal({ tty: true });
  const { status, out } = await command(
    "",
    fakeSystem({ terminal, cwd: temporaryFolder(), env: { TMPDIR: "/var/tmp" } }),
  );
  expect(out).toMatch(/^This machine can test \/var\/tmp: .* filesystem, .* free.*,\nand make .*\.\n/);
  expect(out).toContain("--filesystems ext4,xfs,btrfs --reporter html=report.html\n");
  expect(status).toBe(0);
  const nowhere = fakeSystem({ terminal: fakeTerminal({ tty: true }), env: { TMPDIR: "/nowhere" } });
  expect(await command("", nowhere)).toMatchObject({
    ...{ status: 1, out: expect.stringContaining("Nothing can be tested here: directory: no directory /nowhere") },
  });
  // Elsewhere it is what it was: nothing to run was named.
  expect(await command("", fakeSystem())).toMatchObject({
    status: 2,
    err: expect.stringContaining("no runtest file given"),
  });
});

test("the kernel log is told before each line", async () => {
  const { cwd } = place();
  const kernelLog = join(cwd, "kmsg");
  writeFileSync(kernelLog, "");
  await command("-d work -s A -s C t", fakeSystem({ cwd, kernelLog }));
  expect(readFileSync(kernelLog, "utf8")).toBe("aiodio-ltp: Starting A\naiodio-ltp: Starting C\n");
});

test("--bail leaves the rest not run", async () => {
  const { cwd } = place();
  const { runPlan } = fakeScheduler(({ id }) => (id === "B" ? "TFAIL" : "TPASS"));
  const { status, out } = await command("-d work --bail t", fakeSystem({ cwd, runPlan }));
  expect(status).toBe(1);
  expect(out).toMatch(/\n2 of 3 testcases in .*: 1 TFAIL, 1 TPASS; 1 not run\n$/);
});

test("--bail does not stop at a failure that a known issue explains", async () => {
  const { cwd } = place();
  writeFileSync(join(cwd, "known.json"), JSON.stringify({ t: { A: [{ message: "known" }] } }));
  const { runPlan } = fakeScheduler(({ id }) => (id === "C" ? "TPASS" : "TFAIL"));
  const { status, out } = await command("-d work --bail --known-issues known.json t", fakeSystem({ cwd, runPlan }));
  expect(status).toBe(1);
  expect(out).toMatch(/\n2 of 3 testcases in .*: 2 TFAIL \(1 not passed as expected\); 1 not run\n$/);
});

test("--shuffle shows its seed, and the seed brings the order back", async () => {
  const text = Array.from({ length: 30 }, (_, index) => `T${index} aiocp`).join("\n");
  const { cwd } = place(text);
  const [first, second] = [fakeScheduler(), fakeScheduler()];
  const { out } = await command("-d work --shuffle t", fakeSystem({ cwd, runPlan: first.runPlan }));
  const option = /--shuffle=\d+/.exec(out)?.[0] ?? "";
  await command(`-d work ${option} t`, fakeSystem({ cwd, runPlan: second.runPlan }));
  expect(second.ran).toEqual(first.ran);
});

describe("one clear error, status 2, nothing left behind", () => {
  test.each([
    [
      "",
      {},
      /^aiodio-ltp: no runtest file given: name a path, a program, the ID of a line, or one of .*ltp-aiodio.part1/,
    ],
    ["lsit", {}, /^aiodio-ltp: no runtest file "lsit" \(did you mean "list"\?\)/],
    ["missing", {}, /^aiodio-ltp: no runtest file "missing"/],
    ["work", {}, /^aiodio-ltp: work is a directory: name a runtest file in it\n$/],
    ["--resume t", {}, /^aiodio-ltp: no run has been kept: name its journal\n$/],
    ["--no-journal --journal j t", {}, /^aiodio-ltp: --no-journal keeps nothing: drop it, or/],
    ["--resume --journal j t", {}, /^aiodio-ltp: no journal .*\/j: name another/],
    ["-s nothing t", {}, /^aiodio-ltp: --select and --skip leave none of the 3 lines/],
    ["-d nowhere t", {}, /^aiodio-ltp: no directory .*\/nowhere: create it, or choose another with -d DIR\n$/],
    ["-d t t", {}, /^aiodio-ltp: .*\/t is no directory/],
    ["t", { TMPDIR: "work" }, /^aiodio-ltp: You must specify an absolute pathname for environment variable TMPDIR/],
    ["t", { TMPDIR: "/nowhere" }, /^aiodio-ltp: no directory \/nowhere/],
    ["-d /proc t", {}, /^aiodio-ltp: \/proc /],
    ["-d work --output nowhere/x t", {}, /^aiodio-ltp: --output: cannot write .*\/nowhere\/x \(ENOENT\)/],
    ["-d work --output work t", {}, /^aiodio-ltp: --output: .*\/work is a directory/],
    ["-d work --journal nowhere/j t", {}, /^aiodio-ltp: cannot write the journal .*\/nowhere\/j \(ENOENT\)/],
    ["-d work --journal t t", {}, /^aiodio-ltp: the journal .*\/t exists/],
  ])("%j with %j", async (line, env, message) => {
    const { cwd, work } = place();
    const { runPlan, ran } = fakeScheduler();
    const { status, err, out } = await command(line, fakeSystem({ cwd, env, runPlan }));
    expect(err).toMatch(message);
    expect(err.trimEnd()).not.toContain("\n");
    expect({ status, out, ran }).toEqual({ status: 2, out: "", ran: [] });
    expect(readdirSync(work)).toEqual([]);
    expect(readdirSync(cwd).sort()).toEqual(["t", "work"]);
  });

  test("a malformed file, with every line that is wrong", async () => {
    const { cwd } = place("A aiocp\nB\nC aiocp 'x\n");
    const { status, err } = await command("-d work t", fakeSystem({ cwd }));
    expect(status).toBe(2);
    expect(err.split("\n").map((line) => line.split(":").slice(0, 2).join(":"))).toEqual([
      "aiodio-ltp: t is malformed, so nothing was run",
      "t:2",
      "t:3",
      "",
    ]);
  });

  test.skipIf(process.getuid?.() === 0)("a directory that is not writable", async () => {
    const { cwd, work } = place();
    chmodSync(work, 0o555);
    const { status, err } = await command("-d work t", fakeSystem({ cwd }));
    expect({ status, err }).toEqual({
      status: 2,
      err: `aiodio-ltp: ${work} is not writable for this user: choose another with -d DIR\n`,
    });
  });
});

describe("interruption", () => {
  test.each(["SIGINT", "SIGTERM", "SIGHUP"])("%s ends the run in good order with 130", async (signal) => {
    const { cwd } = place();
    const { runPlan, ran } = fakeScheduler(({ id }) => {
      if (id === "B") system.signals.emit(signal);
      return "TPASS";
    });
    const system = fakeSystem({ cwd, runPlan });
    const { status, out, err } = await command("-d work --journal j t", system);
    expect(status).toBe(130);
    expect(ran).toEqual(["t:A", "t:B"]);
    expect(out).toMatch(
      /\nInterrupted: 1 of 3 testcases in .*: 1 TPASS; 2 not run\nJournal: .*\/j \(go on with --resume\)\n$/,
    );
    expect(err).toMatch(/interrupted, ending what runs/);
    const { events } = await eventsOf(join(cwd, "j"));
    expect(events.at(-1)).toMatchObject({ type: "run-end", interrupted: true, notRun: 2 });
    expect(system.exits).toEqual([]);
    expect(system.signals.listenerCount(signal)).toBe(0);
  });

  test.each([
    ["later is meant, and exits at once", 501, [130]],
    ["at once is npx forwarding the first, and changes nothing", 20, []],
  ])("a second signal %s", async (_name, laterMs, exits) => {
    const { cwd } = place();
    const times = [1000, 1000 + laterMs];
    const { runPlan } = fakeScheduler(() => {
      system.signals.emit("SIGINT");
      system.signals.emit("SIGINT");
      return "TPASS";
    });
    const system = fakeSystem({ cwd, runPlan, nowMs: () => times.shift() ?? 0 });
    expect((await command("-d work t", system)).status).toBe(130);
    expect(system.exits).toEqual(exits);
  });

  test.each([
    ["ends the run when nothing else keeps its results", "-d work t", 130, ["t:A"]],
    ["does not end the run when a journal keeps its results", "-d work --journal j t", 0, ["t:A", "t:B", "t:C"]],
  ])("output that nobody reads any more %s", async (_name, line, expected, expectedRan) => {
    const { cwd } = place();
    const { runPlan, ran } = fakeScheduler(({ id }) => {
      if (id === "A") system.terminal.close();
      return "TPASS";
    });
    const system = fakeSystem({ cwd, runPlan });
    const { status, err } = await command(line, system);
    expect({ status, err, ran }).toEqual({ status: expected, err: "", ran: expectedRan });
  });
});

describe("resuming", () => {
  /** A run that SIGINT ended while B was running. */
  async function interrupted(extra = "") {
    const { cwd } = place();
    const { runPlan } = fakeScheduler(({ id }) => {
      if (id === "B") system.signals.emit("SIGINT");
      return id === "A" ? "TFAIL" : "TPASS";
    });
    const system = fakeSystem({ cwd, runPlan });
    await command(`-d work --journal j ${extra} t`, system);
    return cwd;
  }

  test("runs what has no verdict, and reports all", async () => {
    const cwd = await interrupted();
    const { runPlan, ran } = fakeScheduler();
    const line = "-d work --journal j --resume --output o.json t";
    const { status, out } = await command(line, fakeSystem({ cwd, runPlan }));
    expect(ran).toEqual(["t:B", "t:C"]);
    // A's failure of the first part counts.
    expect(status).toBe(1);
    expect(out).toMatch(/\n3 testcases \(1 of them earlier\) in .*: 1 TFAIL, 2 TPASS\n/);
    const { results } = JSON.parse(readFileSync(join(cwd, "o.json"), "utf8"));
    expect(results.map((result: { test_fqn: string; status: string }) => [result.test_fqn, result.status])).toEqual([
      ["A", "fail"],
      ["B", "pass"],
      ["C", "pass"],
    ]);
    expect(results[0].test.log).toContain("TFAIL: A says so");
  });

  test("what passed on a filesystem that was never checked is TWARN, and is run again", async () => {
    const { cwd } = place();
    const { runPlan, ran } = fakeScheduler();
    const unchecked: RunPlan = (plan, options, emit) => {
      const made = { filesystem: "ext4", worker: 1, mounts: [], dirtiedBytes: 0 };
      emit({ type: "filesystem", time: new Date().toISOString(), ...made });
      return runPlan(plan, options, emit);
    };
    const first = await command("-d work --journal j t", fakeSystem({ cwd, runPlan: unchecked }));
    expect(first.status).toBe(1);
    expect(first.out).toContain("ext4 was not checked any more, so what passed is TWARN: t:A, t:B, t:C\n");
    expect(first.out).toContain(": 3 TWARN\n");
    ran.length = 0;
    const { status } = await command("-d work --journal j --resume", fakeSystem({ cwd, runPlan }));
    expect({ status, ran }).toEqual({ status: 0, ran: ["t:A", "t:B", "t:C"] });
  });

  test("without FILE takes the plan from the journal", async () => {
    const cwd = await interrupted();
    const { runPlan, ran } = fakeScheduler();
    await command("-d work --journal j --resume", fakeSystem({ cwd, runPlan }));
    expect(ran).toEqual(["t:B", "t:C"]);
    const refused = await command("-d work --journal j --resume -i 2", fakeSystem({ cwd }));
    expect(refused).toMatchObject({ status: 2, err: expect.stringMatching(/--resume without FILE takes the plan/) });
  });

  test("judges all results by the known issues of now", async () => {
    const { cwd } = place("A aiocp\nB aiocp\nC aiocp\nD aiocp\n");
    const known = (entries: object) => writeFileSync(join(cwd, "k"), JSON.stringify({ t: entries }));
    known({ A: [{ message: "bug 1" }], B: [{ message: "bug 2" }] });
    const first = fakeScheduler(({ id }) => {
      if (id === "D") system.signals.emit("SIGINT");
      return "TFAIL";
    });
    const system = fakeSystem({ cwd, runPlan: first.runPlan });
    await command("-d work --journal j --known-issues k t", system);
    // A's entry still explains, B's is gone, C's is new.
    known({ A: [{ message: "bug 1" }], C: [{ message: "bug 3" }] });
    const { runPlan, ran } = fakeScheduler();
    const { status, out } = await command(
      "-d work --journal j --resume --known-issues k t",
      fakeSystem({ cwd, runPlan }),
    );
    expect(ran).toEqual(["t:D"]);
    expect(status).toBe(1);
    expect(out).toMatch(/\nDid not pass:\n {2}B TFAIL .*\n\n/);
    expect(out).toMatch(/\nDid not pass, as expected:\n {2}A .*\n {4}bug 1\n {2}C .*\n {4}bug 3\n\n/);
    expect(out).not.toContain("match nothing any more");
    // The journal tells the same.
    const again = await command("-d work --journal j --resume --known-issues k t", fakeSystem({ cwd }));
    expect(again).toMatchObject({ status: 1, out: expect.stringContaining("(2 not passed as expected)") });
    const without = await command("-d work --journal j --resume t", fakeSystem({ cwd }));
    expect(without.out).not.toContain("as expected");
  });

  test("runs again what could not be begun, since its machine or filesystem was not there", async () => {
    const { cwd } = place();
    const whole = fakeScheduler();
    const system = fakeSystem({
      cwd,
      runPlan: async (plan, options, emit) => {
        const result = await whole.runPlan(plan.slice(0, 1), options, emit);
        emit({ type: "unavailable", filesystem: "xfs", reason: "no mkfs.xfs", keys: [plan[1]?.key ?? ""] });
        const counters = { ...zeroCounters(), broken: 1 };
        const end = { verdict: "TBROK", exit: 2, counters, durationSeconds: 0, summary: true, unbegun: true } as const;
        emit({ type: "test-end", time: "", key: plan[2]?.key ?? "", ...end });
        return result;
      },
    });
    const first = await command("-d work --journal j t", system);
    expect(first.out).toMatch(/\n3 testcases in .*: 1 TBROK, 1 TCONF, 1 TPASS\n/);
    const { runPlan, ran } = fakeScheduler();
    const { status, out } = await command("-d work --journal j --resume t", fakeSystem({ cwd, runPlan }));
    expect(ran).toEqual(["t:B", "t:C"]);
    expect(out).toMatch(/\n3 testcases \(1 of them earlier\) in .*: 3 TPASS\n/);
    expect(status).toBe(0);
  });

  test("skips what lists want now, and runs what they wanted skipped then", async () => {
    const { cwd } = place();
    const skip = (text: string) => writeFileSync(join(cwd, "skip"), text);
    skip("^A$\n");
    const { runPlan } = fakeScheduler(() => {
      system.signals.emit("SIGINT");
      return "TPASS";
    });
    const system = fakeSystem({ cwd, runPlan });
    await command("-d work --journal j --skip-file skip t", system);
    skip("^C$\n");
    const { runPlan: second, ran } = fakeScheduler();
    const line = "-d work --journal j --resume --skip-file skip t";
    expect((await command(line, fakeSystem({ cwd, runPlan: second }))).status).toBe(0);
    expect(ran).toEqual(["t:A", "t:B"]);
    // What has run keeps its verdict.
    skip("^[AC]$\n");
    const { out } = await command(line, fakeSystem({ cwd }));
    expect(out).toMatch(/\n2 testcases \(2 of them earlier\) in .*: 2 TPASS; 1 skipped as listed\n/);
  });

  test("of a run on another kernel goes on by force only", async () => {
    const cwd = await interrupted();
    const text = readFileSync(join(cwd, "j"), "utf8");
    writeFileSync(join(cwd, "j"), text.replace(`"kernel":"${release()}"`, '"kernel":"2.6.5"'));
    const refused = fakeScheduler();
    expect(await command("-d work --journal j --resume t", fakeSystem({ cwd, runPlan: refused.runPlan }))).toEqual({
      ...{ status: 2, out: "" },
      err: expect.stringContaining(
        `another kernel (2.6.5 there, ${release()} here): make it the same, go on all the same`,
      ),
    });
    expect(refused.ran).toEqual([]);
    const { runPlan, ran } = fakeScheduler();
    await command("-d work --journal j --resume=force t", fakeSystem({ cwd, runPlan }));
    expect(ran).toEqual(["t:B", "t:C"]);
  });

  test("with --bail stops at new trouble only", async () => {
    const cwd = await interrupted();
    const { runPlan, ran } = fakeScheduler();
    await command("-d work --journal j --resume --bail t", fakeSystem({ cwd, runPlan }));
    expect(ran).toEqual(["t:B", "t:C"]);
  });

  test("keeps a random order", async () => {
    const cwd = await interrupted("--shuffle");
    const { runPlan, ran } = fakeScheduler();
    const { status } = await command("-d work --journal j --resume --shuffle t", fakeSystem({ cwd, runPlan }));
    expect(status).not.toBe(2);
    const { start } = await eventsOf(join(cwd, "j"));
    expect(ran).toEqual(start.plan.map(({ key }) => key).slice(-ran.length));
  });

  test("with nothing left runs nothing", async () => {
    const cwd = await interrupted();
    await command("-d work --journal j --resume t", fakeSystem({ cwd }));
    const { runPlan, options } = fakeScheduler();
    const { status, out } = await command("-d work --journal j --resume t", fakeSystem({ cwd, runPlan }));
    expect({ status, options }).toEqual({ status: 1, options: [] });
    expect(out).toMatch(/3 testcases \(3 of them earlier\)/);
  });

  test.each([
    ["-d work --journal j --resume -S C t", /is of another plan: run 3 is "t:C aiocp -b 4k" there and nothing here/],
    ["-d / --journal j --resume t", /is of a run in .*\/work: add -d/],
    ["-d work --engine sync --journal j --resume t", /with another engine: drop --engine/],
    ["-d work --journal j t", /exists: go on with it by --resume/],
  ])("%s is refused and changes nothing", async (line, message) => {
    const cwd = await interrupted();
    const before = readFileSync(join(cwd, "j"));
    const { status, err } = await command(line, fakeSystem({ cwd }));
    expect(status).toBe(2);
    expect(err).toMatch(message);
    expect(readFileSync(join(cwd, "j"))).toEqual(before);
  });
});

describe("reporters", () => {
  test.each(["ltp", "quiet", "progress"])("%s writes to standard output only", async (reporter) => {
    const { cwd } = place();
    const { out, err } = await command(`-d work --reporter ${reporter} t`, fakeSystem({ cwd }));
    expect(err).toBe("");
    expect(out).toMatch(/3 testcases in .*: 3 TPASS\n$/);
  });

  test("json alone is the whole standard output", async () => {
    const { cwd } = place();
    const { out } = await command("-d work --reporter json t", fakeSystem({ cwd }));
    expect(JSON.parse(out).results).toHaveLength(3);
  });

  test("json with --output goes to the file alone, and replaces an older one", async () => {
    const { cwd } = place();
    writeFileSync(join(cwd, "o"), "old");
    const { out } = await command("-d work --reporter json --output o t", fakeSystem({ cwd }));
    expect(out).toBe("");
    expect(JSON.parse(readFileSync(join(cwd, "o"), "utf8")).stats.passed).toBe(3);
    expect(readdirSync(cwd).sort()).toEqual(["o", "t", "work"]);
  });

  test.each(["/dev/null", "file"])(
    "--output through a link to %s leaves the link, and what it leads to",
    async (to) => {
      const { cwd } = place();
      writeFileSync(join(cwd, "file"), "old");
      symlinkSync(to, join(cwd, "o"));
      expect((await command("-d work --output o t", fakeSystem({ cwd }))).status).toBe(0);
      expect(readlinkSync(join(cwd, "o"))).toBe(to);
      expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
      const text = readFileSync(join(cwd, "file"), "utf8");
      expect(to === "file" ? JSON.parse(text).stats.passed : text).toBe(to === "file" ? 3 : "old");
    },
  );

  test("--output follows no link that lies in the way of its temporary file", async () => {
    const { cwd } = place();
    writeFileSync(join(cwd, "victim"), "precious");
    symlinkSync("victim", join(cwd, `o.${process.pid}.tmp`));
    expect(await command("-d work --output o t", fakeSystem({ cwd }))).toMatchObject({ status: 3 });
    expect(readFileSync(join(cwd, "victim"), "utf8")).toBe("precious");
  });
});

test.skipIf(!existsSync("/dev/full"))("a journal that cannot be written any more ends the run with 3", async () => {
  const { cwd } = place();
  const { runPlan, ran } = fakeScheduler();
  const { status, err } = await command("-d work --journal /dev/full t", fakeSystem({ cwd, runPlan }));
  expect(status).toBe(3);
  expect(err).toMatch(/^aiodio-ltp: cannot go on: writing the journal \/dev\/full failed \(ENOSPC.*\): make room/);
  expect(ran).toEqual([]);
});
