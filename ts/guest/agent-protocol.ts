/**
 * The agent protocol: what the controller and an agent on another machine say to each other. The agent is a scheduler far
 * away: it is given planned runs and tells what happens as the same events that a local scheduler emits (`events.ts`).
 *
 * Carrier: any byte stream in both directions; a virtio-serial port for guests, the standard streams of ssh for hosts.
 * Nothing here depends on which. One message is one JSON object on one line (UTF-8, `\n`), as in the worker protocol
 * (`run/protocol.ts`), which local processes speak with each other on either machine.
 *
 *   controller → agent
 *     run         once the agent is ready, and again after each `ended`; see {@link AgentRun}
 *     interrupt   while a run is under way: kill what runs, begin nothing more; `ended` follows
 *     end of the stream: the controller is gone or has no more work; the agent ends, and all that it started with it
 *   agent → controller
 *     ready       first, once: its version, its machine, how fast that is, why its kernel log can't be read
 *     alive       every {@link ALIVE_MS} from then on; long silence means that the machine hangs
 *     event       during a run: an event of a planned run, under the keys that the run has given
 *     ended       once for each run, last; `error` when the agent could not go on
 *     end of the stream: whatever was under way is lost
 *
 * Versions: `ready` is the same in all versions as far as `version` goes. Controller and agent must be the same version
 * of this package; the controller refuses another before it sends anything.
 *
 * Torn and foreign input: a line may arrive in pieces of any size. What the controller does not understand it drops and
 * counts: the other machine's kernel is under test, a login shell may greet, and a dying machine tears its last line. A
 * dropped event can't make a verdict: a run without its `test-end` was not run, which is told. An event that is not an
 * agent's to send ({@link misplaced}) is dropped, too, which is told once. An agent that does not understand its controller refuses with `ended` and its
 * reason, and runs nothing of it; a torn line before the end of the stream is no request.
 */
import * as z from "zod";
import { version } from "../base/package.js";
import type { MachineFacts, PlannedRun, RunEvent } from "../events/events.js";
import { checkEvent, machineSchema, plannedRunSchema } from "../events/schema.js";
import { ProtocolError } from "../run/protocol-check.js";

/** `run`: do these, in this order. */
export interface AgentRun {
  type: "run";
  plan: readonly PlannedRun[];
  /** `--filesystems`, with all that the plan names; absent: in a directory. */
  filesystems?: string | undefined;
  bail: boolean;
  /** Have each filesystem checked after every testcase. */
  checkEach: boolean;
  defaults: Record<string, string>;
  timeoutMul: number;
  /** Report each operation when it completes. */
  trace: boolean;
  /** Environment of the testcases beyond the agent's own: LTP's variables. */
  env: Record<string, string>;
  /** What a host takes from the command line: where testcases work, and how filesystems are made. Guests know. */
  place?: HostSettings | undefined;
}

/** As the options of these names have them; paths are absolute. */
export interface HostSettings {
  directory?: string | undefined;
  backing?: string | undefined;
  sizeBytes?: number | undefined;
  loopDirectIo?: boolean | undefined;
}

export type ToAgent = AgentRun | { type: "interrupt" };

const toAgent = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("run"),
    plan: z.array(plannedRunSchema),
    filesystems: z.string().optional(),
    bail: z.boolean(),
    checkEach: z.boolean(),
    defaults: z.record(z.string(), z.string()),
    timeoutMul: z.number().positive(),
    trace: z.boolean(),
    env: z.record(z.string(), z.string()),
    place: z
      .object({
        directory: z.string().startsWith("/").optional(),
        backing: z.string().startsWith("/").optional(),
        sizeBytes: z.number().int().positive().optional(),
        loopDirectIo: z.boolean().optional(),
      })
      .optional(),
  }),
  z.object({ type: z.literal("interrupt") }),
]);

/**
 * Checks one line from the controller.
 *
 * @throws ProtocolError
 */
export function decodeToAgent(line: string): ToAgent {
  try {
    return toAgent.parse(JSON.parse(line)) as ToAgent;
  } catch {
    throw new ProtocolError(line, "agent");
  }
}

export type FromAgent =
  /** `calibrationMs`: how long {@link calibrate} took. */
  | { type: "ready"; version: string; machine: MachineFacts; calibrationMs: number; note?: string | undefined }
  /** Never sent: what a `ready` of another version is taken for, whatever else is in it. */
  | { type: "stranger"; version: string }
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

const stranger = z.object({ type: z.literal("ready"), version: z.string().refine((theirs) => theirs !== version) });

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
    const value = JSON.parse(line);
    const foreign = stranger.safeParse(value);
    if (foreign.success) return { type: "stranger", version: foreign.data.version };
    const message = fromAgent.parse(value);
    if (message.type !== "event") return message;
    const shown = shownOnly.safeParse(message.event);
    return { type: "event", event: shown.success ? shown.data : checkEvent(message.event) };
  } catch {
    throw new ProtocolError(line, "agent");
  }
}

/** Whose events these are: an agent is a scheduler, and the rest is its controller's own. */
const OF_A_SCHEDULER: Record<RunEvent["type"], boolean> = {
  "test-start": true,
  line: true,
  raw: true,
  progress: true,
  trace: true,
  data: true,
  kernel: true,
  "test-end": true,
  filesystem: true,
  unavailable: true,
  check: true,
  "run-start": false,
  guest: false,
  "known-issue": false,
  unchecked: false,
  "stale-issues": false,
  "run-end": false,
};

/** Longer names are cut off: they come from the machine under test. */
const SHOWN_CHARACTERS = 80;

/**
 * What is wrong with an event that an agent has sent, for people; undefined where it is one that it may send.
 *
 * @param asked keys of the runs that it was given
 * @param ended those of them that have ended
 */
export function misplaced(event: RunEvent, asked: ReadonlySet<string>, ended: ReadonlySet<string>): string | undefined {
  if (!OF_A_SCHEDULER[event.type]) return `a "${event.type}", which is not its to say`;
  const own = "key" in event && event.key !== undefined ? [event.key] : [];
  const begun = event.type === "unavailable" ? event.keys : own;
  const keys = event.type === "check" ? event.suspects : begun;
  const shown = (key: string) => JSON.stringify(key).slice(0, SHOWN_CHARACTERS);
  const foreign = keys.find((key) => !asked.has(key));
  if (foreign !== undefined) return `something of ${shown(foreign)}, which it was not given`;
  const late = begun.find((key) => ended.has(key));
  return late === undefined ? undefined : `more of ${shown(late)}, which has ended`;
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
