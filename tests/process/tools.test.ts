/** The table of tools. */
import { expect, test } from "vitest";
import { FAMILIES } from "../../ts/filesystem/variants.js";
import { ARCHITECTURES } from "../../ts/guest/architectures.js";
import { missingTool, packageOf } from "../../ts/process/tools.js";

test.each([
  ...Object.values(FAMILIES).flatMap(({ mkfs }) => mkfs?.command ?? []),
  ...ARCHITECTURES.map(({ qemu }) => qemu),
])("%s has a package", (program) => {
  expect(packageOf(program)).toBeDefined();
});

test("what is missing is told with its package; a program that nobody knows is taken for one", () => {
  expect(missingTool("ssh")).toBe("ssh is not in PATH: install it (Debian package openssh-client)");
  expect(missingTool("cargo")).toBe("cargo is not in PATH: install it (Debian package cargo)");
});

test("distributions have names of their own", () => {
  expect(["apt-get", "zypper", "dnf", undefined].map((manager) => packageOf("mkfs.btrfs", manager))).toEqual([
    ...["btrfs-progs", "btrfsprogs", "btrfs-progs", "btrfs-progs"],
  ]);
  expect(packageOf("xz", "dnf")).toBe("xz");
});
