#!/usr/bin/env node
// Begins a testcase that runs as it is: a declaration, its test, and a line in runtest/aiodio-regress.
//
//   npm run new-testcase NAME      NAME: small letters, digits, and `_` or `-` between them
import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [name, ...rest] = process.argv.slice(2);

function refuse(text) {
  console.error(`new-testcase: ${text}`);
  process.exit(2);
}

if (name === undefined || rest.length > 0) refuse("takes one name: npm run new-testcase NAME");
if (!/^[a-z][a-z0-9]*([_-][a-z0-9]+)*$/.test(name)) {
  refuse(`"${name}" is no name for a testcase: use small letters, digits, and _ or - between them`);
}
const declaration = `testcases/${name.replaceAll("-", "_")}.ts`;
const test = `tests/testcases/${name.replaceAll("_", "-")}.test.ts`;
const runtest = "runtest/aiodio-regress";
for (const path of [declaration, test, `bin/${name}.js`]) {
  if (existsSync(join(root, path))) refuse(`${path} exists: choose another name`);
}

writeFileSync(
  join(root, declaration),
  `/**
 * Writes a file and verifies it.
 *
 * Tell here, in plain words, which race or bug is provoked; who reported it and which commit mended it; and what is different
 * from the program of the report.
 */
import { join } from "node:path";
import { call } from "#native";
import { chooseSeed, seed, size } from "../ts/testcase/options.js";
import { testcase } from "../ts/testcase/testcase.js";
import { explainFailure, isBad, unreachable, verifyAndReport, verifyOption } from "../ts/testcase/verification.js";

const FILE = "testfile";
const FILE_ID = 1;

export default testcase({
  name: "${name}",
  summary: "Write a file and verify it down to the disk",
  options: {
    s: size({ default: 1_048_576, help: "File size (default 1M)", invalid: "Invalid file size '%s'" }),
    seed: seed(),
    verify: verifyOption("the file"),
  },
  runtimeSeconds: 0,
  timeoutSeconds: 300,
  needs: { directory: true },

  setup(test): { seed: bigint } {
    const obstacle = unreachable(test, test.options.verify);
    if (obstacle) test.unsupported(obstacle);
    const seed = chooseSeed(test.options.seed);
    test.info(\`Seed 0x\${seed.toString(16)}\`);
    return { seed };
  },

  async run(test, { seed }) {
    const { s: bytes, verify } = test.options;
    const path = join(test.directory, FILE);
    const key = { seed, fileId: FILE_ID, generation: test.iteration };
    const { error } = await call("fill", { path, bytes, key });
    if (error) test.broken(explainFailure(error));
    const fail = () => test.fail("The file is not what was written");
    const findings = await verifyAndReport(test, verify, { path, bytes, key }, fail);
    if (!findings.some(isBad)) test.pass(\`\${bytes} bytes are what was written\`);
  },
});
`,
);
writeFileSync(
  join(root, test),
  `/** ${name}: it passes on sound filesystems. Plant here what it must find: tests/testcases/dio-races.test.ts shows how. */
import { expect, test } from "vitest";
import testcase from "../../${declaration.replace(/ts$/, "js")}";
import { executed } from "../support/execute.js";
import { filesystems } from "../support/filesystems.js";

for (const { name, directory } of filesystems()) {
  test(\`passes on \${name}\`, async () => {
    const { results } = await executed(testcase, directory, ["-s", "64k"]);
    expect(results).toEqual(["TPASS"]);
  });
}
`,
);
appendFileSync(join(root, runtest), `\n# Say here what it provokes, and with which options\n${name} ${name}\n`);
const { status, error } = spawnSync(process.execPath, ["scripts/registry.js"], { cwd: root, stdio: "inherit" });
if (error) throw error;
if (status !== 0) process.exit(status ?? 1);
console.log(`${declaration}
${test}
${runtest}: its last line
Then: a subject in SINGLE of ts/selftest/cases.ts, which says what faults on its files it must notice; npm run build`);
