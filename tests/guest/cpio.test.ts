import { spawnSync } from "node:child_process";
import { lstatSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { characterDevice, cpio, directory, file, symlink } from "../../ts/guest/cpio.js";
import { needs } from "../support/needs.js";

const entries = [
  directory("bin"),
  file("bin/one", "1", 0o755),
  file("bin/empty", ""),
  file(
    "bin/binary",
    Uint8Array.from({ length: 4099 }, (_, index) => index),
  ),
  symlink("bin/link", "one"),
  file("name with blanks and ä", "x"),
];

test("cpio lists every entry, in order", () => {
  needs("cpio");
  const { stdout, stderr, status } = spawnSync("cpio", ["-t", "--quiet"], { input: cpio(entries), encoding: "utf8" });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(stdout.trimEnd().split("\n")).toEqual(entries.map(({ name }) => name));
});

test("cpio unpacks what was packed", () => {
  needs("cpio");
  const folder = mkdtempSync(join(tmpdir(), "cpio-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const { status } = spawnSync("cpio", ["-i", "-d", "--quiet"], { input: cpio(entries), cwd: folder });
  expect(status).toBe(0);
  for (const { name, data, mode } of entries) {
    const path = join(folder, name);
    if (name.endsWith("link")) expect(readlinkSync(path)).toBe("one");
    else if (data) expect(readFileSync(path).equals(data)).toBe(true);
    if (!name.endsWith("link")) expect(lstatSync(path).mode).toBe(mode);
  }
});

test("a device keeps its numbers", () => {
  const text = cpio([characterDevice("dev/console", 5, 1)]).toString("latin1");
  // c_rdevmajor and c_rdevminor are the tenth and eleventh fields.
  expect(text.slice(6 + 9 * 8, 6 + 11 * 8)).toBe("0000000500000001");
});

test("a name that would leave the archive is refused", () => {
  expect(() => cpio([file("/etc/passwd", "")])).toThrow('no name for an archive: "/etc/passwd"');
});
