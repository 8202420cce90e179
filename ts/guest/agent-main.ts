/**
 * The agent: the process that runs planned runs inside a guest, with the scheduler, the keepers and the workers that run
 * them on the host. It is told what to do over a virtio-serial port; when that ends, the guest ends.
 */
import { createReadStream, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { machineFacts } from "../cli/machine.js";
import { parseFilesystems } from "../filesystem/variants.js";
import { openKernelLog } from "../kernel/kmsg.js";
import { openKernelWatch } from "../kernel/watch.js";
import { version } from "../package.js";
import type { PlannedRun } from "../report/events.js";
import { encode, LineSplitter, writeAll } from "../run/protocol.js";
import { runPlan } from "../run/scheduler.js";
import { type AgentRun, ALIVE_MS, calibrate, type FromAgent, type ToAgent } from "./agent-protocol.js";
import { INIT_MARK } from "./console.js";
import { PORT_NAME } from "./qemu.js";

const PORTS = "/sys/class/virtio-ports";
const KMSG = "/dev/kmsg";
/** Emulated writing is slow, and a few stale blocks serve as well as many. */
const DIRTY_BYTES = 16 * 2 ** 20;

function findPort(): string {
  const name = readdirSync(PORTS).find((port) => readFileSync(join(PORTS, port, "name"), "utf8").trim() === PORT_NAME);
  if (name === undefined) throw new Error(`there is no virtio port named ${PORT_NAME}`);
  return `/dev/${name}`;
}

/** The disk with this logical sector size. */
function findDisk(sectorBytes: number): string {
  const name = readdirSync("/sys/block").find((disk) => {
    const size = readFileSync(`/sys/block/${disk}/queue/logical_block_size`, "utf8").trim();
    return /^vd[a-z]+$/.test(disk) && Number(size) === sectorBytes;
  });
  if (name === undefined) throw new Error(`there is no disk with sectors of ${sectorBytes} bytes`);
  return `/dev/${name}`;
}

const portFd = openSync(findPort(), "r+");
const send = (message: FromAgent): void => writeAll(portFd, encode(message as never));

const kernel = openKernelWatch();
const log = openKernelLog(KMSG);
let abort = new AbortController();

async function run({ plan, filesystems, bail, checkEach, defaults, timeoutMul, trace, env }: AgentRun): Promise<void> {
  Object.assign(process.env, env);
  const variants = new Map(parseFilesystems(filesystems).map((variant) => [variant.name, variant]));
  const sectorOf = ({ filesystem = "" }: PlannedRun) => variants.get(filesystem)?.sectorBytes ?? 512;
  for (const part of partsBy(plan, sectorOf)) {
    if (abort.signal.aborted) break;
    const [first] = part;
    if (!first) continue;
    await runPlan(
      part,
      {
        directory: "/tmp",
        workers: 1,
        bail,
        defaults,
        timeoutMul,
        trace,
        storage: {
          variants,
          provision: { backing: "/tmp", dirtyBytes: DIRTY_BYTES },
          devices: [findDisk(sectorOf(first))],
          checkEach,
        },
        kernel,
        marker: (id) => void log.mark(`aiodio-ltp: Starting ${id}`),
        signal: abort.signal,
      },
      (event) => send({ type: "event", event }),
    );
  }
}

/** Neighbours that have the same key stay together. */
function partsBy<Item>(items: readonly Item[], keyOf: (item: Item) => unknown): Item[][] {
  const parts: Item[][] = [];
  for (const item of items) {
    const last = parts.at(-1);
    if (last?.[0] !== undefined && keyOf(last[0]) === keyOf(item)) last.push(item);
    else parts.push([item]);
  }
  return parts;
}

let work: Promise<void> = Promise.resolve();

function take(message: ToAgent): void {
  if (message.type === "interrupt") {
    abort.abort();
    return;
  }
  work = work.then(async () => {
    abort = new AbortController();
    let error: string | undefined;
    try {
      await run(message);
    } catch (failure) {
      error = (failure as Error).message;
    }
    send({ type: "ended", error });
  });
}

const splitter = new LineSplitter();
createReadStream("", { fd: portFd, autoClose: false })
  .on("data", (bytes) => {
    for (const line of splitter.push(bytes as Buffer)) take(JSON.parse(line));
  })
  // The host is gone, or the port is: nobody is left to work for.
  .on("close", () => process.exit(0))
  .on("error", () => process.exit(1));

setInterval(() => send({ type: "alive" }), ALIVE_MS);
process.stdout.write(`${INIT_MARK} agent\n`);
send({ type: "ready", version, machine: machineFacts(), calibrationMs: calibrate(), note: kernel.note });
