/**
 * A testcase's command line: LTP's generic options (`-h -V -D -i -I`) and the testcase's own, with getopt's rules and
 * LTP's words for what is wrong.
 */
import { parseArgs } from "node:util";
import { parseInteger, parseSeconds, parseSeed, parseSize } from "../base/numbers.js";
import { randomNumber } from "../base/random.js";
import { MARKS, withVariables } from "../base/variables.js";

/** One option of a testcase. A key of one letter is a short option (`-b`), a longer one a long option (`--engine`). */
export interface Option<T> {
  /** Name of its argument in the help text; absent for a flag. */
  argument?: string;
  help: string;
  /**
   * Given more than once beside {@link CommandLine.operands}, all of its values count, one a line, as for LTP's program
   * of then. Otherwise the last one counts, as for LTP's of today, which warns.
   */
  accumulates?: boolean;
  /** Its name among the defaults of a whole run, where that is not its own. */
  defaultsAs?: string;
  /** The words that it takes, of a {@link choice}. */
  choices?: readonly string[];
  /** The value when the option is not given; `text` is what was given. Returns an error text instead of a value for bad input. */
  parse(text: string | undefined): { value: T } | { error: string };
}

export type Options = Record<string, Option<unknown>>;
export type Values<O extends Options> = { [K in keyof O]: O[K] extends Option<infer T> ? T : never };

/** `%s` in LTP's message stands for the text given. */
function invalid(message: string, text: string): { error: string } {
  return { error: message.replace("%s", text) };
}

function option<T>(
  spec: { default: T; help: string; argument: string; invalid: string },
  read: (text: string) => T | undefined,
): Option<T> {
  return {
    argument: spec.argument,
    help: spec.help,
    parse(text) {
      if (text === undefined) return { value: spec.default };
      const value = read(text);
      return value === undefined ? invalid(spec.invalid, text) : { value };
    },
  };
}

/** An integer from 1 (or `min`) to INT_MAX. */
export function integer(spec: { default: number; min?: number; help: string; invalid: string }): Option<number> {
  return option({ ...spec, argument: "INT" }, (text) => parseInteger(text, spec.min));
}

/** A size in bytes with LTP's suffixes, from 1 or `min` on. */
export function size(spec: { default: number; min?: number; help: string; invalid: string }): Option<number> {
  return option({ ...spec, argument: "SIZE" }, (text) => parseSize(text, spec.min));
}

/** One of a few words; a default of undefined leaves the choice to the testcase. */
export function choice<const T extends string, D extends T | undefined>(spec: {
  default: D;
  of: readonly T[];
  help: string;
}): Option<T | D> {
  const { of } = spec;
  const known = { ...spec, argument: of.join("|"), invalid: `'%s' is not one of ${of.join(", ")}` };
  return { ...option<T | D>(known, (text) => of.find((word) => word === text)), choices: of };
}

/** Free text, read by the testcase; `read` returns undefined for what it does not accept. */
export function text<T>(spec: {
  default: T;
  argument: string;
  help: string;
  invalid: string;
  read: (text: string) => T | undefined;
  accumulates?: boolean;
  defaultsAs?: string;
}): Option<T> {
  const { accumulates = false, defaultsAs } = spec;
  return { ...option(spec, spec.read), accumulates, ...(defaultsAs !== undefined && { defaultsAs }) };
}

/** An option without an argument: whether it is given. */
export function flag(spec: { help: string }): Option<boolean> {
  return { help: spec.help, parse: (text) => ({ value: text !== undefined }) };
}

/** `--seed`; undefined leaves the choice to the testcase. */
export function seed(): Option<bigint | undefined> {
  return text<bigint | undefined>({
    default: undefined,
    argument: "NUMBER",
    help: "Seed of the data, to repeat a run (default random)",
    invalid: "Invalid seed '%s': use a number below 2^64, decimal or 0x…",
    read: parseSeed,
  });
}

/** The seed given, or a random one. */
export function chooseSeed(given: bigint | undefined): bigint {
  return given ?? randomNumber();
}

/** What the command line asks for, or what is wrong with it. */
export interface CommandLine<O extends Options> {
  values: Values<O>;
  /** `-i`: calls of the test function, 0 included. */
  iterations: number;
  /** `-I`, in seconds. */
  seconds?: number;
  debug: number;
  help: boolean;
  version: boolean;
  /** Names of the testcase's options given more than once; LTP warns of each. */
  repeated: string[];
  /** `--legacy-output`. */
  legacy: boolean;
  /** Files in the temporary directory, as runtest lines of before 2023 name them. */
  operands: string[];
  /** Lines as getopt prints them (`aiocp: invalid option -- 'Z'`). */
  getoptErrors: string[];
  /** The text of the TBROK that ends the testcase before it started; also set where getoptErrors are. */
  error?: string;
  /** A value that the testcase refuses: LTP reports it in setup, after the preamble. */
  valueError?: string;
}

/** The options that every testcase has; one of its own with the same letter takes the place of the generic one. */
const GENERIC = ["h", "V", "D", "i", "I"];

/** The generic options that this testcase has not replaced by its own. */
export function genericOptions(options: Options): string[] {
  return GENERIC.filter((name) => !Object.hasOwn(options, name));
}

