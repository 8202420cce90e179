/**
 * The last runs, kept without being asked for: a race that fails once in a hundred runs must not be lost because nobody
 * thought of `--journal`. Each has a directory, named by its time, in `$XDG_STATE_HOME/aiodio-ltp/runs`.
 */
import { existsSync, mkdirSync, readdirSync, realpathSync, renameSync, rmSync, statSync, symlinkSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { reasonOf, UsageError } from "../base/errors.js";
import { isBeingWritten, Journal } from "../report/journal.js";

const KEPT = 5;
const NAME = /^\d{4}-\d\d-\d\dT[\d-]+(?:\.\d+)?Z(?:\.\d+)?$/;
const LATEST = "latest";

/**
 * Where they are; undefined where this user has no place for such things. A relative `XDG_STATE_HOME` is to be ignored,
 * says the XDG Base Directory Specification.
 */
export function runsDirectory({ XDG_STATE_HOME: state, HOME: home }: NodeJS.ProcessEnv): string | undefined {
  const base =
    state && isAbsolute(state) ? state : home && isAbsolute(home) ? join(home, ".local", "state") : undefined;
  return base === undefined ? undefined : join(base, "aiodio-ltp", "runs");
}

/** The journal of the last run that was kept. @throws UsageError where there is none */
export function latestJournal(env: NodeJS.ProcessEnv): string {
  const directory = runsDirectory(env);
  const latest = directory && join(directory, LATEST, "journal");
  if (latest === undefined || !existsSync(latest)) throw new UsageError("no run has been kept: name its journal");
  // Its own name: another run may become the latest meanwhile.
  return realpathSync(latest);
}

/**
 * Begins the journal of a run that is to be kept, and drops the oldest ones that nobody writes.
 *
 * @returns undefined where there is no place for it
 * @throws an error whose message says why it can't be kept
 */
export async function keepRun(env: NodeJS.ProcessEnv, now: Date): Promise<Journal | undefined> {
  const directory = runsDirectory(env);
  if (directory === undefined) return undefined;
  try {
    refuseForeign(directory);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const name = makeOwn(directory, now.toISOString().replaceAll(":", "-"));
    const journal = await Journal.create(join(directory, name, "journal"));
    // There is always one, and it is never half made.
    const link = join(directory, `.${LATEST}-${name}`);
    symlinkSync(name, link);
    renameSync(link, join(directory, LATEST));
    await dropOldest(directory);
    return journal;
  } catch (error) {
    throw new Error(`this run is not kept in ${directory} (${reasonOf(error)})`);
  }
}

/** `sudo` may leave root with somebody's HOME, where root's directories would be in that user's way. */
function refuseForeign(directory: string): void {
  let existing = directory;
  while (!existsSync(existing)) existing = dirname(existing);
  const { uid } = statSync(existing);
  if (uid !== 0 && uid !== process.geteuid?.()) throw new Error(`${existing} is another user's`);
}

/** Makes a directory that no other run has; returns its name. */
function makeOwn(directory: string, name: string): string {
  for (let copy = 1; ; copy++) {
    const own = copy === 1 ? name : `${name}.${copy}`;
    try {
      mkdirSync(join(directory, own), { mode: 0o700 });
      return own;
    } catch (error) {
      if (reasonOf(error) !== "EEXIST") throw error;
    }
  }
}

async function dropOldest(directory: string): Promise<void> {
  const names = readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && NAME.test(entry.name))
    .map(({ name }) => name)
    .sort();
  for (const name of names.slice(0, -KEPT)) {
    const run = join(directory, name);
    if (!(await isBeingWritten(join(run, "journal")))) rmSync(run, { recursive: true, force: true });
  }
}
