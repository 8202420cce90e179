/** Whom the kernel may kill when memory is short. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execaSync } from "execa";
import { afterEach, describe, expect, test, vi } from "vitest";
import { FaultfsServer } from "../../ts/faultfs/server.js";
import { deathOf, LineProcess } from "../../ts/process/line-process.js";
import { shieldFromOom, unshielded } from "../../ts/process/oom.js";
import { runCommand, runTool, startPeer } from "../../ts/process/run.js";
import { childrenOf, command, printed } from "../support/command.js";
import { needsFilesystems, skipFor } from "../support/needs.js";
import { temporaryDirectory } from "../support/temporary.js";

/** What this process has written to its score, and when it has started others. */
const seen = vi.hoisted(() => ({ log: [] as string[], denied: false }));

vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  const writeFileSync: typeof fs.writeFileSync = (path, data, ...rest) => {
    if (path !== "/proc/self/oom_score_adj") return fs.writeFileSync(path, data, ...rest);
    seen.log.push(String(data));
    if (seen.denied) throw new Error("EACCES");
  };
  return { ...fs, writeFileSync };
});
vi.mock("node:child_process", async (original) => {
  const processes = await original<typeof import("node:child_process")>();
  const spawn = (...args: Parameters<typeof processes.spawn>) => {
    seen.log.push("start");
    return processes.spawn(...args);
  };
  return { ...processes, spawn };
});
vi.mock("execa", async (original) => {
  const processes = await original<typeof import("execa")>();
  const execa = (...args: [string, string[], object]) => {
    seen.log.push("start");
    return processes.execa(...args);
  };
  return { ...processes, execa };
});

afterEach(() => {
  vi.restoreAllMocks();
});

const directory = temporaryDirectory("oom");

function scoreOf(pid: number | undefined): number {
  return Number(readFileSync(`/proc/${pid}/oom_score_adj`, "utf8"));
}

/** Ends the test where not even root may lower the score: a container without CAP_SYS_RESOURCE. */
function needsShield(): void {
  const { exitCode } = execaSync("sh", ["-c", "echo -1000 >/proc/self/oom_score_adj"], { reject: false });
  if (exitCode !== 0) skipFor("oom_score_adj can't be lowered here: it needs root and CAP_SYS_RESOURCE");
}

test("as root it is a testcase, and never the controller or a keeper", async () => {
  needsShield();
  needsFilesystems("ext4");
  const file = join(directory, "lines");
  writeFileSync(file, "FIRST aiocp -b 4k\nSECOND aiocp -b 1k -n 1 -s 10m -f DIRECT\n");
  const run = command("aiodio-ltp", [file, "--filesystems", "ext4", "--size", "64m", "--backing", directory]);
  await printed(run, /FIRST +TPASS/);
  const children = childrenOf(run.pid).map((pid) => {
    const [name = "another"] = /(?:keeper|worker)-main/.exec(readFileSync(`/proc/${pid}/cmdline`, "utf8")) ?? [];
    return [name, scoreOf(pid)];
  });
  expect(Object.fromEntries(children)).toEqual({ "keeper-main": -1000, "worker-main": 0 });
  expect(scoreOf(run.pid)).toBe(-1000);
  expect((await run).exitCode).toBe(0);
});

test("nor is it who watches a testcase that runs by itself", async () => {
  needsShield();
  const run = command("aiocp", ["-b", "1k", "-n", "1", "-s", "10m", "-f", "DIRECT"], { TMPDIR: directory });
  await printed(run, /Using /);
  expect([scoreOf(run.pid), ...childrenOf(run.pid).map(scoreOf)]).toEqual([-1000, 0]);
  expect((await run).exitCode).toBe(0);
});

describe("a process that is started", () => {
  const starts = {
    "a worker or keeper": async () => void (await new LineProcess(["true"], process.env).death),
    "a filesystem's program": async () => void (await runTool("true", [])),
    "a guest's": async () => void (await runCommand(["true"])),
    "a guest": async () => void (await deathOf(startPeer(["true"], {}))),
    "a filesystem's server": () =>
      FaultfsServer.start({ control: "/none", device: "/none", capacityBytes: 0, rules: [] }).catch(() => {}),
  };

  test.each(Object.entries(starts))("does not inherit it: %s", async (_, start) => {
    vi.spyOn(process, "geteuid").mockReturnValue(0);
    shieldFromOom();
    expect(seen.log.splice(0)).toEqual(["-1000"]);
    await start();
    expect(seen.log.splice(0)).toEqual(["0", "start", "-1000"]);
    expect(() =>
      unshielded(() => {
        throw new Error("not to be started");
      }),
    ).toThrow("not to be started");
    expect(seen.log.splice(0)).toEqual(["0", "-1000"]);
  });

  test.each([
    ["a user who is not root", 1000, false, ["start"]],
    ["root who may not", 0, true, ["-1000", "start"]],
  ])("is started by %s, too", async (_, user, denied, expected) => {
    vi.spyOn(process, "geteuid").mockReturnValue(user);
    seen.denied = denied;
    shieldFromOom();
    await starts["a filesystem's program"]();
    expect(seen.log.splice(0)).toEqual(expected);
  });
});
