import { expect, test } from "vitest";
import { isServed } from "../../ts/linux/magic.js";

test.each([
  ["fuse", 0x35n, true],
  ["nfs", 0x35n, true],
  ["9p", 0x35n, true],
  // CIFS and Ceph have no name of LTP's; 300 is a minor number of more than a byte.
  ["unknown", 0x10_002cn, true],
  // fuseblk on loop3, and a disk whose major number has more than 12 bits.
  ["fuse", 0x703n, false],
  ["unknown", 0x1000_0000_0000n, false],
  ["ext2/ext3/ext4", 0x1_0300n, false],
  ["tmpfs", 0x18n, false],
  ["btrfs", 0x2an, false],
  ["overlayfs", 0x2an, false],
])("%s on device number %s is a server's: %s", (filesystem, device, served) => {
  expect(isServed(filesystem, device)).toBe(served);
});
