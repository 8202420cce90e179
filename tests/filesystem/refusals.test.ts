import { execFileSync } from "node:child_process";
import { closeSync, constants, existsSync, openSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, test } from "vitest";
import { attachLoop } from "#native";
import { UsageError } from "../../ts/base/errors.js";
import type { RunEvent } from "../../ts/events/events.js";
import { changedDevice, claimDevice, refuseSharing } from "../../ts/filesystem/device.js";
import { defaultBacking, Filesystem, Unavailable } from "../../ts/filesystem/provision.js";
import { runPlan } from "../../ts/run/scheduler.js";
import { command, fakeSystem, temporaryFolder } from "../cli/fixture.js";
import { eventsOf } from "../support/journal.js";
import { LIBRARY } from "../support/library.js";
import { needsFilesystems } from "../support/needs.js";
import { backingDirectory, expectNoTraces, MiB, provision, variant, withOnly } from "./fixture.js";

const backing = backingDirectory();

describe("provisioning refuses", () => {
  const refused = (name: string, options: Partial<Parameters<typeof Filesystem.provision>[1]>) =>
    Filesystem.provision(variant(name), { backing, sizeBytes: 512 * MiB, dirtyBytes: 0, ...options });

  test("too small a size, and says which one is enough", async () => {
    await expect(refused("xfs", { sizeBytes: 100 * MiB })).rejects.toThrow(UsageError);
    await expect(refused("xfs:size=100m", {})).rejects.toThrow(
      /100 MiB are too small for xfs: use --size 300M or more/,
    );
  });

  test("a backing directory without room, or without being", async () => {
    needsFilesystems("ext4");
    const bytes = 2 ** 50;
    await expect(refused("ext4", { sizeBytes: bytes })).rejects.toThrow(UsageError);
    await expect(refused("ext4", { sizeBytes: bytes })).rejects.toThrow(
      /MiB are free there, and \d+ MiB are needed: ENOSPC/,
    );
    await expect(refused("ext4", { backing: "/nonexistent" })).rejects.toThrow(/\/nonexistent: .*ENOENT/);
    expect(() => defaultBacking(bytes)).toThrow(/no room for a filesystem of .*--backing/);
    expect(existsSync(defaultBacking(MiB))).toBe(true);
    await expectNoTraces(backing);
  });

  test("a machine without mkfs, with the package's name", async () => {
    const answer = await withOnly(["unshare", "setpriv"], () => refused("ext4", {}));
    expect(answer).toBeInstanceOf(Unavailable);
    expect((answer as Unavailable).reason).toBe("mkfs.ext4 is not in PATH: install it (Debian package e2fsprogs)");
  });

  test("settings of the user's own that mkfs or the kernel refuses, with their words", async () => {
    needsFilesystems("ext4");
    for (const [name, words] of [
      ["ext4:mkfs=-O no_such_feature", /mkfs.ext4 .* failed: .*no_such_feature.*: correct mkfs=, or leave it out$/m],
      ["ext4:mount=no_such_option", /Kernel log: .*no_such_option.*EINVAL.*: correct mount=, or leave it out$/m],
    ] as const) {
      await expect(refused(name, {})).rejects.toThrow(UsageError);
      await expect(refused(name, {})).rejects.toThrow(words);
      // Before anything runs, on whatever other filesystem.
      const system = fakeSystem({ cwd: temporaryFolder() });
      const line = ["ltp-aiodio.part1", "-s", "^AD001$", "--size", "64m", "--backing", backing];
      const run = await command([...line, "--filesystems", `ext2,${name}`, "--journal", "j"], system);
      expect(run).toMatchObject({ status: 2, out: "", err: expect.stringMatching(words) });
      expect(existsSync(join(system.cwd, "j"))).toBe(false);
    }
    await expectNoTraces(backing);
  });

  test("a user who is not root", async () => {
    const script = `
      import { Filesystem } from ${LIBRARY};
      await Filesystem.provision({ name: "ext4", family: "ext4", mkfs: [], mount: [] }, { backing: "/tmp" })
        .catch((error) => console.log(error.name, error.message));`;
    const nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    const { stdout } = await execa("setpriv", [...nobody, process.execPath, "--input-type=module", "-e", script]);
    expect(stdout).toBe("UsageError Making filesystems (--filesystems, --device) needs root: run it with sudo");
  });
});

