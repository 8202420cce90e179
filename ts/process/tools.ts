/** The programs of other packages that are started here: what each is for, and what brings it. The one table of them. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** A package: its names in the distributions, and which of its programs are wanted for what. */
interface Package {
  /** Debian's name, and the others' where they have no row of their own here. */
  name: string;
  /** openSUSE's and SLE's name. */
  zypper?: string;
  /** Fedora's and RHEL's name. */
  dnf?: string;
  /** What each program is wanted to do, by its name; words that follow "wanted to". */
  programs: Readonly<Record<string, string>>;
}

/** Those that runs of this machine want first, then what guests and hosts want, then the project's own work. */
const PACKAGES: readonly Package[] = [
  {
    name: "util-linux",
    programs: {
      unshare: "keep filesystems in a mount namespace",
      nsenter: "work on filesystems made for the run",
      setpriv: "let programs die with the run",
      wipefs: "tell what is on a device",
    },
  },
  {
    name: "e2fsprogs",
    programs: {
      "mkfs.ext2": "test on ext2",
      "mkfs.ext3": "test on ext3",
      "mkfs.ext4": "test on ext4",
      e2fsck: "check ext2, ext3 and ext4",
    },
  },
  { name: "xfsprogs", programs: { "mkfs.xfs": "test on xfs", xfs_repair: "check xfs" } },
  {
    name: "btrfs-progs",
    zypper: "btrfsprogs",
    programs: { "mkfs.btrfs": "test on btrfs", btrfs: "check btrfs" },
  },
  { name: "f2fs-tools", programs: { "mkfs.f2fs": "test on f2fs", "fsck.f2fs": "check f2fs" } },
  { name: "bcachefs-tools", programs: { "mkfs.bcachefs": "test on bcachefs", bcachefs: "check bcachefs" } },
  { name: "exfatprogs", programs: { "mkfs.exfat": "test on exfat", "fsck.exfat": "check exfat" } },
  { name: "dosfstools", programs: { "mkfs.vfat": "test on vfat", "fsck.vfat": "check vfat" } },
  {
    name: "qemu-system-ppc",
    zypper: "qemu-ppc",
    dnf: "qemu-system-ppc-core",
    programs: { "qemu-system-ppc64": "run with 64 KiB pages (--guest ppc64le-64k)" },
  },
  {
    name: "qemu-system-x86",
    zypper: "qemu-x86",
    dnf: "qemu-system-x86-core",
    programs: { "qemu-system-x86_64": "run on other kernels (--guest amd64)" },
  },
  {
    name: "qemu-system-arm",
    zypper: "qemu-arm",
    dnf: "qemu-system-aarch64-core",
    programs: { "qemu-system-aarch64": "run with 16 KiB pages (--guest arm64-16k)" },
  },
  { name: "apt", programs: { "apt-get": "fetch guests", "apt-cache": "fetch guests" } },
  { name: "dpkg", programs: { "dpkg-deb": "unpack guests" } },
  { name: "coreutils", programs: { sync: "keep guests" } },
  { name: "xz-utils", zypper: "xz", dnf: "xz", programs: { xz: "unpack a guest's modules" } },
  { name: "zstd", programs: { zstd: "unpack a guest's modules" } },
  {
    name: "openssh-client",
    zypper: "openssh-clients",
    dnf: "openssh-clients",
    programs: { ssh: "run on other machines (--host)" },
  },
  { name: "fio", programs: { fio: "compare with fio in the benchmark" } },
  { name: "strace", programs: { strace: "plant faults in the project's own tests" } },
  { name: "cpio", programs: { cpio: "read archives in the project's own tests" } },
  { name: "gcc", programs: { gcc: "compile in the project's own tests, and find a guest's libraries" } },
  {
    name: "gcc-powerpc64le-linux-gnu",
    programs: { "powerpc64le-linux-gnu-gcc": "build the addon for guests (--guest ppc64le-64k)" },
  },
  { name: "python3", programs: { python3: "run others' tools in the project's own tests" } },
];

/** One program of the table. */
export interface Tool {
  program: string;
  purpose: string;
  package: Omit<Package, "programs">;
}

/** All of them, in the table's order. */
export const TOOLS: readonly Tool[] = PACKAGES.flatMap(({ programs, ...from }) =>
  Object.entries(programs).map(([program, purpose]) => ({ program, purpose, package: from })),
);

/** Debian's name of the package that brings a program; undefined for what the table does not know. */
export function debianPackage(program: string): string | undefined {
  return TOOLS.find((tool) => tool.program === program)?.package.name;
}

/** Path of a program, or undefined. */
export function findTool(name: string, path = process.env.PATH ?? ""): string | undefined {
  return path
    .split(delimiter)
    .map((directory) => join(directory, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Why a program cannot be run, as a sentence. */
export function missingTool(program: string): string {
  return `${program} is not in PATH: install it (Debian package ${debianPackage(program) ?? program})`;
}
