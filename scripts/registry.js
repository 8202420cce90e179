#!/usr/bin/env node
// Registers what is in testcases/: makes `ts/testcase/registry.ts`, so that names and summaries are known before a testcase is
// loaded, and a command for each in bin/. A part of the build.
//
//   node scripts/registry.js [--check]     --check: changes nothing, says what is not current, and fails if anything is
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The same for all: npm packs no links, and one that has been followed does not tell its name. */
const SHIM = `#!/usr/bin/env node
import { standalone } from "./shared/standalone.js";

await standalone();
`;

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
const wanted = new Map([
  ["ts/testcase/registry.ts", `${REGISTRY}${rows.join("")}]);\n`],
  ...programs.map(({ name }) => [`bin/${name}.js`, SHIM]),
]);
const stale = readdirSync(join(root, "bin"))
  .filter((name) => name.endsWith(".js") && name !== "aiodio-ltp.js")
  .map((name) => `bin/${name}`)
  .filter((path) => !wanted.has(path));
const current = (path) => existsSync(join(root, path)) && readFileSync(join(root, path), "utf8") === wanted.get(path);
const changed = [...wanted.keys()].filter((path) => !current(path));

if (process.argv[2] === "--check") {
  for (const path of [...changed, ...stale]) console.error(`${path} is not current: run \`npm run build\``);
  if (changed.length + stale.length > 0) process.exitCode = 1;
} else {
  for (const path of changed)
    writeFileSync(join(root, path), wanted.get(path), { mode: path.startsWith("bin/") ? 0o755 : 0o644 });
  for (const path of stale) rmSync(join(root, path));
}
