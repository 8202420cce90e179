import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeTmpdir, removeTmpdir } from "../../ts/testcase/tmpdir.js";
import { temporaryDirectory } from "../support/temporary.js";

const parent = temporaryDirectory("tmpdir");
chmodSync(parent, 0o1777);

test("it is the caller's alone, whatever the umask", () => {
  const before = process.umask(0);
  const directory = makeTmpdir(parent, "aiocp");
  process.umask(before);
  expect(directory).toMatch(/\/LTP_aio\w{6}$/);
  expect(lstatSync(directory).mode & 0o7777).toBe(0o700);
  removeTmpdir(directory);
  expect(existsSync(directory)).toBe(false);
});

test.runIf(process.getuid?.() === 0)("another user can plant no link in it, and not even look", () => {
  const directory = makeTmpdir(parent, "aiocp");
  const nobody = (...command: string[]) =>
    spawnSync("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", ...command], { encoding: "utf8" });
  expect(nobody("true").status).toBe(0);
  expect(nobody("ln", "-s", "/etc/passwd", join(directory, "dstfile.bin")).stderr).toContain("Permission denied");
  expect(nobody("ls", directory).stderr).toContain("Permission denied");
  expect(nobody("mv", directory, join(parent, "elsewhere")).stderr).toContain("not permitted");
  expect(readdirSync(directory)).toEqual([]);
  removeTmpdir(directory);
});

test("what links in it point to survives its removal, and a link in its place is removed alone", () => {
  const kept = join(parent, "kept");
  mkdirSync(kept);
  writeFileSync(join(kept, "file"), "somebody's");
  const directory = makeTmpdir(parent, "aiocp");
  symlinkSync(kept, join(directory, "link"));
  removeTmpdir(directory);
  symlinkSync(kept, directory);
  removeTmpdir(directory);
  expect(readFileSync(join(kept, "file"), "utf8")).toBe("somebody's");
  expect(readdirSync(parent)).toEqual(["kept"]);
});
