/** The programs that a runtest line may name; each is a command of its own too. */
import type { Testcase } from "./testcase.js";

export interface Program {
  name: string;
  summary: string;
  load(): Promise<Testcase>;
}

function program(name: string, summary: string, load: () => Promise<{ default: unknown }>): [string, Program] {
  return [name, { name, summary, load: async () => (await load()).default as Testcase }];
}

export const programs: ReadonlyMap<string, Program> = new Map([
  program(
    "aiocp",
    "copy a file with asynchronous or direct I/O and verify the copy down to the disk",
    () => import("../../testcases/aiocp.js"),
  ),
]);
