import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { devicesBehind, devicesOf, knownDevicesBehind } from "../../ts/linux/devices.js";
import { within } from "../../ts/linux/mountinfo.js";
import { filesystems } from "../support/filesystems.js";

const mounted = filesystems();

/** A machine: a partition, a mapped device on it, btrfs of two devices, and a loop device on a file there. */
let machine = { proc: "", sys: "", dev: "" };
let base = "";
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "devices-"));
  machine = { proc: join(base, "proc"), sys: join(base, "sys"), dev: join(base, "dev") };
  const write = (path: string, text = "") => {
    mkdirSync(dirname(join(base, path)), { recursive: true });
    writeFileSync(join(base, path), text);
  };
  const device = (name: string, number: string, path = name) => {
    write(`sys/devices/${path}/dev`, number);
    for (const link of [`class/block/${name}`, `dev/block/${number}`]) {
      mkdirSync(dirname(join(machine.sys, link)), { recursive: true });
      symlinkSync(join(machine.sys, "devices", path), join(machine.sys, link));
    }
  };
  device("sda", "8:0");
  device("sda2", "8:2", "sda/sda2");
  write("sys/devices/sda/sda2/partition", "2\n");
  device("dm-0", "253:0");
  write("sys/devices/dm-0/slaves/sda2");
  device("sdb", "8:16");
  device("sdc", "8:32");
  for (const name of ["sdb", "sdc"]) write(`sys/fs/btrfs/4cdf679c/devices/${name}`);
  device("loop3", "7:3");
  write("sys/devices/loop3/loop/backing_file", "/data/images/ext4 1.img\n");
  write("dev/dm-0");
  write("dev/sdb");
  mkdirSync(join(machine.dev, "mapper"));
  symlinkSync(join(machine.dev, "dm-0"), join(machine.dev, "mapper/root"));
  write(
    "proc/self/mountinfo",
    [
      "22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/mapper/root rw",
      "30 22 0:40 /@data /data rw shared:2 - btrfs /dev/sdb rw,subvol=/@data",
      "31 22 0:41 / /tmp rw - tmpfs tmpfs rw",
      "32 31 7:3 / /tmp/a\\040b rw - ext4 /dev/loop3 rw",
      "33 32 0:42 / /tmp/a\\040b/covered rw - tmpfs none rw",
      "34 32 7:3 / /tmp/a\\040b/covered rw - ext4 /dev/loop3 rw",
      "35 22 0:43 / /srv/nfs rw - nfs4 host:/export rw",
      "36 22 0:44 / /srv/sshfs rw - fuse.sshfs host: rw",
      "37 22 0:45 / /container rw - overlay overlay rw,upperdir=/var/up",
      "a line of another kernel",
    ].join("\n"),
  );
});
afterAll(() => rm(base, { recursive: true }));

test.each([
  ["/home/x", ["dm-0", "sda2", "sda"]],
  ["/data", ["sdb", "sdc"]],
  ["/database", ["dm-0", "sda2", "sda"]],
  ["/tmp", []],
  ["/tmp/a b/LTP_x", ["loop3", "sdb", "sdc"]],
  ["/tmp/a b/covered", ["loop3", "sdb", "sdc"]],
])("%s stands on %j", (directory, devices) => {
  expect(devicesBehind(directory, machine)).toEqual(devices);
});

test.each([
  ["/data", ["sdb", "sdc"]],
  ["/tmp", []],
  ["/srv/nfs/x", []],
  ["/srv/sshfs", []],
  // It has one, which is not looked for.
  ["/container", undefined],
])("of %s it is known that it stands on %j", (directory, devices) => {
  expect(knownDevicesBehind(directory, machine)).toEqual(devices);
});

test("nothing is known without /proc and /sys", () => {
  expect(knownDevicesBehind("/", { proc: "/nowhere", sys: "/nowhere", dev: "/nowhere" })).toBeUndefined();
  expect(devicesBehind("/", { proc: "/nowhere", sys: "/nowhere", dev: "/nowhere" })).toEqual([]);
});

test("a loop device whose file lies on itself comes to an end", () => {
  writeFileSync(join(base, "sys/devices/loop3/loop/backing_file"), "/tmp/a b/itself");
  expect(devicesBehind("/tmp/a b", machine)).toEqual(["loop3"]);
});

test.each(mounted)("on this machine: $name", ({ name, directory }) => {
  const devices = devicesBehind(directory);
  if (name === "tmpdir") return;
  expect(devices[0]).toMatch(/^loop\d+$/);
  // The image's own device is beneath.
  expect(devices.slice(1)).toEqual(devicesBehind(dirname(dirname(directory))));
  expect(basename(dirname(directory))).toBe(name);
});

test("a folder holds itself and what is in it", () => {
  expect(within("/a", "/a")).toBe(true);
  expect(within("/a/b", "/a/")).toBe(true);
  expect(within("/ab", "/a")).toBe(false);
  expect(within("/x", "/")).toBe(true);
});

test.each([
  ["mapper/root", ["dm-0", "sda2", "sda"]],
  ["sdb", ["sdb"]],
  ["gone", ["gone"]],
])("the device %s stands on %j", (path, names) => {
  expect(devicesOf(join(machine.dev, path), machine)).toEqual(names);
});