describe("--device", () => {
  /** A blank loop device for the time of `run`. */
  async function withDevice(run: (device: string) => Promise<void>): Promise<void> {
    const options = { directory: backing, bytes: 320 * MiB, logicalBlockBytes: 512, directIo: false };
    const { device = "", deviceFd = -1, backingFd = -1, error } = attachLoop(options);
    if (error) throw new Error(error.message);
    try {
      await run(device);
    } finally {
      closeSync(deviceFd);
      closeSync(backingFd);
    }
    await expectNoTraces(backing);
  }

  test("what is no device is told from one", async () => {
    const file = join(backing, "file");
    writeFileSync(file, "");
    for (const [path, message] of [
      [backing, /is a directory: to run there use -d, to put filesystems there --backing/],
      [file, /is not a block device/],
      ["/dev/null", /is not a block device/],
      ["/dev/no-such-device", /no such device: ENOENT/],
    ] as const) {
      await expect(claimDevice(path, [path])).rejects.toThrow(UsageError);
      await expect(claimDevice(path, [path])).rejects.toThrow(message);
    }
    execFileSync("rm", [file]);
  });

  test("a mounted device is refused, in whatever namespace it is mounted and whatever --erase says", async () => {
    for (const name of ["ext4", "btrfs"]) {
      const filesystem = await provision(name, { backing });
      const device = filesystem.device ?? "";
      await expect(claimDevice(device, [device, ""])).rejects.toThrow(
        new RegExp(`${device} is mounted at ${filesystem.directory} \\(of process \\d+: .*\\): unmount it first`),
      );
      await filesystem.release();
    }
  });

  test("a device that somebody has opened for himself is refused", async () => {
    await withDevice(async (device) => {
      const fd = openSync(device, constants.O_RDWR | constants.O_EXCL);
      try {
        await expect(claimDevice(device, [device])).rejects.toThrow(/cannot be had alone: .*EBUSY/);
      } finally {
        closeSync(fd);
      }
    });
  });

  test("swap is refused", async () => {
    await withDevice(async (device) => {
      execFileSync("mkswap", [device], { stdio: "ignore" });
      execFileSync("swapon", [device]);
      try {
        await expect(claimDevice(device, [device])).rejects.toThrow(/is used as swap .*: run swapoff first/);
      } finally {
        execFileSync("swapoff", [device]);
      }
    });
  });

  test("a blank device needs --erase, one that holds something needs to be named, and hears what it would lose", async () => {
    needsFilesystems("ext4");
    await withDevice(async (device) => {
      await expect(claimDevice(device, [])).rejects.toThrow(/looks blank: confirm it with --erase/);
      await expect(claimDevice(device, ["/dev/null"])).rejects.toThrow(/confirm it with --erase/);
      const blank = await claimDevice(device, [""]);
      expect(blank).toMatchObject({ path: device, description: `${device} (blank, 320 MiB)` });

      execFileSync("mkfs.ext4", ["-q", "-L", "precious", device]);
      for (const erase of [[], [""], ["/dev/null"]]) {
        await expect(claimDevice(device, erase)).rejects.toThrow(
          new RegExp(
            `not blank: formatting it would destroy ext4 \\(label "precious", UUID [0-9a-f-]+\\) on ${device} .*--erase=${device}$`,
          ),
        );
      }
      expect((await claimDevice(device, [device])).description).toMatch(
        /^\/dev\/loop\d+ \(ext4 \(label "precious", .*320 MiB\)\)$/,
      );
      expect(execFileSync("blkid", ["-p", "-s", "LABEL", "-o", "value", device], { encoding: "utf8" })).toBe(
        "precious\n",
      );

      const sectors = await Filesystem.provision(variant("ext4:4ks"), { backing, device });
      expect(sectors).toMatchObject({ reason: expect.stringContaining("has sectors of 512 bytes") });
      const filesystem = await provision("xfs", { backing, device });
      expect(filesystem.device).toBe(device);
      expect((await filesystem.check()).clean).toBe(true);
      await filesystem.release();
      expect((await claimDevice(device, [device])).identity).toBe(blank.identity);
      await expect(claimDevice(device, [""])).rejects.toThrow(/destroy xfs/);
    });
  });

  test("LTP_DEV alone formats nothing: it must be named by --erase, blank or not", async () => {
    await withDevice(async (device) => {
      const line = ["ltp-aiodio.part1", "--filesystems", "ext4", "-s", "^AD001$"];
      const env = { LTP_DEV: device };
      for (const erase of [[], ["--erase"]]) {
        const refused = await command([...line, ...erase], fakeSystem({ cwd: temporaryFolder(), env }));
        expect(refused).toMatchObject({ status: 2, out: "" });
        expect(refused.err).toBe(
          `aiodio-ltp: LTP_DEV=${device} asks for the device to be formatted: say so with --erase=${device}, or unset LTP_DEV to use loop devices\n`,
        );
      }
      const named = [...line, `--erase=${device}`];
      const system = fakeSystem({ cwd: temporaryFolder(), env });
      expect((await command(named, system)).err).toBe(`aiodio-ltp: formatting ${device} (blank, 320 MiB)\n`);
    });
  });

  test("a device that has become another one under its name is not formatted", async () => {
    const bytes = (file: string) => execFileSync("head", ["-c", "1M", file]);
    await withDevice(async (device) => {
      const claimed = await claimDevice(device, [""]);
      expect(changedDevice(claimed)).toBeUndefined();
      const another = { ...claimed, identity: claimed.identity.replace(/diskseq \d+/, "diskseq 1") };
      expect(changedDevice(another)).toMatch(
        /is another device than at the start of the run .*, and is not formatted$/,
      );
      expect(changedDevice({ ...claimed, path: "/dev/no-such-device" })).toMatch(/is gone, .* not formatted: .*ENOENT/);

      const events: RunEvent[] = [];
      const before = bytes(device);
      await runPlan(
        [
          {
            key: "t:A",
            suite: "t",
            id: "A",
            iteration: 1,
            filesystem: "ext4",
            program: "aiocp",
            argv: [],
            command: "aiocp",
          },
        ],
        {
          ...{ directory: backing, workers: 1, marker() {}, signal: new AbortController().signal },
          storage: {
            variants: new Map([["ext4", variant("ext4")]]),
            ...{ provision: { backing }, devices: [another], checkEach: false },
          },
        },
        (event) => events.push(event),
      );
      expect(events).toMatchObject([
        { type: "test-start" },
        { type: "line", result: "TBROK", text: expect.stringContaining("is not formatted") },
        { type: "test-end", verdict: "TBROK" },
      ]);
      expect(bytes(device).equals(before)).toBe(true);
    });
  });

  test("two workers never get one device, whatever it is called", async () => {
    const size = { directory: backing, bytes: 16 * MiB, logicalBlockBytes: 512, directIo: false };
    await withDevice(async (one) => {
      const { device: other = "", deviceFd = -1, backingFd = -1 } = attachLoop(size);
      const alias = join(backing, "alias");
      symlinkSync(one, alias);
      try {
        expect(() => refuseSharing([one, other])).not.toThrow();
        for (const paths of [
          [one, one],
          [other, one, alias],
        ]) {
          expect(() => refuseSharing(paths)).toThrow(UsageError);
          expect(() => refuseSharing(paths)).toThrow(/have the same blocks: name each device once/);
        }
        const line = ["ltp-aiodio.part1", "--device", one, "--device", alias, "--erase"];
        expect(await command(line)).toMatchObject({ status: 2, err: expect.stringContaining("have the same blocks") });

        // What the reporters go by is how many run at once.
        const system = fakeSystem({ cwd: temporaryFolder() });
        const two = ["--device", one, "--device", other, "--erase", "--journal", "j", "-s", "AD001"];
        expect(await command(["ltp-aiodio.part1", ...two], system)).toMatchObject({
          status: 0,
          err: expect.stringMatching(/^(aiodio-ltp: formatting .*\n){2}$/),
        });
        const { start } = await eventsOf(join(system.cwd, "j"));
        expect(start).toMatchObject({ workers: 2, devices: [one, other] });
        // Who repeats it says anew that they may be formatted.
        expect(start.repeat?.options).toEqual(["--device", one, "--device", other]);
      } finally {
        rmSync(alias);
        closeSync(deviceFd);
        closeSync(backingFd);
      }
    });
  });

  test("where wipefs is missing nothing is called blank", async () => {
    await withDevice(async (device) => {
      await withOnly([], async () => {
        await expect(claimDevice(device, [""])).rejects.toThrow(/which is unknown: wipefs is not in PATH/);
      });
    });
  });
});
