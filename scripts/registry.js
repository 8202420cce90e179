#!/usr/bin/env node
// Registers what is in testcases/: makes `ts/testcase/registry.ts`, so that names and summaries are known before a testcase is
// loaded. A part of the build.
//
//   node scripts/registry.js [--check]     --check: changes nothing, says what is not current, and fails if anything is
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const REGISTRY = `/** The programs that a runtest line may name. Made from testcases/ by scripts/registry.js: change it there. */
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
`;

/** The name and the summary of a testcase, which are the first lines of its declaration. */
function declarationOf(file) {
  const text = readFileSync(join(root, "testcases", `${file}.ts`), "utf8");
  const [, name, summary] = /^ +name: "([\w-]+)",\n +summary:\s+"([^"]+)",$/m.exec(text) ?? [];
  if (name === undefined) throw new Error(`testcases/${file}.ts: its declaration must begin with name and summary`);
  // Result lines name the file, and their readers know no "-" in it.
  if (name.replaceAll("-", "_") !== file) throw new Error(`testcases/${file}.ts is the file of another than "${name}"`);
  return { file, name, summary: `${summary[0].toLowerCase()}${summary.slice(1)}` };
}

const programs = readdirSync(join(root, "testcases"))
  .filter((name) => name.endsWith(".ts"))
  .sort()
  .map((name) => declarationOf(name.slice(0, -".ts".length)));
const rows = programs.map(
  ({ file, name, summary }) => `  program("${name}", "${summary}", () => import("../../testcases/${file}.js")),\n`,
);
const path = join(root, "ts/testcase/registry.ts");
const wanted = `${REGISTRY}${rows.join("")}]);\n`;
if (!existsSync(path) || readFileSync(path, "utf8") !== wanted) {
  if (process.argv[2] === "--check") {
    console.error("ts/testcase/registry.ts is not current: run `npm run build`");
    process.exitCode = 1;
  } else writeFileSync(path, wanted);
}
