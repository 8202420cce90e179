/** The agent in a guest: finds the port that it is to listen on, and the disks for its filesystems. */
import { openSync } from "node:fs";
import { join } from "node:path";
import { namesIn, textOf } from "../base/files.js";
import type { PlannedRun } from "../events/events.js";
import { ownDevice } from "../filesystem/device.js";
import { parseFilesystems } from "../filesystem/variants.js";
import { type Part, serve } from "./agent.js";
import type { AgentRun } from "./agent-protocol.js";
import { INIT_MARK } from "./console.js";
import { PORT_NAME } from "./qemu.js";

const PORTS = "/sys/class/virtio-ports";
/** Emulated writing is slow, and a few stale blocks serve as well as many. */
const DIRTY_BYTES = 16 * 2 ** 20;

function findPort(): string {
  const name = namesIn(PORTS).find((port) => textOf(join(PORTS, port, "name")) === PORT_NAME);
  if (name === undefined) throw new Error(`there is no virtio port named ${PORT_NAME}`);
  return `/dev/${name}`;
}

/** The disk with this logical sector size. */
function findDisk(sectorBytes: number): string {
  const name = namesIn("/sys/block").find((disk) => {
    const size = Number(textOf(`/sys/block/${disk}/queue/logical_block_size`));
    return /^vd[a-z]+$/.test(disk) && size === sectorBytes;
  });
  if (name === undefined) throw new Error(`there is no disk with sectors of ${sectorBytes} bytes`);
  return `/dev/${name}`;
}

/** Each filesystem is on the disk with its sector size. */
function place({ plan, filesystems = "", checkEach }: AgentRun): Part[] {
  const variants = new Map(parseFilesystems(filesystems).map((variant) => [variant.name, variant]));
  const sectorOf = ({ filesystem = "" }: PlannedRun) => variants.get(filesystem)?.sectorBytes ?? 512;
  return partsBy(plan, sectorOf).map(({ items, key }) => ({
    plan: items,
    directory: "/tmp",
    storage: {
      variants,
      provision: { backing: "/tmp", dirtyBytes: DIRTY_BYTES },
      devices: [ownDevice(findDisk(key))],
      checkEach,
    },
  }));
}

/** Neighbours that have the same key stay together. */
function partsBy<Item, Key>(items: readonly Item[], keyOf: (item: Item) => Key): { key: Key; items: Item[] }[] {
  const parts: { key: Key; items: Item[] }[] = [];
  for (const item of items) {
    const key = keyOf(item);
    const last = parts.at(-1);
    if (last?.key === key) last.items.push(item);
    else parts.push({ key, items: [item] });
  }
  return parts;
}

const port = openSync(findPort(), "r+");
process.stdout.write(`${INIT_MARK} agent\n`);
serve(port, port, place);
