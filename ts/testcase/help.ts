/** A testcase's `-h`: the sections in LTP's order. */

import { formatDuration, timing } from "../base/timing.js";
import { genericOptions, LEGACY_OUTPUT, type Options, optionName } from "./options.js";
import type { Testcase } from "./testcase.js";

const ENVIRONMENT = [
  ["KCONFIG_PATH", "Specify kernel config file"],
  ["KCONFIG_SKIP_CHECK", "Skip kernel config check if variable set (not set by default)"],
  ["LTP_COLORIZE_OUTPUT", "Force colorized output behaviour (y/1 always, n/0: never)"],
  ["LTP_DEBUG", "Print debug messages (set 1(y) or 2)"],
  ["LTP_REPRODUCIBLE_OUTPUT", "Values 1 or y discard the actual content of the messages printed by the test"],
  ["LTP_TIMEOUT_MUL", "Timeout multiplier (must be a number >= 0.1)"],
  ["LTP_RUNTIME_MUL", "Runtime multiplier (must be a number >= 0.01)"],
  ["TMPDIR", "Base directory for the temporary directory (default: /tmp)"],
] as const;

const GENERIC = [
  ["D", "-D[1|2]", "Enable debug information"],
  ["V", "-V", "Print the version"],
  ["h", "-h", "Print this help"],
  ["i", "-i n", "Execute the test n times"],
  ["I", "-I x", "Execute the test for x seconds; for a test with a runtime: replace the runtime"],
] as const;

function section(title: string, lines: readonly string[]): string {
  return [title, "-".repeat(title.length), ...lines, ""].join("\n");
}

/** The whole help text, without a final newline. */
export function helpText(testcase: Testcase): string {
  const { name, summary, timeoutSeconds, runtimeSeconds } = testcase;
  const generic = genericOptions(testcase.options);
  const limits = timing({ timeout: timeoutSeconds, runtime: runtimeSeconds }, false, {});
  return [
    section(name, [summary]),
    section(
      "Environment Variables",
      ENVIRONMENT.map(([variable, help]) => `${variable.padEnd(24)} ${help}`),
    ),
    section("Timeout and runtime", [
      limits.timeoutSeconds === undefined
        ? "Test timeout is not limited"
        : `Test timeout (not accounting for slow kernels): ${formatDuration(limits.timeoutSeconds)}`,
      ...(runtimeSeconds > 0 ? [`Test runtime: ${formatDuration(limits.runtimeSeconds)}`] : []),
    ]),
    section("Options", [
      ...GENERIC.filter(([name]) => generic.includes(name)).map(([, option, help]) => `${option.padEnd(9)} ${help}`),
      "--trace   As a command of its own: print each I/O operation when it completes, as strace would",
      ...Object.entries(testcase.options as Options).map(
        ([key, spec]) => `${optionName(key)}${spec.argument ? ` ${spec.argument}` : ""}\n          ${spec.help}`,
      ),
      ...(testcase.legacyId === undefined
        ? []
        : [
            `--${LEGACY_OUTPUT}\n          As a command of its own: lines as LTP's old library prints them, on standard output`,
          ]),
    ]),
  ]
    .join("\n")
    .trimEnd();
}
