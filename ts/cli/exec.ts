/** `aiodio-ltp exec PROGRAM`, where it is not as bin/aiodio-ltp.js, which runs the program, takes it. */

import { UsageError } from "../base/errors.js";
import { didYouMean } from "../base/suggest.js";
import { programs } from "../testcase/registry.js";

/** @throws UsageError always: says what to write instead */
export function exec([name]: readonly string[]): never {
  if (name === undefined) throw new UsageError("exec: name a program, for example aiodio-ltp exec aiocp -b 4k");
  if (!programs.has(name)) {
    throw new UsageError(`exec: no "${name}"${didYouMean(name, [...programs.keys()])}: \`aiodio-ltp list\` shows them`);
  }
  throw new UsageError(
    `exec comes first, and all behind its name is for the program: aiodio-ltp exec ${name} [ARG...]`,
  );
}
