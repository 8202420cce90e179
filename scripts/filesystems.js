// Loop-mounted filesystems for tests and benchmarks, in a mount namespace of their own: nothing of them outlives the
// process, however it ends.
import { spawnSync } from "node:child_process";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const IN_NAMESPACE = "AIODIO_PRIVATE_MOUNTS";
const MKFS = { ext4: ["mkfs.ext4", "-q"], xfs: ["mkfs.xfs", "-q"], btrfs: ["mkfs.btrfs", "-q"] };

function must(command, args) {
  const { status, error, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (error) throw new Error(`${command}: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`.trim());
}

/**
 * Runs this script again inside a private mount namespace and returns its exit status; undefined when this process is
 * in one already, or when it is not root and can't be.
 */
export function rerunWithPrivateMounts(script) {
  if (process.getuid() !== 0 || process.env[IN_NAMESPACE]) return undefined;
  const args = ["--mount", "--propagation", "private", "--", process.execPath, script, ...process.argv.slice(2)];
  const { status, error } = spawnSync("unshare", args, {
    stdio: "inherit",
    env: { ...process.env, [IN_NAMESPACE]: "1" },
  });
  if (error) throw error;
  return status ?? 1;
}

/**
 * Makes and mounts one filesystem below `base`, on an image of `bytes` (xfs needs 300 MiB), and returns its directory.
 * The loop device clears itself when the mount goes.
 */
export function provision(base, name, bytes) {
  const [mkfs, ...args] = MKFS[name];
  const image = join(base, `${name}.img`);
  const directory = join(base, name);
  writeFileSync(image, "");
  truncateSync(image, bytes);
  mkdirSync(directory);
  must(mkfs, [...args, image]);
  must("mount", ["-o", "loop", image, directory]);
  return directory;
}

/** Unmounts what `provision` mounted; what is not mounted is fine. */
export function release(directory) {
  spawnSync("umount", [directory], { stdio: "ignore" });
}