/** The long option that chooses the old library's output; only testcases with a `legacyId` have it. */
export const LEGACY_OUTPUT = "legacy-output";

/**
 * Reads a testcase's command line. A testcase's own option hides a generic one of the same name: diotest2's `-i` counts
 * its own loop, and it has no generic one then.
 *
 * @param program name for getopt's own messages
 * @param defaults texts for options that the command line leaves out, for example `--engine` of a whole run; names that
 *   the testcase does not have are ignored
 * @param operandsMax how many files in `$TMPDIR` may be named
 */
export function parseCommandLine<O extends Options>(
  program: string,
  argv: readonly string[],
  options: O,
  hasRuntime: boolean,
  defaults: Readonly<Record<string, string>> = {},
  hasLegacyOutput = false,
  operandsMax = 0,
): CommandLine<O> {
  const result: CommandLine<O> = {
    values: {} as Values<O>,
    iterations: 1,
    debug: 0,
    help: false,
    version: false,
    repeated: [],
    legacy: false,
    operands: [],
    getoptErrors: [],
  };
  const generic = genericOptions(options);
  const flags = hasLegacyOutput ? [...generic, LEGACY_OUTPUT] : generic;
  const given: Record<string, string | undefined> = {};
  const earlier = new Map<string, string[]>();
  const takesArgument = (name: string) =>
    Object.hasOwn(options, name) ? options[name]?.argument !== undefined : name === "i" || name === "I";
  const known = (name: string) => flags.includes(name) || Object.hasOwn(options, name);

  // `-D` is getopt's optional argument (`-D`, `-D2`), which parseArgs has no notion of.
  const rest = argv.filter((word) => {
    const debug = generic.includes("D") ? /^-D(\d*)$/.exec(word) : null;
    if (debug) result.debug = debug[1] ? Number(debug[1]) : 1;
    return !debug;
  });
  const { tokens } = parseArgs({
    args: rest,
    strict: false,
    tokens: true,
    options: Object.fromEntries(
      [...Object.keys(options), ...flags].map((name) => [
        name.length === 1 ? `short-${name}` : name,
        { type: takesArgument(name) ? "string" : "boolean", ...(name.length === 1 ? { short: name } : {}) } as const,
      ]),
    ),
  });

  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const name = token.name.replace(/^short-/, "");
    const long = token.rawName.startsWith("--");
    if (!known(name) || long !== name.length > 1) {
      result.getoptErrors.push(
        long ? `${program}: unrecognized option '${token.rawName}'` : `${program}: invalid option -- '${name}'`,
      );
    } else if (takesArgument(name) && token.value === undefined) {
      result.getoptErrors.push(
        long
          ? `${program}: option '${token.rawName}' requires an argument`
          : `${program}: option requires an argument -- '${name}'`,
      );
    } else if (!takesArgument(name) && token.value !== undefined) {
      result.getoptErrors.push(`${program}: option '${token.rawName}' doesn't allow an argument`);
    } else if (name === LEGACY_OUTPUT) result.legacy = true;
    else if (name === "h" && generic.includes(name)) result.help = true;
    else if (name === "V" && generic.includes(name)) result.version = true;
    else {
      if (Object.hasOwn(given, name) && Object.hasOwn(options, name)) {
        result.repeated.push(name);
        earlier.set(name, [...(earlier.get(name) ?? []), given[name] ?? ""]);
      }
      given[name] = token.value ?? "";
    }
  }

  if (result.getoptErrors.length > 0) result.error = "Invalid option";
  else if (positionals.length <= operandsMax && positionals.every((word) => word.startsWith(`${MARKS.TMPDIR}/`))) {
    result.operands = positionals;
    for (const [name, values] of positionals.length > 0 ? earlier : []) {
      if (!options[name]?.accumulates) continue;
      result.repeated = result.repeated.filter((one) => one !== name);
      given[name] = [...values, given[name]].join("\n");
    }
  } else result.error = `Unexpected argument(s) '${positionals.map(withVariables).join(" ")}'...`;
  const marked = Object.values(given).find((value) => value !== undefined && value !== withVariables(value));
  if (marked !== undefined) result.error ??= `'${withVariables(marked)}': only files may be in $TMPDIR`;
  if (given.i !== undefined && generic.includes("i")) {
    const iterations = parseInteger(given.i, 0);
    if (iterations === undefined)
      result.error ??= `Invalid number of iterations '${given.i}': -i takes 0 to 2147483647`;
    else result.iterations = iterations;
  }
  if (given.I !== undefined && generic.includes("I")) {
    const seconds = hasRuntime ? parseInteger(given.I) : parseSeconds(given.I, 0.1);
    if (seconds === undefined) {
      const range = hasRuntime ? "whole seconds from 1" : "seconds from 0.1";
      result.error ??= `Invalid runtime '${given.I}': -I takes ${range}`;
    } else result.seconds = seconds;
  }
  for (const [name, spec] of Object.entries(options)) {
    const parsed = spec.parse(given[name] ?? defaults[spec.defaultsAs ?? name]);
    if ("value" in parsed) (result.values as Record<string, unknown>)[name] = parsed.value;
    else result.valueError ??= parsed.error;
  }
  return result;
}

/** How an option is written on a command line. */
export function optionName(name: string): string {
  return name.length === 1 ? `-${name}` : `--${name}`;
}
