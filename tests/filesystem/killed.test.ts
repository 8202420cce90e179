/** SIGKILL at random moments: no mount, no loop device, no file and no process may stay. */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { LIBRARY } from "../support/library.js";
import { needsFilesystems } from "../support/needs.js";
import { scan } from "../support/processes.js";
import { backingDirectory, expectNoTraces, MiB, mountsHere, traces } from "./fixture.js";

const backing = backingDirectory();
/** Of each test. `AIODIO_KILLS=2000` is for a change of what cleans up. */
const MOMENTS = Number(process.env.AIODIO_KILLS ?? 50);
const MOMENT_MS_MAX = 700;
/** Only for a victim that hangs before it attaches its loop device. */
const DEVICE_MS_MAX = 60_000;
const MARK = "AIODIO_VICTIM";

/** A controller that makes a filesystem and, unless it is idle, has a worker write to it until it is killed. */
const controller = ({ variant, idle }: Moment) => `
  import { Filesystem, parseFilesystems, Worker } from ${LIBRARY};
  const [variant] = parseFilesystems(${JSON.stringify(variant)});
  const options = { backing: ${JSON.stringify(backing)}, sizeBytes: ${384 * MiB}, dirtyBytes: ${32 * MiB} };
  const filesystem = await Filesystem.provision(variant, options);
  if (${idle}) setInterval(() => {}, 1000);
  else {
  const worker = new Worker(process.env, filesystem.enter);
  const argv = ["-f", "DIRECT", "-s", "64m", "-i", "1000"];
  worker.send({ type: "run", program: "aiocp", argv, parent: filesystem.directory }, { message() {}, stray() {} });
  }
`;

/** Waits until none is left, and returns those that are after so many milliseconds. */
async function leftAfter(milliseconds: number, mark: string): Promise<number[]> {
  const deadline = performance.now() + milliseconds;
  let now = scan(mark);
  // A process that was forked while the list was read is not in it, and its parent may be gone: the next list has it.
  for (let empty = 0; empty < 2 && performance.now() < deadline; ) {
    await sleep(10);
    now = scan(mark);
    empty = now.own.length === 0 && !now.unknown ? empty + 1 : 0;
  }
  return now.own;
}

/** What it is and where in the kernel it waits, for the message of a failed test. */
function stateOf(pid: number): string {
  const read = (file: string) => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, "utf8");
    } catch {
      return "";
    }
  };
  const [state = "gone"] = /^State:.*$/m.exec(read("status")) ?? [];
  return `${pid} ${read("comm").trim()} ${state}: ${read("stack")}`;
}

function kill(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {} // It is gone already.
  }
}

/** Who is killed: the controller, everything at once, or what it started first. */
const WHO = ["controller", "everything", "children first"] as const;

interface Moment {
  variant: string;
  /** What the time is counted from: the start of the controller, or its loop device, and with it mkfs. */
  from: "start" | "device";
  milliseconds: number;
  /** Nothing uses it: then the last process that leaves its mount namespace is the one that unmounts it. */
  idle: boolean;
  who: (typeof WHO)[number];
}

/** Kills, waits until nothing is left, and returns whether there was a device to be left. */
async function killAt(moment: Moment, number: number): Promise<boolean> {
  const value = `${process.pid}-${number}`;
  const mark = `${MARK}=${value}`;
  const victim = spawn(process.execPath, ["--input-type=module", "-e", controller(moment)], {
    env: { ...process.env, [MARK]: value },
    stdio: "ignore",
  });
  const ended = new Promise((resolve) => victim.on("exit", resolve));
  let gone = false;
  void ended.then(() => {
    gone = true;
  });
  const patience = performance.now() + (moment.from === "device" && moment.variant !== "tmpfs" ? DEVICE_MS_MAX : 0);
  while (traces(backing).length === 0 && !gone && performance.now() < patience) await sleep(2);
  await sleep(moment.milliseconds);
  const { pid = -1 } = victim;
  const hadDevice = traces(backing).length > 0;
  if (moment.who === "everything") kill(scan(mark).own);
  if (moment.who === "children first") kill(scan(mark).own.filter((child) => child !== pid));
  kill([pid]);
  await ended;
  expect((await leftAfter(20_000, mark)).map(stateOf), JSON.stringify(moment)).toEqual([]);
  await expectNoTraces(backing);
  return hadDevice;
}

async function killAtRandom(variants: readonly string[]): Promise<void> {
  needsFilesystems(...variants);
  const before = mountsHere();
  const devices = readdirSync("/dev").length;
  const moments = fc.sample(
    fc.record<Moment>({
      variant: fc.constantFrom(...variants),
      from: fc.constantFrom("start", "device"),
      // Without its bias for small numbers.
      milliseconds: fc.noBias(fc.integer({ min: 0, max: MOMENT_MS_MAX })),
      idle: fc.boolean(),
      who: fc.constantFrom(...WHO),
    }),
    MOMENTS,
  );
  let devicesSeen = 0;
  for (const [number, moment] of moments.entries()) {
    if (await killAt(moment, number)) devicesSeen += 1;
  }
  // Otherwise it has proved nothing.
  expect(devicesSeen).toBeGreaterThan(MOMENTS / 4);
  expect(mountsHere()).toBe(before);
  // A loop device's node stays when its device is cleared; there are no more than were needed at once.
  expect(readdirSync("/dev").length).toBeLessThan(devices + 10);
}

const LIMIT_MS = 300_000 + MOMENTS * 5_000;

test(
  `nothing stays of ${MOMENTS} runs killed at random moments`,
  () => killAtRandom(["ext4", "xfs", "btrfs", "ext4:nojournal", "btrfs:dup", "overlayfs", "tmpfs"]),
  LIMIT_MS,
);

test(`nor of ${MOMENTS} whose filesystem has a server`, () => killAtRandom(["faultfs"]), LIMIT_MS);
