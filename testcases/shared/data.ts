/** What programs of LTP's old library have in common: their options, their file, and what it must hold. */
import { lstatSync, rmSync } from "node:fs";
import { basename, resolve } from "node:path";
import type { Failure } from "#native";
import { parseInteger } from "../../ts/base/numbers.js";
import { chooseSeed, flag, type Option, seed, text } from "../../ts/testcase/options.js";
import type { Test } from "../../ts/testcase/testcase.js";
import {
  cacheOnly,
  climb,
  type DeepestLevel,
  describeDiagnosis,
  describeLevel,
  diagnoseFile,
  explainFailure,
  isBad,
  type LevelFinding,
  verifyOption,
} from "../../ts/testcase/verification.js";

/** Seconds that one of these programs may take; LTP's have no limit at all. */
export const TIMEOUT_SECONDS = 1800;

/** Bytes that one stamp covers. */
const SECTOR = 512;

/** Options of every program here that writes. */
export const dataOptions = {
  seed: seed(),
  "ltp-pattern": flag({
    help: "Write LTP's repeated bytes instead of stamps, and check no more than LTP does: for comparison with LTP",
  }),
  verify: verifyOption("what was written"),
};

/** A plain decimal number from `min` to `max`. LTP takes `64k` for 64 and `x` for 0; here both are errors. */
export function decimal(spec: {
  default: number;
  min: number;
  max?: number;
  help: string;
  invalid: string;
}): Option<number> {
  return text({ ...spec, argument: "INT", read: (word) => parseInteger(word, spec.min, spec.max) });
}

/** `-b` of the diotest programs: bytes, a multiple of 4096, with LTP's messages. */
export function bufferSize(bytes: number): Option<number> {
  return {
    argument: "BYTES",
    help: `Buffer size, a multiple of 4096 (default ${bytes})`,
    parse(word) {
      if (word === undefined) return { value: bytes };
      const value = parseInteger(word, -(2 ** 31));
      if (value === undefined) return { error: `Invalid buffer size '${word}': use a decimal number of bytes` };
      if (value <= 0) return { error: "bufsize must be > 0" };
      return value % 4096 === 0 ? { value } : { error: "bufsize must be multiple of 4k" };
    },
  };
}

/** `-o` of the diotest programs. Stamps are of whole sectors, and no direct I/O starts in the middle of one. */
export function fileOffset(): Option<number> {
  return text({
    default: 0,
    argument: "BYTES",
    help: "Offset in the file, a multiple of 512 (default 0)",
    invalid: "Invalid offset '%s': use a multiple of 512",
    read(word) {
      const value = parseInteger(word, 0, Number.MAX_SAFE_INTEGER);
      return value !== undefined && value % SECTOR === 0 ? value : undefined;
    },
  });
}

/** A file that the program makes; `role` says what for. */
export function newFile(name: string, role: string): Option<string> {
  return text({
    default: name,
    argument: "FILE",
    help: `${role}, which must not exist (default ${name} in the temporary directory)`,
    invalid: "Invalid file name '%s'",
    read: (word) => (word === "" ? undefined : word),
  });
}

/** A result line to come: the method of {@link Test} that reports it, and its text. */
export interface Report {
  as: "pass" | "fail" | "warn" | "info" | "broken";
  text: string;
}

/** What keeps a testcase from starting. */
export interface Obstacle {
  as: "broken" | "unsupported";
  text: string;
}

/** What the data of a run are made of. */
export interface Data {
  seed: bigint;
  /** The last generation that was written to the file. */
  generation: number;
  ltp: boolean;
}

/** The options of every program here that writes, and the words for the TINFO line about them. */
export function newData(options: { seed: bigint | undefined; "ltp-pattern": boolean }): Data & { words: string } {
  const value = chooseSeed(options.seed);
  const ltp = options["ltp-pattern"];
  const words = ltp ? "LTP's patterns instead of stamps, checked as LTP does" : `Seed 0x${value.toString(16)}`;
  return { seed: value, generation: 0, ltp, words };
}

/** The file's path, and why it can't be used: nothing is written over that the program did not make. */
export function claim(directory: string, name: string): { path: string; refusal?: string } {
  const path = resolve(directory, name);
  return lstatSync(path, { throwIfNoEntry: false })
    ? { path, refusal: `${name} exists: name a file that does not, it would be written over` }
    : { path };
}

/** Removes a file that was claimed: it may lie outside of the temporary directory, and the next call makes it anew. */
export function release(path: string): void {
  rmSync(path, { force: true });
}

/** A failed call in words: `EINVAL (22)`. */
export function errnoOf({ code, errno, message }: Failure): string {
  return code === undefined ? message : `${code} (${errno})`;
}

/**
 * Climbs the verification ladder, and says what is wrong: nothing where all is good. With LTP's patterns nothing is
 * looked at.
 */
export async function complaints(
  test: Pick<Test, "remount" | "sink" | "filesystem">,
  deepest: DeepestLevel,
  data: Data,
  { fileId, ...expected }: { path: string; offset?: number; bytes: number; fileId: number },
): Promise<{ lines: string[]; notes: string[] }> {
  if (data.ltp) return { lines: [], notes: [] };
  const findings: LevelFinding[] = [];
  const name = basename(expected.path);
  const lines: string[] = [];
  const key = { seed: data.seed, fileId, generation: data.generation };
  for await (const found of climb(test, deepest, { ...expected, key })) {
    if (found.error) lines.push(`${name}: ${explainFailure(found.error)}`);
    else if (found.level === "cache" && found.bytesFound !== expected.bytes) {
      lines.push(`${name}: ${found.bytesFound} bytes instead of ${expected.bytes}`);
    }
    findings.push(found);
  }
  test.sink.data("verify", findings);
  if (findings.some(isBad)) {
    const diagnoses = diagnoseFile(expected.path, findings);
    test.sink.data("diagnosis", diagnoses);
    lines.push(...findings.flatMap((finding) => describeLevel(name, finding)), ...diagnoses.flatMap(describeDiagnosis));
  }
  return {
    lines,
    notes: cacheOnly(findings) ? [`${test.filesystem} has no O_DIRECT: verified in the page cache only`] : [],
  };
}
