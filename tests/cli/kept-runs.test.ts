/** Runs that are kept without being asked for. */
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { keepRun, latestJournal, runsDirectory } from "../../ts/cli/kept-runs.js";
import { Journal } from "../../ts/report/journal.js";
import { eventsOf } from "../support/journal.js";
import { command, fakeScheduler, fakeSystem, temporaryFolder } from "./fixture.js";

const at = (seconds: number) => new Date(Date.UTC(2026, 10, 27, 3, 40, seconds));

/** A user's state, and a runtest file of three lines. */
function place() {
  const cwd = temporaryFolder();
  writeFileSync(join(cwd, "t"), "A aiocp\nB aiocp\nC aiocp\n");
  mkdirSync(join(cwd, "work"));
  const env = { XDG_STATE_HOME: join(cwd, "state") };
  return { cwd, env, runs: join(cwd, "state", "aiodio-ltp", "runs") };
}

test("are where the user's state is, and nowhere where that is unknown", () => {
  expect(runsDirectory({ XDG_STATE_HOME: "/s", HOME: "/h" })).toBe("/s/aiodio-ltp/runs");
  expect(runsDirectory({ XDG_STATE_HOME: "relative", HOME: "/h" })).toBe("/h/.local/state/aiodio-ltp/runs");
  expect(runsDirectory({ HOME: "/h" })).toBe("/h/.local/state/aiodio-ltp/runs");
  expect(runsDirectory({ HOME: "relative" })).toBeUndefined();
  expect(runsDirectory({})).toBeUndefined();
});

test("are the last five, for nobody else's eyes; one that still runs is not dropped", async () => {
  const { env, runs } = place();
  const running = await keepRun(env, at(0));
  writeFileSync(join(runs, "mine"), "");
  mkdirSync(join(runs, "my-directory"));
  for (const seconds of [1, 2, 3, 4, 5, 6, 6]) (await keepRun(env, at(seconds)))?.close();
  const names = [0, 3, 4, 5, 6].map((seconds) => `2026-11-27T03-40-0${seconds}.000Z`);
  const twin = `${names[4]}.2`;
  const wanted = [names[0], names[1], names[2], names[3], names[4], twin, "latest", "mine", "my-directory"];
  expect(readdirSync(runs).sort()).toEqual(wanted);
  expect(readlinkSync(join(runs, "latest"))).toBe(twin);
  expect(statSync(runs).mode & 0o777).toBe(0o700);
  running?.close();
  (await keepRun(env, at(7)))?.close();
  expect(existsSync(join(runs, names[0] ?? ""))).toBe(false);
});

test("can be explained and gone on with without being named", async () => {
  const { cwd, env, runs } = place();
  const { runPlan } = fakeScheduler(({ id }) => {
    if (id === "B") system.signals.emit("SIGINT");
    return id === "A" ? "TFAIL" : "TPASS";
  });
  const system = fakeSystem({ cwd, env, runPlan });
  const { out } = await command("-d work t", system);
  const [name = ""] = readdirSync(runs);
  const journal = join(runs, name, "journal");
  expect(out).toMatch(/2 not run\nJournal: .*\n$/);
  expect(out).toContain(`Journal: ${journal} (go on with --resume)\n`);
  expect((await command("explain", fakeSystem({ env }))).out).toMatch(
    /^A +TFAIL .*\n.*A says so\n {2}repeat: aiodio-ltp /,
  );
  const traced = await command("explain --perfetto trace.json", fakeSystem({ env, cwd }));
  expect(traced.err).toBe(`aiodio-ltp: ${join(cwd, "trace.json")} is a trace for ui.perfetto.dev\n`);
  const { traceEvents } = JSON.parse(readFileSync(join(cwd, "trace.json"), "utf8"));
  const begun = (events: { name: string; ph: string }[]) =>
    events.filter(({ ph }) => ph === "X").map(({ name }) => name);
  expect(begun(traceEvents)).toContain("A TFAIL");
  await command(`explain --perfetto one.json ${journal} A`, fakeSystem({ env, cwd }));
  expect(begun(JSON.parse(readFileSync(join(cwd, "one.json"), "utf8")).traceEvents)).toEqual(["A TFAIL"]);

  const second = fakeScheduler();
  await command("-d work --resume", fakeSystem({ cwd, env, runPlan: second.runPlan }));
  expect(second.ran).toEqual(["t:B", "t:C"]);
  expect(readdirSync(runs).sort()).toEqual([name, "latest"]);
  const { events } = await eventsOf(journal);
  expect(events.filter(({ type }) => type === "run-end")).toHaveLength(2);
  expect(latestJournal(env)).toBe(journal);
});

test("are not made with --journal or --no-journal, and told of only where something is amiss", async () => {
  const { cwd, env, runs } = place();
  for (const line of ["-d work --journal j t", "-d work --no-journal t"]) {
    expect((await command(line, fakeSystem({ cwd, env }))).status).toBe(0);
    expect(existsSync(runs)).toBe(false);
  }
  expect((await command("-d work t", fakeSystem({ cwd, env }))).out).toMatch(/3 TPASS\n$/);
  expect(readFileSync(latestJournal(env), "utf8")).toMatch(/"run-end"/);
  expect((await command("explain", fakeSystem({ env: {} }))).err).toMatch(/^aiodio-ltp: no run has been kept/);
});

test("that cannot be kept are a note, and run", async () => {
  const { cwd } = place();
  const env = { XDG_STATE_HOME: join(cwd, "t") };
  const { status, err } = await command("-d work t", fakeSystem({ cwd, env }));
  expect(status).toBe(0);
  expect(err).toBe(`aiodio-ltp: this run is not kept in ${join(cwd, "t")}/aiodio-ltp/runs (ENOTDIR)\n`);
});

test.skipIf(process.getuid?.() !== 0)("are not kept among another user's files", async () => {
  const { cwd } = place();
  const home = join(cwd, "home");
  mkdirSync(home);
  chownSync(home, 12_345, 12_345);
  const { status, err } = await command("-d work t", fakeSystem({ cwd, env: { HOME: home } }));
  expect(status).toBe(0);
  expect(err).toBe(
    `aiodio-ltp: this run is not kept in ${home}/.local/state/aiodio-ltp/runs (${home} is another user's)\n`,
  );
  expect(readdirSync(home)).toEqual([]);
});

test("that can be kept no longer are a note, and go on", async () => {
  const { cwd, env } = place();
  const append = vi.spyOn(Journal.prototype, "append").mockImplementation(({ type }) => {
    if (type === "test-start") throw Object.assign(new Error("full"), { code: "ENOSPC", syscall: "write" });
  });
  onTestFinished(() => append.mockRestore());
  const { status, err, out } = await command("-d work t", fakeSystem({ cwd, env }));
  expect({ status, err }).toEqual({ status: 0, err: "aiodio-ltp: this run is kept no longer (ENOSPC)\n" });
  expect(out).toContain("3 TPASS");
});
