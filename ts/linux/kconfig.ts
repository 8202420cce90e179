/** The running kernel's configuration, where LTP looks for it, and whether it holds options that slow everything down. */
import { existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { gunzipSync } from "node:zlib";

/** Options that LTP takes for slow, in its order; the first one found is the one it names. */
const SLOW_OPTIONS = [
  ...["PROVE_LOCKING", "LOCKDEP", "DEBUG_SPINLOCK", "DEBUG_RT_MUTEXES", "DEBUG_MUTEXES", "KASAN", "SLUB_RCU_DEBUG"],
  ...["TRACE_IRQFLAGS", "DEBUG_NET", "EXT4_DEBUG", "QUOTA_DEBUG", "FAULT_INJECTION", "DEBUG_OBJECTS"],
].map((name) => `CONFIG_${name}`);

export interface KernelConfig {
  /** The file it was read from; absent when there is none. */
  path?: string;
  /** The first slow option that is built in. */
  slowOption?: string;
  /** What LTP warns of before it goes on. */
  warning?: string;
}

/** Finds and reads the configuration. Never throws: an unreadable file counts as absent. */
export function readKernelConfig(env: NodeJS.ProcessEnv): KernelConfig {
  const warning =
    env.KCONFIG_PATH !== undefined && !existsSync(env.KCONFIG_PATH)
      ? `KCONFIG_PATH='${env.KCONFIG_PATH}' does not exist`
      : undefined;
  const name = release();
  const candidates = [
    ...(env.KCONFIG_PATH === undefined ? [] : [env.KCONFIG_PATH]),
    "/proc/config.gz",
    `/lib/modules/${name}/build/.config`,
    `/lib/modules/${name}/config`,
    `/boot/config-${name}`,
    `/lib/kernel/config-${name}`,
  ];
  for (const path of candidates) {
    try {
      const content = readFileSync(path);
      const lines = new Set((path.endsWith(".gz") ? gunzipSync(content) : content).toString("latin1").split("\n"));
      const slowOption = SLOW_OPTIONS.find((option) => lines.has(`${option}=y`));
      return { path, ...(slowOption && { slowOption }), ...(warning && { warning }) };
    } catch {}
  }
  return warning ? { warning } : {};
}

let cached: { key: string | undefined; config: KernelConfig } | undefined;

/** The same, read once a process: a warm worker does not unpack it for every line. */
export function kernelConfig(env: NodeJS.ProcessEnv): KernelConfig {
  if (!cached || cached.key !== env.KCONFIG_PATH) cached = { key: env.KCONFIG_PATH, config: readKernelConfig(env) };
  return cached.config;
}
