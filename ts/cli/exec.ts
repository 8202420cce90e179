/** `aiodio-ltp exec PROGRAM [ARG...]`: a testcase as a command, whose own supervisor takes this process's place. */

import { UsageError } from "../base/errors.js";
import { execPath, root } from "../base/package.js";
import { didYouMean } from "../base/suggest.js";
import { programs } from "../testcase/registry.js";

/**
 * Becomes `aiodio-exec` where the first argument is a program's name; else, or where it can't, returns.
 *
 * @returns why it can't, where it could not
 * @throws UsageError where this package has no `aiodio-exec`
 */
export async function becomeTestcase([name = "", ...argv]: readonly string[]): Promise<string | undefined> {
  if (!programs.has(name)) return undefined;
  const { becomeProgram } = await import("#native");
  return `${execPath()}: ${becomeProgram(execPath(), [process.execPath, root, name, ...argv])}: install aiodio-ltp again`;
}

/**
 * What is left where `exec` could not be taken so.
 *
 * @throws UsageError always: says what to write instead
 */
export function exec([name]: readonly string[]): never {
  if (name === undefined) throw new UsageError("exec: name a program, for example aiodio-ltp exec aiocp -b 4k");
  if (!programs.has(name)) {
    throw new UsageError(`exec: no "${name}"${didYouMean(name, [...programs.keys()])}: \`aiodio-ltp list\` shows them`);
  }
  throw new UsageError(
    `exec comes first, and all behind its name is for the program: aiodio-ltp exec ${name} [ARG...]`,
  );
}
