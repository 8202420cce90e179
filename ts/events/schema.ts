/** What a line of a journal may be. Only reading validates: a journal may come from a crash or another version. */
import * as z from "zod";
import type { RunEvent } from "./events.js";

const key = z.string();
const time = z.string();
const verdict = z.enum(["TPASS", "TFAIL", "TBROK", "TWARN", "TCONF"]);
const whole = z.number().int().nonnegative();

export const plannedRunSchema = z.object({
  key,
  suite: z.string(),
  id: z.string(),
  iteration: whole,
  guest: z.string().optional(),
  filesystem: z.string().optional(),
  program: z.string(),
  argv: z.array(z.string()),
  command: z.string(),
});

export const machineSchema = z.object({
  kernel: z.string(),
  kernelVersion: z.string(),
  machine: z.string(),
  pageBytes: whole,
  node: z.string(),
  distribution: z.string(),
  distributionVersion: z.string(),
  cmdline: z.string(),
  cpu: z.string(),
  memory: z.string(),
  swap: z.string(),
});

const finding = z.looseObject({
  time,
  seconds: z.number(),
  level: z.string(),
  text: z.string(),
  rule: z.string().optional(),
  verdict: z.literal("TFAIL").optional(),
  permitted: z.string().optional(),
  shared: z.boolean(),
});

export const checkResult = z.object({
  clean: z.boolean(),
  reports: z.array(
    z.object({
      checker: z.string(),
      verdict: z.enum(["clean", "corrupt", "failed"]),
      exit: z.number().int().optional(),
      output: z.string(),
    }),
  ),
  note: z.string().optional(),
  unmountable: z.string().optional(),
  unchecked: z.string().optional(),
  seconds: z.number(),
});

const counters = z.object({ passed: whole, failed: whole, broken: whole, skipped: whole, warnings: whole });

const event = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("run-start"),
    time,
    monotonicSeconds: z.number().optional(),
    version: z.string(),
    directory: z.string(),
    workers: whole,
    engine: z.string().optional(),
    verify: z.string().optional(),
    sizeBytes: whole.optional(),
    devices: z.array(z.string()).optional(),
    shuffleSeed: z.string().optional(),
    machine: machineSchema,
    plan: z.array(plannedRunSchema),
    repeat: z
      .object({
        options: z.array(z.string()),
        files: z.record(z.string(), z.string()),
        machines: z.enum(["--guest", "--host"]).optional(),
      })
      .optional(),
    shard: z
      .string()
      .regex(/^\d+\/\d+$/)
      .optional(),
    required: z.union([z.array(key), z.literal("all")]).optional(),
    skipped: z.array(z.object({ reason: z.string(), keys: z.array(key) })).optional(),
  }),
  z.object({ type: z.literal("test-start"), time, key, worker: whole }),
  z.object({
    type: z.literal("line"),
    key,
    result: z.enum(["TPASS", "TFAIL", "TBROK", "TWARN", "TDEBUG", "TINFO", "TCONF"]),
    file: z.string(),
    line: whole,
    text: z.string(),
    ends: z.boolean().optional(),
  }),
  z.object({
    type: z.literal("guest"),
    time,
    guest: z.string(),
    worker: whole,
    machine: machineSchema,
    accelerator: z.enum(["kvm", "tcg"]).optional(),
    bootSeconds: z.number(),
    timeoutMul: z.number(),
  }),
  z.object({
    type: z.literal("filesystem"),
    time,
    filesystem: z.string(),
    worker: whole,
    device: z.string().optional(),
    mounts: z.array(z.string()),
    dirtiedBytes: whole,
    note: z.string().optional(),
  }),
  z.object({
    type: z.literal("unavailable"),
    filesystem: z.string(),
    reason: z.string(),
    keys: z.array(key),
    again: z.boolean().optional(),
  }),
  z.object({
    type: z.literal("check"),
    time,
    filesystem: z.string(),
    worker: whole,
    suspects: z.array(key),
    result: checkResult,
  }),
  z.object({ type: z.literal("unchecked"), time, filesystem: z.string(), suspects: z.array(key) }),
  z.object({ type: z.literal("known-issue"), key, text: z.string() }),
  z.object({ type: z.literal("stale-issues"), issues: z.array(z.string()) }),
  z.object({ type: z.literal("kernel"), key: key.optional(), finding }),
  z.object({ type: z.literal("raw"), key, text: z.string() }),
  z.object({ type: z.literal("data"), key, name: z.string(), value: z.unknown() }),
  z.object({
    type: z.literal("test-end"),
    time,
    key,
    verdict,
    exit: z.number().int(),
    counters,
    durationSeconds: z.number(),
    summary: z.boolean(),
    peakBytes: whole.optional(),
    interrupted: z.boolean().optional(),
    unended: z.boolean().optional(),
    unbegun: z.boolean().optional(),
  }),
  z.object({
    type: z.literal("run-end"),
    time,
    counters: z.record(verdict, whole),
    notRun: whole,
    interrupted: z.boolean(),
    peakBytes: whole.optional(),
  }),
]);

/** Checks one parsed line; the error's message names the field that is wrong. */
export function checkEvent(value: unknown): RunEvent {
  const { data, error } = event.safeParse(value);
  if (error) {
    const [issue] = error.issues;
    const where = issue && issue.path.length > 0 ? `${issue.path.join(".")}: ` : "";
    throw new Error(`${where}${issue?.message ?? error.message}`);
  }
  // JSON cannot hold an undefined, so zod's "optional" is exactly optional here.
  return data as RunEvent;
}
