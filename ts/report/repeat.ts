/** The command that runs one line again as it was run: the same file, filesystem and options, with the seed that it took. */
import { ALONE, shellWord } from "../base/quoting.js";
import type { PlannedRun, RunStart } from "../events/events.js";

/** As every testcase words it when it begins. */
const SEED = /^Seed (0x[0-9a-f]+)\b/;

/** The seed that a line of output tells, if it tells one. */
export function seedIn(text: string): string | undefined {
  return SEED.exec(text)?.[1];
}

/** Undefined where the line came from something that can be read only once. */
export function repeatCommand(
  { run, seed }: { run: PlannedRun; seed?: string },
  { start }: { start: RunStart | undefined },
): string | undefined {
  const { options = [], files = {}, machines = "--guest" } = start?.repeat ?? {};
  const file = files[fileName(run)];
  if (file === undefined) return undefined;
  const { id, guest, filesystem } = run;
  const places = [
    ...(guest === undefined ? [] : [machines, guest]),
    ...(filesystem === undefined ? [] : ["--filesystems", filesystem]),
  ];
  const withSeed = seed === undefined ? [] : ["--seed", seed];
  if (file.startsWith(ALONE)) return `${joined(["aiodio-ltp", "run", ...options, ...places, ...withSeed])} ${file}`;
  // An ID has no character that means something in a pattern.
  return joined(["aiodio-ltp", ...options, ...places, "-s", `^${id}$`, ...withSeed, file]);
}

const joined = (words: readonly string[]) => words.map(shellWord).join(" ");

/** All of a run again. Undefined where its lines came from something that can be read only once. */
export function repeatRunCommand(results: { start: RunStart | undefined; runs(): PlannedRun[] }): string | undefined {
  const { options = [], files = {}, machines = "--guest" } = results.start?.repeat ?? {};
  const runs = results.runs();
  const names = [...new Set(runs.map(fileName))].map((name) => files[name]);
  const known = names.filter((name) => name !== undefined);
  if (known.length === 0 || known.length < names.length) return undefined;
  const each = <T>(of: (run: PlannedRun) => T | undefined) => [
    ...new Set(runs.map(of).filter((one) => one !== undefined)),
  ];
  const filesystems = each(({ filesystem }) => filesystem);
  const places = [
    ...each(({ guest }) => guest).flatMap((guest) => [machines, guest]),
    ...(filesystems.length === 0 ? [] : ["--filesystems", filesystems.join(",")]),
  ];
  const [alone] = known.filter((name) => name.startsWith(ALONE));
  if (alone !== undefined) return `${joined(["aiodio-ltp", "run", ...options, ...places])} ${alone}`;
  return joined(["aiodio-ltp", ...options, ...places, ...known]);
}

/** What the key has between the place and the ID. */
function fileName({ key, id, guest, filesystem }: PlannedRun): string {
  const place = [guest, filesystem].map((name) => (name === undefined ? "" : `${name}/`)).join("");
  return key.slice(place.length, key.lastIndexOf(`:${id}`));
}
