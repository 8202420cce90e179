/**
 * What the controller and a guest's agent say to each other: JSON messages, one a line, over one byte stream, framed as
 * the worker protocol is (`run/protocol.ts`). The agent is a scheduler far away: it is given planned runs and tells what
 * happens as the same events that a local scheduler emits. Nothing in it depends on what carries the bytes.
 *
 *   controller → agent    run, interrupt; the end of the stream ends the agent
 *   agent → controller    ready, then alive every few seconds, and for each `run`: event*, ended
 */
import { z } from "zod";
import type { Machine, PlannedRun, RunEvent } from "../report/events.js";
import { checkEvent, machineSchema } from "../report/journal-schema.js";
import { ProtocolError } from "../run/protocol-check.js";

export interface AgentRun {
  type: "run";
  plan: readonly PlannedRun[];
  /** `--filesystems`, with all that the plan names. */
  filesystems: string;
  bail: boolean;
  /** Have each filesystem checked after every testcase. */
  checkEach: boolean;
  defaults: Record<string, string>;
  timeoutMul: number;
  /** Report each operation when it completes. */
  trace: boolean;
  /** Environment of the testcases beyond the agent's own: LTP's variables. */
  env: Record<string, string>;
}

export type ToAgent =
  | AgentRun
  /** Kill what runs and end. */
  | { type: "interrupt" };

export type FromAgent =
  /** `calibrationMs`: how long {@link calibrate} took. */
  | { type: "ready"; version: string; machine: Machine; calibrationMs: number; note?: string | undefined }
  /** Nothing else to say, but not hung. */
  | { type: "alive" }
  | { type: "event"; event: RunEvent }
  /** `error`: why the rest was not run. */
  | { type: "ended"; error?: string | undefined };

/** Time between two signs of life. */
export const ALIVE_MS = 5_000;

const fromAgent = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("ready"),
    version: z.string(),
    machine: machineSchema,
    calibrationMs: z.number().positive(),
    note: z.string().optional(),
  }),
  z.object({ type: z.literal("alive") }),
  z.object({ type: z.literal("event"), event: z.unknown() }),
  z.object({ type: z.literal("ended"), error: z.string().optional() }),
]);

/** Events that are never stored, so that the journal does not know them. */
const shownOnly = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("progress"),
    key: z.string(),
    done: z.number(),
    total: z.number(),
    unit: z.string(),
  }),
  z.object({ type: z.literal("trace"), key: z.string(), text: z.string() }),
]);

/**
 * Checks one line from an agent: the guest's kernel is under test, and so is all that it writes.
 *
 * @throws ProtocolError
 */
export function decodeFromAgent(line: string): FromAgent {
  try {
    const message = fromAgent.parse(JSON.parse(line));
    if (message.type !== "event") return message;
    const shown = shownOnly.safeParse(message.event);
    return { type: "event", event: shown.success ? shown.data : checkEvent(message.event) };
  } catch {
    throw new ProtocolError(line);
  }
}

const CALIBRATION_STEPS = 600_000;
const CALIBRATION_ROUNDS = 5;

/**
 * How long a fixed piece of work takes here, in milliseconds. The ratio of two machines' figures says how much slower one
 * is: what time limits must be multiplied by. The best of several rounds counts, since a busy machine is not a slow one.
 */
export function calibrate(nowMs: () => number = () => performance.now()): number {
  let state = 1;
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < CALIBRATION_ROUNDS; round += 1) {
    const started = nowMs();
    for (let step = 0; step < CALIBRATION_STEPS; step += 1) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
    }
    best = Math.min(best, nowMs() - started);
  }
  // The result is used, so that no compiler may leave the work out; a clock may be too coarse to see it.
  return Math.max(best, 0.001) + (state === 0 ? 1 : 0);
}
