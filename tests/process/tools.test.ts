/** The table of tools. */
import { expect, test } from "vitest";
import { FAMILIES } from "../../ts/filesystem/variants.js";
import { ARCHITECTURES } from "../../ts/guest/architectures.js";
import { debianPackage, missingTool, TOOLS } from "../../ts/process/tools.js";

test("each program is there once", () => {
  const programs = TOOLS.map(({ program }) => program);
  expect(new Set(programs).size).toBe(programs.length);
});

test.each([
  ...Object.values(FAMILIES).flatMap(({ mkfs }) => mkfs?.command ?? []),
  ...ARCHITECTURES.map(({ qemu }) => qemu),
])("%s has a package", (program) => {
  expect(debianPackage(program)).toBeDefined();
});

test("what is missing is told with its package; a program that nobody knows is taken for one", () => {
  expect(missingTool("ssh")).toBe("ssh is not in PATH: install it (Debian package openssh-client)");
  expect(missingTool("cargo")).toBe("cargo is not in PATH: install it (Debian package cargo)");
});
