/** The process around the fault filesystem; the faults themselves are tested beside the crate. */
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { UsageError } from "../../ts/base/errors.js";
import { Faultfs } from "../../ts/filesystem/faultfs.js";
import { printed } from "../support/command.js";
import { LIBRARY } from "../support/library.js";
import { backingDirectory, expectNoTraces, mountsHere, traces } from "./fixture.js";

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
  // In one pipe: of two, whoever reads both sees what was written in any order.
  const script = `exec 2>&1; cd ${faultfs.directory} && { ${command}; }`;
  const [program = "", ...args] = [...faultfs.enter, "sh", "-c", script];
  return (await execa(program, args, { reject: false })).stdout;
}

/** The server process of one keeper; of a server, its watchdog. */
function serversOf(process: number): number[] {
  return readdirSync(`/proc/${process}/task`).flatMap((thread) => {
    const children = readFileSync(`/proc/${process}/task/${thread}/children`, "utf8").trim();
    return children === "" ? [] : children.split(" ").map(Number);
  });
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
    `cd ${faultfs.directory} && echo x > file && echo begun && until ! echo x >> file; do :; done; exit 3`,
  ];
  const user = execa(program, args, { reject: false, all: true });
  await printed(user, /begun/);
  for (const server of servers) process.kill(server, "SIGKILL");
  expect((await user).exitCode).toBe(3);
  await faultfs.filesystem.death;
  await expectGone([pid, ...servers]);
  await expect(faultfs.fired()).rejects.toThrow("The keeper of the filesystem ended");
});

/** Ends what waits for a server that does not answer, so that a failed test leaves nothing that hangs. */
async function abortConnections(): Promise<void> {
  const connections = "/sys/fs/fuse/connections";
  await execa("mount", ["-t", "fusectl", "none", connections], { reject: false });
  for (const number of readdirSync(connections)) writeFileSync(`${connections}/${number}/abort`, "1");
}

/** A controller of its own process, so that it can be killed: what it made is idle. */
async function victim(): Promise<{ controller: number; keeper: number; server: number }> {
  const script = `
    import { Faultfs } from ${LIBRARY};
    const { filesystem } = await Faultfs.start({ backing: ${JSON.stringify(backing)} });
    console.log(filesystem.pid);
    setInterval(() => {}, 1000);`;
  const process_ = execa(process.execPath, ["--input-type=module", "-e", script], { reject: false });
  const keeper = await new Promise<number>((resolve) => process_.stdout.once("data", (text) => resolve(Number(text))));
  const [server = -1] = serversOf(keeper);
  return { controller: process_.pid ?? -1, keeper, server };
}

test("the server is in no mount namespace that holds what it serves: it could not die, waiting for itself", async () => {
  const faultfs = await start();
  const { pid } = faultfs.filesystem;
  const mounts = (process: number) => readFileSync(`/proc/${process}/mountinfo`, "utf8");
  expect(mounts(pid)).toContain(" - fuseblk ");
  const [server = -1, ...others] = serversOf(pid);
  expect(others).toEqual([]);
  for (const process of [server, ...serversOf(server)]) {
    expect(readlinkSync(`/proc/${process}/ns/mnt`)).not.toBe(readlinkSync(`/proc/${pid}/ns/mnt`));
    expect(mounts(process)).not.toContain(" - fuseblk ");
  }
  await faultfs.remount();
  expect(mounts(server)).not.toContain(" - fuseblk ");
});

test.each([
  ["stopped, and killed last", true, 0, true],
  ["killed half a second after the others", false, 500, true],
  ["stopped, and not killed by anybody", true, 0, false],
])("an idle one whose server is %s leaves nothing", async (_, stop, milliseconds, kill) => {
  const { controller, keeper, server } = await victim();
  const watchers = serversOf(server);
  try {
    if (stop) process.kill(server, "SIGSTOP");
    process.kill(keeper, "SIGKILL");
    process.kill(controller, "SIGKILL");
    await sleep(milliseconds);
    if (kill && exists(server)) process.kill(server, "SIGKILL");
    await expectGone([controller, keeper, server, ...watchers]);
    await expectNoTraces(backing);
  } finally {
    if (exists(server)) process.kill(server, "SIGKILL");
    if (traces(backing).length > 0) await abortConnections();
  }
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
