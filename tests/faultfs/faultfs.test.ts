/** The process around the fault filesystem; the faults themselves are tested beside the crate. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { Faultfs } from "../../ts/faultfs/faultfs.js";
import { UsageError } from "../../ts/plan/usage-error.js";
import { backingDirectory, expectNoTraces, mountsHere } from "../filesystem/fixture.js";

const backing = backingDirectory();
let started: Faultfs[] = [];
afterEach(async () => {
  await Promise.allSettled(started.map((faultfs) => faultfs.stop()));
  started = [];
});

async function start(rules: readonly string[] = []): Promise<Faultfs> {
  const faultfs = await Faultfs.start({ rules, backing });
  started.push(faultfs);
  return faultfs;
}

/** Runs a shell command in the filesystem's root. */
async function shell(faultfs: Faultfs, command: string): Promise<string> {
  const [program = "", ...args] = [...faultfs.enter, "sh", "-c", `cd ${faultfs.directory} && { ${command}; }`];
  return (await execa(program, args, { all: true, reject: false })).all;
}

/** The server processes of one keeper. */
function serversOf(keeper: number): number[] {
  const children = readFileSync(`/proc/${keeper}/task/${keeper}/children`, "utf8").trim();
  return children === "" ? [] : children.split(" ").map(Number);
}

function exists(pid: number): boolean {
  try {
    // A zombie is no process any more, but init's to reap.
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

async function expectGone(pids: readonly number[]): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (pids.some(exists) && performance.now() < deadline) await sleep(10);
  expect(pids.filter(exists)).toEqual([]);
}

test("without rules it stores truly, and nothing stays when it is stopped", async () => {
  const before = mountsHere();
  const faultfs = await start();
  const pids = [faultfs.filesystem.pid, ...serversOf(faultfs.filesystem.pid)];
  expect(pids).toHaveLength(2);
  expect(await shell(faultfs, "echo true > file; cat file; stat -f -c %T .")).toBe("true\nfuseblk");
  await faultfs.remount();
  expect(await shell(faultfs, "cat file")).toBe("true");
  expect(await faultfs.fired()).toEqual({ counts: [], fired: [] });
  expect(mountsHere()).toBe(before);
  await faultfs.stop();
  await expectGone(pids);
  await expectNoTraces(backing);
  expect(mountsHere()).toBe(before);
});

test("rules can be set at any time, and what they did is told", async () => {
  const faultfs = await start(["drop-write:file=a*"]);
  expect(
    await shell(faultfs, "echo 1234 > ab; echo 5678 > b; dd if=ab iflag=direct bs=4k status=none | od -An -c; cat b"),
  ).toBe("  \\0  \\0  \\0  \\0  \\0\n5678");
  expect(await faultfs.fired()).toEqual({ counts: [1], fired: [{ rule: 0, path: "/ab", offset: 0, length: 5 }] });
  await faultfs.setRules(["enospc:file=c", "eio-once:file=b:op=read"]);
  expect(await faultfs.fired()).toEqual({ counts: [0, 0], fired: [] });
  expect(await shell(faultfs, "dd if=b of=c")).toContain("No space left on device");
  await faultfs.remount();
  expect(await shell(faultfs, "cat b; cat b")).toMatch(/Input\/output error\n5678$/);
  expect((await faultfs.fired()).counts).toEqual([1, 1]);
  await expect(faultfs.setRules(["flip-bits"])).rejects.toThrow(UsageError);
  await expect(faultfs.setRules(["flip-bits"])).rejects.toThrow("there is no fault 'flip-bits'");
  expect((await faultfs.fired()).counts).toEqual([1, 1]);
});

test("what it is started with is checked", async () => {
  await expect(Faultfs.start({ rules: ["tear:op=read"] })).rejects.toThrow("'op' of tear is write");
  await expect(Faultfs.start({ capacityBytes: 1000 })).rejects.toThrow("too small");
});

test("corruption that shows after mounting again does not show before", async () => {
  const faultfs = await start(["corrupt-after-remount:file=file"]);
  const sum = () => shell(faultfs, "dd if=file iflag=direct bs=64k status=none | cksum");
  await shell(faultfs, "head -c 100000 /dev/urandom > file");
  const before = await sum();
  expect(await sum()).toBe(before);
  await faultfs.remount();
  expect(await sum()).not.toBe(before);
  expect((await faultfs.fired()).fired).toEqual([{ rule: 0, path: "/file", offset: 0, length: 100_000 }]);
});

test("when the server is killed, the filesystem is gone and its users are told", async () => {
  const faultfs = await start();
  const { pid } = faultfs.filesystem;
  const servers = serversOf(pid);
  const [program = "", ...args] = [
    ...faultfs.enter,
    "sh",
    "-c",
    `cd ${faultfs.directory} && until ! echo x >> file; do :; done; exit 3`,
  ];
  const user = execa(program, args, { reject: false });
  await sleep(100);
  for (const server of servers) process.kill(server, "SIGKILL");
  expect((await user).exitCode).toBe(3);
  await faultfs.filesystem.death;
  await expectGone([pid, ...servers]);
  await expect(faultfs.fired()).rejects.toThrow("The keeper of the filesystem ended");
});

const MOMENTS = 12;

test(`nothing stays of ${MOMENTS} that are killed at random moments, in use`, async () => {
  const before = mountsHere();
  const moments = fc.sample(
    fc.record({
      milliseconds: fc.noBias(fc.integer({ min: 0, max: 60 })),
      who: fc.constantFrom("server", "keeper", "both"),
      rules: fc.constantFrom([], ["size-before-data:ms=20"], ["swap-blocks"]),
    }),
    MOMENTS,
  );
  for (const { milliseconds, who, rules } of moments) {
    const faultfs = await Faultfs.start({ rules, backing });
    const { pid } = faultfs.filesystem;
    const servers = serversOf(pid);
    const script = `cd ${faultfs.directory} && while dd if=/dev/zero of=file bs=64k count=64 oflag=direct; do :; done`;
    const [program = "", ...args] = [...faultfs.enter, "sh", "-c", script];
    const user = execa(program, args, { reject: false });
    const userPid = user.pid ?? -1;
    await sleep(milliseconds);
    const victims = [...(who === "keeper" ? [] : servers), ...(who === "server" ? [] : [pid])];
    for (const victim of victims) process.kill(victim, "SIGKILL");
    await faultfs.filesystem.death;
    await expectGone([pid, ...servers]);
    await user;
    await expectGone([userPid]);
  }
  expect(mountsHere()).toBe(before);
  await expectNoTraces(backing);
});
