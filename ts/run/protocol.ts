/**
 * The worker protocol: what a scheduler and one worker of its own machine say to each other. JSON messages, one a line,
 * over two byte streams. Between machines the agent protocol is spoken (`guest/agent-protocol.ts`), in the same framing.
 *
 *   controller → worker   run, remove, (end of stream: clean up and exit)
 *   worker → controller   ready, then for each `run`: legacy?, directory*, deadline*, permit*, line*, raw*, data*, progress*,
 *                         done;
 *                         for each `remove`: removed
 */

import { jsonLine } from "../base/lines.js";
import type { Mount } from "../linux/mounts.js";
import type { FromWorker } from "./protocol-check.js";

export interface RunRequest {
  type: "run";
  program: string;
  argv: string[];
  /** Parent of the temporary directory; TMPDIR or /tmp when absent. */
  parent?: string | undefined;
  /** What the parent directory is on, when it may be unmounted and mounted again. */
  mounts?: readonly Mount[] | undefined;
  /** Option texts for what argv leaves out. */
  defaults?: Record<string, string> | undefined;
  /** Descriptors for the flight record and for the trace of operations; absent ones are not wanted. */
  record?: { fd?: number; traceFd?: number } | undefined;
}

/** A local worker's descriptors beside those of the two streams. */
export const FLIGHT_FD = 5;
export const TRACE_FD = 6;

export type ToWorker =
  | RunRequest
  /** Removes a temporary directory that a dead worker left. */
  | { type: "remove"; path: string };

/** One message as the bytes that carry it. */
export function encode(message: FromWorker | ToWorker): string {
  return jsonLine(message);
}
