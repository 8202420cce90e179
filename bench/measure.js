// How benches run commands, and how they sum up what they measured.
import { spawnSync } from "node:child_process";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const MIB = 2 ** 20;

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function row(name, ratio, detail) {
  console.log(`${name.padEnd(44)} ${ratio.toFixed(2).padStart(6)}   ${detail}`);
}

/** Wall time in seconds of a command that must succeed. */
export function timed(command, args, env = {}) {
  const started = process.hrtime.bigint();
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: "utf8",
    maxBuffer: 256 * MIB,
  });
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} exited with ${status}:\n${stdout}${stderr}`);
  return { seconds, stdout };
}
