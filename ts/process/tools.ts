/** The programs of other packages that are started here: what each is for, and what brings it. The one table of them. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/**
 * By program: Debian's name of its package, and what it is wanted to do. Those that runs of this machine want come first, then what
 * guests and hosts want, then the project's own work.
 */
export const TOOLS: Readonly<Record<string, readonly [debianPackage: string, purpose: string]>> = {
  unshare: ["util-linux", "keep filesystems in a mount namespace"],
  nsenter: ["util-linux", "work on filesystems made for the run"],
  setpriv: ["util-linux", "let programs die with the run"],
  wipefs: ["util-linux", "tell what is on a device"],
  "mkfs.ext2": ["e2fsprogs", "test on ext2"],
  "mkfs.ext3": ["e2fsprogs", "test on ext3"],
  "mkfs.ext4": ["e2fsprogs", "test on ext4"],
  e2fsck: ["e2fsprogs", "check ext2, ext3 and ext4"],
  "mkfs.xfs": ["xfsprogs", "test on xfs"],
  xfs_repair: ["xfsprogs", "check xfs"],
  "mkfs.btrfs": ["btrfs-progs", "test on btrfs"],
  btrfs: ["btrfs-progs", "check btrfs"],
  "mkfs.f2fs": ["f2fs-tools", "test on f2fs"],
  "fsck.f2fs": ["f2fs-tools", "check f2fs"],
  "mkfs.bcachefs": ["bcachefs-tools", "test on bcachefs"],
  bcachefs: ["bcachefs-tools", "check bcachefs"],
  "mkfs.exfat": ["exfatprogs", "test on exfat"],
  "fsck.exfat": ["exfatprogs", "check exfat"],
  "mkfs.vfat": ["dosfstools", "test on vfat"],
  "fsck.vfat": ["dosfstools", "check vfat"],
  "qemu-system-ppc64": ["qemu-system-ppc", "run with 64 KiB pages (--guest ppc64le-64k)"],
  "qemu-system-x86_64": ["qemu-system-x86", "run on other kernels (--guest amd64)"],
  "qemu-system-aarch64": ["qemu-system-arm", "run with 16 KiB pages (--guest arm64-16k)"],
  "apt-get": ["apt", "fetch guests"],
  "apt-cache": ["apt", "fetch guests"],
  "dpkg-deb": ["dpkg", "unpack guests"],
  sync: ["coreutils", "keep guests"],
  stty: ["coreutils", "give the terminal back that a guest had"],
  xz: ["xz-utils", "unpack a guest's modules"],
  zstd: ["zstd", "unpack a guest's modules"],
  ssh: ["openssh-client", "run on other machines (--host)"],
  fio: ["fio", "compare with fio in the benchmark"],
  strace: ["strace", "plant faults in the project's own tests"],
  chromium: ["chromium", "open reports in the project's own tests"],
  cpio: ["cpio", "read archives in the project's own tests"],
  gcc: ["gcc", "compile in the project's own tests, and find a guest's libraries"],
  "powerpc64le-linux-gnu-gcc": ["gcc-powerpc64le-linux-gnu", "build the addon for guests (--guest ppc64le-64k)"],
  python3: ["python3", "run others' tools in the project's own tests"],
};

/** Names of packages in openSUSE and SLE (zypper), and in Fedora and RHEL (dnf), where they are not Debian's. */
const OTHER_NAMES: Readonly<Record<string, { zypper?: string; dnf?: string }>> = {
  "btrfs-progs": { zypper: "btrfsprogs" },
  "openssh-client": { zypper: "openssh-clients", dnf: "openssh-clients" },
  "qemu-system-arm": { zypper: "qemu-arm", dnf: "qemu-system-aarch64-core" },
  "qemu-system-ppc": { zypper: "qemu-ppc", dnf: "qemu-system-ppc-core" },
  "qemu-system-x86": { zypper: "qemu-x86", dnf: "qemu-system-x86-core" },
  "xz-utils": { zypper: "xz", dnf: "xz" },
};

/** The package that brings a program, as this package manager names it; undefined for what the table does not know. */
export function packageOf(program: string, manager?: string): string | undefined {
  const name = TOOLS[program]?.[0];
  const others: Readonly<Record<string, string | undefined>> = OTHER_NAMES[name ?? ""] ?? {};
  return others[manager ?? ""] ?? name;
}

/** Path of a program, or undefined. */
export function findTool(name: string, path = process.env.PATH ?? ""): string | undefined {
  return path
    .split(delimiter)
    .map((directory) => join(directory, name))
    .find(isExecutable);
}

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Why a program cannot be run, as a sentence. */
export function missingTool(program: string): string {
  return `${program} is not in PATH: install it (Debian package ${packageOf(program) ?? program})`;
}
