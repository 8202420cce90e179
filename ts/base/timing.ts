/** Timeout and runtime as LTP computes them, from the testcase's own figures, the environment and the kernel's config. */

/** Factor by which a kernel with slow debug options stretches the timeout. */
const SLOW_KERNEL_FACTOR = 4;
/** Seconds that LTP grants every testcase beside its own timeout. */
const BASE_SECONDS = 30;

/**
 * How long each thing around a testcase may take, in seconds: its process's start, the making and the removal of its
 * directory. LTP limits none of them. A factor that can't be used is the testcase's to complain of, so it counts as 1.
 */
export function surroundingSeconds(env: NodeJS.ProcessEnv): number {
  try {
    return BASE_SECONDS * factor("LTP_TIMEOUT_MUL", 0.099, 10_000, env);
  } catch (error) {
    if (error instanceof BadFactor) return BASE_SECONDS;
    throw error;
  }
}

/** A factor from the environment that is not a number or out of range; `message` is LTP's. */
export class BadFactor extends Error {}

function factor(name: string, min: number, max: number, env: NodeJS.ProcessEnv): number {
  const text = env[name];
  if (text === undefined) return 1;
  const value = Number(text);
  if (text.trim() === "" || Number.isNaN(value)) throw new BadFactor(`Failed to parse ${name}: EINVAL`);
  if (value < min || value > max) throw new BadFactor(`Failed to parse ${name}: ERANGE`);
  return value;
}

/** Both in whole seconds; an absent timeout is unlimited. */
export interface Timing {
  runtimeSeconds: number;
  timeoutSeconds?: number;
}

/**
 * @param own the testcase's figures in seconds: `timeout` -1 is unlimited, `runtime` 0 is none
 * @throws BadFactor where LTP_TIMEOUT_MUL or LTP_RUNTIME_MUL can't be used
 */
export function timing(
  own: { timeout: number; runtime: number; minRuntime?: number },
  slowKernel: boolean,
  env: NodeJS.ProcessEnv,
): Timing {
  const timeoutFactor = factor("LTP_TIMEOUT_MUL", 0.099, 10_000, env);
  const runtimeFactor = factor("LTP_RUNTIME_MUL", 0.0099, 100, env);
  const runtimeSeconds = own.runtime > 0 ? Math.max(Math.trunc(own.runtime * runtimeFactor), own.minRuntime ?? 1) : 0;
  if (own.timeout < 0) return { runtimeSeconds };
  const base = (BASE_SECONDS + own.timeout) * (slowKernel ? SLOW_KERNEL_FACTOR : 1);
  return { runtimeSeconds, timeoutSeconds: Math.trunc(base * timeoutFactor) + runtimeSeconds };
}

/** `1920` → `0h 32m 00s`. */
export function formatDuration(seconds: number): string {
  const two = (value: number) => String(value).padStart(2, "0");
  return `${Math.trunc(seconds / 3600)}h ${two(Math.trunc(seconds / 60) % 60)}m ${two(seconds % 60)}s`;
}
