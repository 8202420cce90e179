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
  // An ID has no character that means something in a pattern. A command that stands for itself is one line.
  const selected = file.startsWith(ALONE) ? [] : ["-s", `^${id}$`];
  return commandOf({
    ...{ options, machines, files: [file] },
    guests: guest === undefined ? [] : [guest],
    filesystems: filesystem === undefined ? [] : [filesystem],
    own: [...selected, ...(seed === undefined ? [] : ["--seed", seed])],
  });
}

/** All lines of a run's files again. Undefined where they came from something that can be read only once. */
export function repeatRunCommand(results: { start: RunStart | undefined; runs(): PlannedRun[] }): string | undefined {
  const { options = [], files = {}, machines = "--guest" } = results.start?.repeat ?? {};
  const runs = results.runs();
  const names = [...new Set(runs.map(fileName))].map((name) => files[name]);
  const known = names.filter((name) => name !== undefined);
  if (known.length === 0 || known.length < names.length) return undefined;
  const each = (of: (run: PlannedRun) => string | undefined) => [
    ...new Set(runs.map(of).filter((one) => one !== undefined)),
  ];
  return commandOf({
    ...{ options, machines, files: known, own: [] },
    guests: each(({ guest }) => guest),
    filesystems: each(({ filesystem }) => filesystem),
  });
}

interface Parts {
  options: readonly string[];
  /** The option that names a machine. */
  machines: string;
  guests: readonly string[];
  filesystems: readonly string[];
  /** Options of this command alone. */
  own: readonly string[];
  files: readonly string[];
}

function commandOf({ options, machines, guests, filesystems, own, files }: Parts): string {
  const alone = files.find((file) => file.startsWith(ALONE));
  const words = [
    ...(alone === undefined ? ["aiodio-ltp"] : ["aiodio-ltp", "run"]),
    ...options,
    ...guests.flatMap((guest) => [machines, guest]),
    ...(filesystems.length === 0 ? [] : ["--filesystems", filesystems.join(",")]),
    ...own,
    ...(alone === undefined ? files : []),
  ];
  const command = words.map(shellWord).join(" ");
  return alone === undefined ? command : `${command} ${alone}`;
}

/** What the key has between the place and the ID. */
function fileName({ key, id, guest, filesystem }: PlannedRun): string {
  const place = [guest, filesystem].map((name) => (name === undefined ? "" : `${name}/`)).join("");
  return key.slice(place.length, key.lastIndexOf(`:${id}`));
}
