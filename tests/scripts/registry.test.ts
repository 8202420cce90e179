/** What `scripts/registry.js` makes of testcases/ is what is checked in. */
import { execaSync } from "execa";
import { expect, test } from "vitest";
import { packaged } from "../../ts/base/package.js";
import { programs } from "../../ts/testcase/registry.js";

test("the registry and the commands are those of the testcases that there are", () => {
  const { exitCode, stderr } = execaSync(process.execPath, [packaged("scripts", "registry.js"), "--check"], {
    reject: false,
  });
  expect(stderr).toBe("");
  expect(exitCode).toBe(0);
  expect(programs.size).toBeGreaterThan(20);
});
