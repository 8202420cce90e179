/** Checks what comes from a keeper: it may have been killed in the middle of an answer. */
import * as z from "zod";
import { checkResult } from "../events/schema.js";
import type { FromKeeper } from "./keeper-protocol.js";

const mount = z.object({ source: z.string(), target: z.string(), type: z.string(), options: z.string() });
const fired = z.object({ rule: z.number(), path: z.string(), offset: z.number(), length: z.number() });

const fromKeeper = z.discriminatedUnion("type", [
  z.object({
    ...{ type: z.literal("provisioned"), directory: z.string(), mounts: z.array(mount) },
    ...{ device: z.string().optional(), backing: z.string().optional() },
    ...{ directIo: z.boolean(), dirtiedBytes: z.number() },
  }),
  z.object({ type: z.literal("unavailable"), reason: z.string() }),
  z.object({ type: z.literal("remounted") }),
  z.object({ type: z.literal("checked"), result: checkResult }),
  z.object({ type: z.literal("faults-set") }),
  z.object({
    type: z.literal("faults-fired"),
    report: z.object({ counts: z.array(z.number()), fired: z.array(fired) }),
  }),
  z.object({ type: z.literal("failed"), message: z.string(), usage: z.boolean() }),
]);

/** One line from a keeper; undefined where it is no message of the protocol. */
export function decodeFromKeeper(line: string): FromKeeper | undefined {
  try {
    return fromKeeper.parse(JSON.parse(line)) as FromKeeper;
  } catch {
    return undefined;
  }
}
