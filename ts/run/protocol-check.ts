/** Checks what comes from a worker: it may have died in the middle of a message, or be another version's. */
import * as z from "zod";
import { RESULT_BITS, type ResultType } from "../events/events.js";

const resultType = z.enum(Object.keys(RESULT_BITS) as [ResultType, ...ResultType[]]);

const fromWorker = z.discriminatedUnion("type", [
  z.object({ type: z.literal("ready") }),
  z.object({ type: z.literal("directory"), path: z.string().optional() }),
  z.object({
    type: z.literal("deadline"),
    seconds: z.number().nonnegative().optional(),
    /** The testcase is over, and its directory is being removed. */
    over: z.boolean().optional(),
  }),
  z.object({
    ...{ type: z.literal("line"), result: resultType, file: z.string(), line: z.number().int(), text: z.string() },
    ends: z.boolean().optional(),
  }),
  z.object({ type: z.literal("legacy"), id: z.string() }),
  z.object({ type: z.literal("raw"), text: z.string() }),
  z.object({ type: z.literal("data"), name: z.string(), value: z.unknown() }),
  z.object({ type: z.literal("progress"), done: z.number(), total: z.number(), unit: z.string() }),
  z.object({ type: z.literal("permit"), rule: z.string(), because: z.string() }),
  z.object({ type: z.literal("done"), summary: z.boolean(), peakBytes: z.number().optional() }),
  z.object({ type: z.literal("removed"), error: z.string().optional() }),
]);

export type FromWorker = z.infer<typeof fromWorker>;

/** A line that is no message of the protocol; `line` is its start. */
export class ProtocolError extends Error {
  constructor(
    readonly line: string,
    protocol: "worker" | "agent" = "worker",
  ) {
    super(`not a message of the ${protocol} protocol: ${JSON.stringify(line.slice(0, 200))}`);
  }
}

/**
 * Checks one line from a worker.
 *
 * @throws ProtocolError
 */
export function decodeFromWorker(line: string): FromWorker {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new ProtocolError(line);
  }
  const result = fromWorker.safeParse(value);
  if (!result.success) throw new ProtocolError(line);
  return result.data;
}
