/** Filesystem names as LTP prints them; its skip lists compare exactly these strings. */
import { partsOf } from "./devices.js";

/** `f_type` of statfs(2) to LTP's name. ext2, ext3 and ext4 share one number. */
const NAMES: ReadonlyMap<number, string> = new Map([
  [0x01021994, "tmpfs"],
  [0x6969, "nfs"],
  [0x01021997, "9p"],
  [0x858458f6, "ramfs"],
  [0xca451a4e, "bcachefs"],
  [0x9123683e, "btrfs"],
  [0x58465342, "xfs"],
  [0xef51, "ext2"],
  [0xef53, "ext2/ext3/ext4"],
  [0x137f, "minix"],
  [0x138f, "minix"],
  [0x2468, "minix"],
  [0x2478, "minix"],
  [0x4d5a, "minix"],
  [0x15013346, "udf"],
  [0x012ff7b5, "sysv"],
  [0x012ff7b6, "sysv"],
  [0x00011954, "ufs"],
  [0x54190100, "ufs"],
  [0xf2f52010, "f2fs"],
  [0x3434, "nilfs"],
  [0x5df5, "exofs"],
  [0x794c7630, "overlayfs"],
  [0x65735546, "fuse"],
  [0x4d44, "vfat"],
  [0x2011bab0, "exfat"],
]);

/** LTP's name of the filesystem with this `f_type`, `unknown` when it has none. */
export function filesystemName(type: number): string {
  // Some architectures sign-extend f_type.
  return NAMES.get(type >>> 0) ?? "unknown";
}

/** Filesystems without a device number whose storage is known all the same: memory, or devices that they list. */
const KNOWN_STORAGE: readonly string[] = ["tmpfs", "ramfs", "btrfs", "overlayfs", "bcachefs"];

/**
 * Whether a directory's data is where only a server knows: NFS, CIFS, 9p, FUSE without a device, Ceph.
 *
 * @param device `st_dev` of stat(2), whose major number is 0 where there is no block device
 */
export function isServed(filesystem: string, device: bigint): boolean {
  return partsOf(device).major === 0n && !KNOWN_STORAGE.includes(filesystem);
}
