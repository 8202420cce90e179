import { existsSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { root } from "../../ts/base/package.js";
import { type Classifiable, Classifier, linkOf, RULES } from "../../ts/kernel/rules.js";

const said = (text: string, seconds = 1, fromKernel = true): Classifiable => ({ text, seconds, fromKernel });
const classify = (lines: readonly string[]) => new Classifier().messages(lines.map((line) => said(line)));

/**
 * Real messages: of this project's own machines (6.18), of reports, and where there is no report, the source's format
 * filled in. Every line of an example belongs to one message.
 */
const EXAMPLES: Record<string, string[][]> = {
  "page-cache-invalidation": [
    // bugzilla.suse.com 1224434
    [
      "Page cache invalidation failure on direct I/O. Possible data corruption due to collision with buffered I/O!",
      "File: /var/tmp/LTP_aioTBsaEH/dstfile.bin PID: 62 Comm: kworker/1:1",
    ],
    // mm/filemap.c has two blanks; a report of syzbot
    [
      "Page cache invalidation failure on direct I/O.  Possible data corruption due to collision with buffered I/O!",
      "File: /syzkaller.IsS3Yc/0/bus PID: 1497 Comm: repro",
    ],
  ],
  "btrfs-csum-failed": [
    // provoked here with a scrub; the prefix is there since 2025
    [
      "BTRFS warning (device loop0): scrub: checksum error at logical 13631488 on dev /dev/loop0, physical 13631488 root 5 inode 257 offset 0 length 4096 links 1 (path: f)",
    ],
    // fs/btrfs/inode.c of 7.2, of a relocation
    ["BTRFS warning (device loop0): csum error at logical 22036480 mirror 1: metadata leaf (level 0) in tree 5"],

    // provoked here
    [
      "BTRFS warning (device loop1): csum failed root 5 ino 257 off 0 csum 0xcb4e6394 expected csum 0xf57eb7e8 mirror 1",
    ],
    // lore.kernel.org/linux-btrfs: Qu Wenruo, "btrfs: output affected files when relocation fails"
    [
      "BTRFS warning (device dm-4): csum failed root -9 ino 257 off 0 csum 0x373e1ae3 expected csum 0x98757625 mirror 1",
    ],
    [
      "BTRFS warning (device dm-4): csum failed root 5 ino 257 off 0 logical 13631488 csum 0x373e1ae3 expected csum 0x98757625 mirror 1",
    ],
    // the same series, of a scrub
    [
      "BTRFS warning (device dm-2): checksum error at logical 13631488 on dev /dev/mapper/test-scratch1, physical 13631488, root 5, inode 257, offset 0, length 4096, links 1 (path: file)",
    ],
    ["BTRFS warning (device sda1 state EA): csum hole found for disk bytenr range [13631488, 13635584)"],
  ],
  "btrfs-tree-checksum": [
    // fs/btrfs/scrub.c and disk-io.c of 7.2
    ["BTRFS warning (device loop0): scrub: tree block 30457856 mirror 1 has bad csum, has 0x5bc2d3a4 want 0x0cd96aa2"],
    ["BTRFS error (device loop0): scrub: super block at physical 65536 devid 1 has bad csum"],
    ["BTRFS error (device loop0): superblock checksum mismatch"],

    ["BTRFS warning (device dm-1): checksum verify failed on logical 30556160 mirror 2 wanted 0x1 found 0x2 level 0"],
    ["BTRFS warning (device sdb): checksum verify failed on 30556160 wanted 8A8DB7C4 found 0D2BBEC4 level 0"],
  ],
  "btrfs-tree-corrupt": [
    // fs/btrfs/scrub.c and disk-io.c of 7.2
    ["BTRFS warning (device loop0): scrub: tree block 30457856 mirror 1 has bad generation, has 7 want 9"],
    ["BTRFS warning (device loop0): tree block 30457856 mirror 1 has bad bytenr, has 30474240 want 30457856"],
    ["BTRFS error (device loop0): scrub: super block at physical 65536 devid 1 has bad generation 6 expect 8"],
    [
      "BTRFS warning (device loop0): scrub: header error at logical 30457856 on dev /dev/loop0, physical 38846464: metadata leaf (level 0) in tree 5",
    ],
    ["BTRFS error (device loop0): block=30457856 write time tree block corruption detected"],
    ["BTRFS critical (device loop0): unexpected superblock corruption before writing it"],
    ["BTRFS error (device loop0): dirty buffer transid mismatch, logical 30457856 found transid 7 running transid 8"],

    // lore.kernel.org/linux-btrfs, reports of 2024 to 2026
    [
      "BTRFS error (device sdb: state EA): parent transid verify failed on logical 54213629362176 mirror 2 wanted 4093212 found 4093166",
    ],
    ["BTRFS error (device vdb): bad tree block start, mirror 1 want 40189952 have 31080448"],
    [
      "BTRFS critical (device sdb2: state A): bad key order, sibling blocks, left last (1542257 12 1542193) right first (1542216 108 0)",
    ],
    ["BTRFS: error (device nvme1n2: state A) in __btrfs_free_extent:3249: errno=-117 Filesystem corrupted"],
    ["BTRFS error (device dm-4): super block corruption detected before writing it to disk"],
    ["BTRFS critical (device vdc): corrupt leaf: root=1 block=5341184 slot=7, invalid root flags"],
  ],
  "btrfs-unrepaired": [
    // provoked here; the prefix is there since 2025
    [
      "BTRFS error (device loop0): scrub: unable to fixup (regular) error at logical 13631488 on dev /dev/loop0 physical 13631488",
    ],
    ["BTRFS error (device loop0): scrub: unable to fixup (regular) error at logical 13631488 on mirror 1"],
    ["BTRFS error (device loop0): scrub: stripe 298844160 has unrepaired metadata sector at logical 298844160"],
    ["BTRFS error (device loop0): scrub: unrepaired sectors detected, full stripe 298844160 data stripe 0 errors 0-3"],

    [
      "BTRFS error (device dm-2): unable to fixup (regular) error at logical 13631488 on dev /dev/mapper/test-scratch1 physical 13631488",
    ],
  ],
  "btrfs-device-corrupt": [
    ["BTRFS error (device dm-3): bdev /dev/mapper/nvme-home errs: wr 0, rd 0, flush 0, corrupt 17, gen 0"],
    ["BTRFS error (device loop1): bdev /dev/loop1 errs: wr 0, rd 0, flush 0, corrupt 0, gen 2"],
  ],
  "btrfs-old-errors": [["BTRFS info (device loop1): bdev /dev/loop1 errs: wr 0, rd 0, flush 0, corrupt 1, gen 0"]],
  "btrfs-device-errors": [
    // fs/btrfs/disk-io.c, and of a scrub
    ["BTRFS warning (device sde): lost super block write due to IO error on /dev/sde (-5)"],
    ["BTRFS error (device sde): error writing primary super block to device 3"],
    [
      "BTRFS warning (device sde): scrub: i/o error at logical 13631488 on dev /dev/sde, physical 13631488 root 5 inode 257 offset 0 length 4096 links 1 (path: f)",
    ],

    ["BTRFS error (device dm-0): bdev /dev/mapper/x errs: wr 12, rd 0, flush 0, corrupt 0, gen 0"],
    // An old count of corruption does not make a failed write one.
    ["BTRFS error (device dm-0): bdev /dev/mapper/x errs: wr 12, rd 0, flush 0, corrupt 3, gen 0"],
    ["BTRFS warning (device dm-0): lost page write due to IO error on /dev/mapper/x (-5)"],
  ],
  "btrfs-repaired": [
    ["BTRFS info (device loop0): read error corrected: ino 257 off 0 (dev /dev/loop0 sector 26624)"],
    ["BTRFS error (device loop0): fixed up error at logical 13631488 on dev /dev/loop0 physical 13631488"],
    ["BTRFS error (device loop0): scrub: fixed up error at logical 13631488 on dev /dev/loop0 physical 13631488"],
  ],
  "btrfs-direct-io-failed": [
    // fs/btrfs/direct-io.c, and what it was before
    ["BTRFS warning (device loop0): direct IO failed ino 257 op 0x0 offset 0x1000 len 4096 err no 10"],
    ["BTRFS warning (device loop0): direct IO failed ino 257 rw 0,0 sector 0x6000 len 4096 err no 10"],
  ],
  "btrfs-aborted-by-device": [
    [
      "BTRFS: error (device dm-3) in btrfs_commit_transaction:2418: errno=-5 IO failure (Error while writing out transaction)",
    ],
  ],
  "btrfs-aborted": [
    ["BTRFS: error (device sda3) in btrfs_run_delayed_refs:2148: errno=-28 No space left"],
    ["BTRFS: Transaction aborted (error -2)"],
    ["BTRFS info (device sda3 state EA): forced readonly"],
  ],
  "ext4-device-error": [
    // provoked here
    ["EXT4-fs warning (device loop1): ext4_end_bio:368: I/O error 3 writing to inode 12 starting block 60673)"],
    // reports of users
    ["EXT4-fs error (device sda1): ext4_find_entry:1455: inode #1234: comm mysqld: reading directory lblock 0"],
    [
      "EXT4-fs warning (device sdc1): ext4_end_bio:343: I/O error 10 writing to inode 39059464 starting block 69007695)",
    ],
    ["EXT4-fs (mmcblk0p1): I/O error while writing superblock"],
    ["EXT4-fs (sdb1): previous I/O error to superblock detected"],
    ["EXT4-fs error (device sdb1) in ext4_reserve_inode_write:5733: IO failure"],
    [
      "EXT4-fs error (device sdb1): __ext4_get_inode_loc:4650: inode #12: block 1057: comm ls: unable to read itable block",
    ],
  ],
  "ext4-data-loss-by-device": [
    // fs/ext4/inode.c, and before 6.2
    ["EXT4-fs (loop0): ext4_do_writepages: jbd2_start: 9223372036854775807 pages, ino 12; err -30"],
    ["EXT4-fs (dm-0): ext4_writepages: jbd2_start: 1024 pages, ino 2621446; err -5"],

    [
      "EXT4-fs (loop0): failed to convert unwritten extents to written extents -- potential data loss!  (inode 72, error -5)",
    ],
    [
      "EXT4-fs (loop0): Delayed block allocation failed for inode 13 at logical offset 0 with max blocks 2048 with error 5",
      "EXT4-fs (loop0): This should not happen!! Data will be lost\n",
    ],
  ],
  "ext4-data-loss": [
    [
      "EXT4-fs (loop0): failed to convert unwritten extents to written extents -- potential data loss!  (inode 72, error -28)",
    ],
    [
      "EXT4-fs (vda): Delayed block allocation failed for inode 13 at logical offset 0 with max blocks 2048 with error 28",
      "EXT4-fs (vda): This should not happen!! Data will be lost\n",
    ],
  ],
  "ext4-journal-aborted": [
    // fs/ext4/ext4_jbd2.c
    ["EXT4-fs: ext4_ext_map_blocks:4210: aborting transaction: IO failure in __ext4_handle_dirty_metadata"],

    ["EXT4-fs error (device dm-2): ext4_journal_check_start:61: comm fio: Detected aborted journal"],
    ["EXT4-fs (sdd1): Remounting filesystem read-only"],
    ["Aborting journal on device sda1-8."],
  ],
  "ext4-error": [
    // fs/ext4/super.c
    ["EXT4-fs (loop0): VFS: Found ext4 filesystem with invalid superblock checksum.  Run e2fsck?"],
    ["EXT4-fs (loop0): ext4_check_descriptors: Checksum for group 0 failed (61135!=0)"],
    ["EXT4-fs (loop0): ext4_check_descriptors: Block bitmap for group 0 not in group (block 0)!"],
    ["EXT4-fs (loop0): group descriptors corrupted!"],

    // provoked here
    ["EXT4-fs error (device loop1): htree_dirblock_to_tree:1051: inode #12: comm ls: Directory block failed checksum"],
    // lore.kernel.org/linux-ext4
    [
      "EXT4-fs error (device vda): ext4_mb_generate_buddy:1220: group 5, block bitmap and bg descriptor inconsistent: 1 vs 2 free clusters",
    ],
    ["EXT4-fs error (device loop0): ext4_lookup:1785: inode #2: comm cat: iget: checksum invalid"],
  ],
  "ext4-unwritten-extent": [
    [
      "EXT4-fs warning (device loop1): ext4_convert_unwritten_extents_endio:3830: Inode (13) finished: extent logical block 41, len 64; IO logical block 71, len 29",
    ],
  ],
  "ext4-warning": [
    ["EXT4-fs (loop0): ext4_do_writepages: jbd2_start: 13 pages, ino 12; err -12"],

    [
      "EXT4-fs warning (device loop1): ext4_dirblock_csum_verify:375: inode #12: comm ls: No space for directory leaf checksum. Please run e2fsck -D.",
    ],
  ],
  "ext4-old-errors": [
    ["EXT4-fs (sda1): error count since last fsck: 3"],
    ["EXT4-fs (sda1): initial error at time 1612345678: ext4_find_entry:1455: inode 1234"],
  ],
  "ext4-shutdown": [["EXT4-fs (loop0): shut down requested (2)"]],
  "jbd2-checksum": [
    ["JBD2: Invalid checksum recovering data block 109704 in log"],
    // fs/jbd2/recovery.c and journal.c of 7.2
    ["JBD2: Invalid checksum found in transaction 5"],
    ["JBD2: corrupted journal superblock"],
    ["JBD2: journal transaction 11 on loop0-8 is corrupt."],
  ],
  "jbd2-recovery-failed": [
    ["JBD2: recovery failed"],
    // of 7.2
    ["JBD2: journal recovery failed"],
    ["JBD2: recovery pass 1 ended at transaction 7, expected 9"],
    ["JBD2: error -5 scanning journal"],
  ],
  "jbd2-dirty-buffer": [
    [
      "JBD2: Spotted dirty metadata buffer (dev = loop0, blocknr = 8). There's a risk of filesystem corruption in case of system crash.",
    ],
    ["JBD2: assertion failure: h_type=3 h_line_no=4 block_no=8 jlist=2"],
  ],
  "jbd2-device-error": [
    // fs/jbd2/recovery.c and journal.c of 7.2
    ["JBD2: IO error -5 recovering block 1124 in log"],
    ["JBD2: I/O error when updating journal superblock for loop0-8."],
    ["JBD2: Detected IO errors -5 while flushing file data on loop0-8"],

    ["JBD2: Error -5 detected when updating journal superblock for sda1-8."],
    ["JBD2: Detected IO errors while flushing file data on dm-11-45"],
    ["journal commit I/O error"],
  ],
  "xfs-metadata-corrupt": [
    // fs/xfs/libxfs of 7.2
    ["XFS (sda1): WARNING: Reset corrupted AGFL on AG 3. 4 blocks leaked. Please unmount and run xfs_repair."],
    ["XFS (sda1): Refcount BTree record corruption in AG 2 detected at xfs_refcount_get_rec+0x1/0x2!"],
    ["XFS (sda1): Inode 2097281 fork 0: Corrupt bmapbt pointer at level 1 index 3."],
    ["XFS (sda1): corrupt dinode 131, (btree extents)."],
    ["XFS (sda1): log mount/recovery failed: error -117"],

    // provoked here
    [
      "XFS (loop0): Metadata CRC error detected at xfs_agf_read_verify+0x7a/0x110, xfs_agf block 0x1 ",
      "XFS (loop0): Unmount and run xfs_repair",
      "XFS (loop0): First 128 bytes of corrupted metadata buffer:",
      "00000000: 58 41 47 46 00 00 00 01 00 00 00 00 00 00 50 00  XAGF..........P.",
      "00000010: 00 00 00 01 00 00 00 02 00 00 00 00 00 00 00 01  ................",
    ],
    ['XFS (loop0): metadata I/O error in "xfs_read_agf+0x8b/0x170" at daddr 0x1 len 1 error 74'],
    ["XFS (loop0): Error -117 reserving per-AG metadata reserve pool."],
    // fs/xfs/xfs_error.c
    ["XFS (sda1): Metadata corruption detected at xfs_dinode_verify+0xa5/0x2e0 [xfs], inode 0x83 dinode"],
    [
      "XFS (sda1): Internal error XFS_WANT_CORRUPTED_GOTO at line 1626 of file fs/xfs/libxfs/xfs_alloc.c.  Caller xfs_free_extent+0x1/0x2",
    ],
    ["XFS (sda1): Corruption detected. Unmount and run xfs_repair"],
    ['XFS (sda1): metadata I/O error: block 0x1 ("xfs_trans_read_buf_map") error 117 numblks 8'],
  ],
  "xfs-shutdown-corruption": [
    [
      "XFS (loop0): Corruption of in-memory data (0x8) detected at xfs_fs_reserve_ag_blocks+0x8e/0x120 (fs/xfs/xfs_fsops.c:566).  Shutting down filesystem.",
      "XFS (loop0): Please unmount the filesystem and rectify the problem(s)",
    ],
    // before 5.15
    ["XFS (sda1): Corruption of in-memory data detected.  Shutting down filesystem"],
  ],
  "xfs-shutdown-requested": [
    [
      "XFS (loop0): User initiated shutdown received.",
      "XFS (loop0): Log I/O Error (0x6) detected at xfs_fs_goingdown+0x5c/0xa0 (fs/xfs/xfs_fsops.c:458).  Shutting down filesystem.",
      "XFS (loop0): Please unmount the filesystem and rectify the problem(s)",
    ],
  ],
  "xfs-shutdown-device": [
    [
      "XFS (dm-1): Log I/O Error (0x2) detected at xlog_ioend_work+0x5c/0x90 [xfs] (fs/xfs/xfs_log.c:1377).  Shutting down filesystem.",
      "XFS (dm-1): Please unmount the filesystem and rectify the problem(s)",
    ],
    [
      "XFS (dm-1): Metadata I/O Error (0x1) detected at xfs_trans_read_buf_map+0x1/0x2 (fs/xfs/xfs_trans_buf.c:296).  Shutting down filesystem.",
    ],
    [
      "XFS (sdb1): Block device removal (0x20) detected at fs_bdev_mark_dead+0x1/0x2 (fs/super.c:1458).  Shutting down filesystem.",
    ],
    ["XFS (sdb1): I/O Error Detected. Shutting down filesystem"],
  ],
  "xfs-device-error": [
    ['XFS (dm-1): metadata I/O error in "xfs_read_agf+0x8b/0x170" at daddr 0x1 len 1 error 5'],
    ["XFS (dm-1): log I/O error -5"],
  ],
  "xfs-data-loss": [
    // a user's report, fs/xfs/xfs_aops.c before 6.0 and of 7.2
    ["XFS (loop0): page discard on page 00000000cd4b0d4b, inode 0x83, offset 0."],
    ["XFS (loop0): page discard on page 00000000cd4b0d4b, inode 0x83, pos 16384."],
  ],
  "xfs-assertion": [
    // with and without a filesystem
    ["XFS (loop0): Assertion failed: ip->i_nblocks == 0, file: fs/xfs/xfs_inode.c, line: 1782"],
    ["XFS: Assertion failed: bno + len <= mp->m_sb.sb_agblocks, file: fs/xfs/libxfs/xfs_alloc.c, line: 2000"],
  ],
  "xfs-no-reserve": [["XFS (loop1): Error -5 reserving per-AG metadata reserve pool."]],
  "f2fs-corrupt": [
    ["F2FS-fs (loop0): f2fs_is_valid_blkaddr: Detect looped node chain on blkaddr:5. Run fsck to fix it."],

    // lore.kernel.org/linux-f2fs-devel
    ["F2FS-fs (dm-64): Inconsistent segment (173822) type [1, 0] in SSA and SIT"],
    ["F2FS-fs (dm-64): Stopped filesystem due to reason: 4"],
    ["F2FS-fs (loop0): access invalid blkaddr:1024"],
    ["F2FS-fs (loop0): SIT is corrupted node# 0 vs 1"],
  ],
  "f2fs-stopped": [["F2FS-fs (loop0): Stopped filesystem due to reason: 7"]],
  "bcachefs-corrupt": [
    ["bcachefs (loop4): inconsistency detected - emergency read only at journal seq 8"],
    ["bcachefs (loop4): fatal error - emergency read only"],
    // one record of several lines, as from 6.14 on
    [
      "bcachefs (loop4): error validating btree node at btree extents level 0/0\n  node offset 8/16: btree node data missing: expected 16 sectors, found 8",
    ],
    ["bcachefs (loop4 inum 4098 offset 0): read error\n  data checksum error, type crc32c: got 0 should be 1"],
    // a record a line: fs/bcachefs/error.c prints these without a prefix
    [
      "invalid bkey in btree_node btree=inodes level=0: u64s 7 type inode_v3 0:4097:U32_MAX len 0 ver 0",
      "  bad inode size: delete?, fixing",
    ],
    ["error validating btree node at btree extents level 0/0", "  u64s 11 type btree_ptr_v2 SPOS_MAX len 0 ver 0"],
  ],
  "bcachefs-error": [
    ["bcachefs (loop4): error reading superblock: EIO"],
    ["bcachefs (loop4):", "  data read error at extents:4098:8:U32_MAX", "  retrying"],
  ],
  "fat-corrupt": [
    ["FAT-fs (loop0): error, fat_get_cluster: invalid cluster chain (i_pos 0)"],
    ["exFAT-fs (loop0): error, invalid access to FAT free cluster (entry 0x00000005)"],
  ],
  "block-protection-error": [
    // block/t10-pi.c; the first of a report on lore.kernel.org/linux-block
    ["ublkb1: ref tag error at location 0 (rcvd 128)"],
    ["sda: ref tag error at location 8 (rcvd 0)"],
    ["sda: guard tag error at sector 0 (rcvd 0000, want ffff)"],

    ["protection error, dev sda, sector 2048 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2"],
  ],
  "block-unsupported": [
    [
      "operation not supported error, dev loop0, sector 262144 op 0x9:(WRITE_ZEROES) flags 0x1000800 phys_seg 0 prio class 0",
    ],
  ],
  "block-error": [
    // provoked here
    ["I/O error, dev loop0, sector 20482 op 0x0:(READ) flags 0x80700 phys_seg 128 prio class 2"],
    // before 5.18, and before 4.20
    ["blk_update_request: I/O error, dev loop0, sector 2015816 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 0"],
    ["print_req_error: I/O error, dev sda, sector 29624320"],
    ["end_request: I/O error, dev sdb, sector 54366448"],
    ["critical medium error, dev sdb, sector 54366448 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2"],
    ["blk_update_request: critical space allocation error, dev dm-3, sector 2048 op 0x1:(WRITE) flags 0x0"],
  ],
  "lost-page-write": [
    ["Buffer I/O error on dev loop0, logical block 34304, lost async page write"],
    ["Buffer I/O error on dev nvme0n1p3, logical block 223903744, lost sync page write"],
    ["lost page write due to I/O error on sdc2"],
  ],
  "buffer-io-error": [
    ["Buffer I/O error on dev sda1, logical block 51234, async page read"],
    ["Buffer I/O error on device sda1, logical block 38019728"],
  ],
  "writeback-error": [["dm-1: writeback error on inode 131, offset 4096, sector 8392"]],
  "beyond-end-of-device": [
    // syzbot
    [
      "syz-executor768: attempt to access beyond end of device\nloop0: rw=2049, sector=77824, nr_sectors = 2048 limit=63271",
    ],
    ["attempt to access beyond end of device", "sdc1: rw=0, want=262211, limit=63"],
  ],
  "loop-write-error": [["loop: Write error at byte offset 1032134656, length 4096."]],
  "disk-error": [
    // drivers/nvme/host/pci.c, scsi_lib.c and sd.c
    ["nvme nvme0: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0xffff"],
    ["nvme nvme0: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS read failed (134)"],
    ["nvme nvme0: Disabling device after reset failure: -19"],
    ["nvme nvme0: I/O tag 12 (100c) opcode 0x2 (I/O Cmd) QID 1 timeout, aborting req_op:READ(0) size:4096"],
    ["sd 2:0:0:0: rejecting I/O to offline device"],
    ["sd 2:0:0:0: [sdb] Medium access timeout failure. Offlining disk!"],
    ["sd 2:0:0:0: Device offlined - not ready after error recovery"],
    ["sd 2:0:0:0: [sdb] Synchronize Cache(10) failed: Result: hostbyte=DID_BAD_TARGET driverbyte=DRIVER_OK"],

    ["sd 2:0:0:0: [sdb] tag#0 FAILED Result: hostbyte=DID_OK driverbyte=DRIVER_OK cmd_age=0s"],
    ["sd 2:0:0:0: [sdb] tag#0 Sense Key : Medium Error [current] "],
    ["ata1.00: failed command: READ FPDMA QUEUED"],
    ["nvme nvme0: I/O 12 QID 1 timeout, aborting"],
    ["nvme0n1: I/O Cmd(0x2) @ LBA 0, 8 blocks, I/O Error (sct 0x2 / sc 0x81) MORE"],
  ],
  "mapped-device-corrupt": [
    // reports of users
    ["device-mapper: crypt: dm-1: INTEGRITY AEAD ERROR, sector 76784"],
    ["device-mapper: verity: 254:0: data block 0 is corrupted"],
    ["device-mapper: verity: 7:0: metadata block 6175 is corrupted"],
    ["device-mapper: verity: data block 0 is corrupted"],
    ["device-mapper: integrity: dm-0: Checksum failed at sector 0x6e8"],
    ["device-mapper: integrity: Checksum failed at sector 0x6e8"],
    // drivers/md of 7.2, whose dm-crypt has a prefix of another file
    ["trusted_key: device-mapper: crypt: dm-1: INTEGRITY AEAD ERROR, sector 76784"],
    ["device-mapper: integrity: Error on tag mismatch when replaying journal: -84"],
    ["device-mapper: verity-fec: 254:0: FEC 4096: failed to correct: -74"],
    ["device-mapper: thin metadata: sb_check failed: csum 1936946035: wanted 370217437"],
    ["device-mapper: btree spine: node_check failed: csum 2109 != wanted 2110"],
  ],
  "array-mismatch": [
    // drivers/md/raid5.c
    ["md/raid:md127: mismatch sector in range 8-16"],
    ["md127: mismatch sector in range 8-16"],
  ],
  "zfs-suspended": [
    ["WARNING: Pool 'tank' has encountered an uncorrectable I/O failure and has been suspended."],
    // of 2.2 and later, with its number
    [
      "WARNING: Pool 'tank' has encountered an uncorrectable I/O failure and has been suspended; `zpool clear` will be required.",
    ],
  ],
  "array-error": [
    // drivers/md of 7.2
    ["md/raid:md0: read error corrected (8 sectors at 2048 on sdb1)"],
    ["md/raid1:md0: read error corrected (8 sectors at 2048 on sdb1)"],
    ["md/raid:md0: read error NOT corrected!! (sector 2048 on sdb1)."],
    ["md/raid10:md0: sdb1: Raid device exceeded read_error threshold [cur 21:max 20]"],
    ["md/raid:md0: starting dirty degraded array - data corruption possible."],
    ["md: super_written gets error=-5"],
    ["device-mapper: integrity: Error on reading journal commit: -5"],
    ["device-mapper: verity-fec: 254:0: FEC 4096: corrected 5 errors"],
    ["device-mapper: thin: 253:4: metadata operation 'dm_pool_commit_metadata' failed: error = -28"],

    ["md/raid1:md127: Disk failure on sdb1, disabling device."],
    ["device-mapper: multipath: 253:0: Failing path 8:16."],
  ],
  "hardware-error": [
    ["mce: [Hardware Error]: Machine check events logged"],
    ["{1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 0"],
    ["EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0"],
  ],
  kasan: [
    // syzbot
    [
      "BUG: KASAN: use-after-free in ext4_read_inline_data fs/ext4/inline.c:210 [inline]",
      "Read of size 20 at addr ffff888079d26fa1 by task syz-executor.0/5067",
      "",
      "CPU: 1 PID: 5067 Comm: syz-executor.0 Not tainted 6.2.0-rc1 #0",
      "Call Trace:",
      " <TASK>",
      " dump_stack_lvl+0x1b1/0x290",
      " </TASK>",
      "",
      "The buggy address belongs to the physical page:",
      "==================================================================",
    ],
  ],
  kfence: [
    [
      "BUG: KFENCE: use-after-free read in bpf_sk_storage_get_tracing+0x2e/0x1b0",
      "",
      "Use-after-free read at 0x00000000a891fb3a (in kfence-#1):",
      "bpf_sk_storage_get_tracing+0x2e/0x1b0",
      "==================================================================",
    ],
  ],
  kcsan: [
    [
      "BUG: KCSAN: data-race in __filemap_add_folio / invalidate_inode_pages2_range",
      "",
      "write to 0xffff88810a1b2c48 of 8 bytes by task 3144 on cpu 0:",
      "value changed: 0x0000000000000001 -> 0x0000000000000002",
      "==================================================================",
    ],
  ],
  kmsan: [["BUG: KMSAN: uninit-value in ext4_inode_csum+0x1/0x2", "Uninit was created at:"]],
  ubsan: [
    [
      "UBSAN: shift-out-of-bounds in fs/bcachefs/bkey.c:163:16",
      "shift exponent 4294967127 is too large for 64-bit type 'u64'",
      "CPU: 0 UID: 0 PID: 5101 Comm: syz-executor",
      "Call Trace:",
      " __ubsan_handle_shift_out_of_bounds+0x3c8/0x420 lib/ubsan.c:468",
      "---[ end trace ]---",
    ],
  ],
  "memory-corrupt": [
    [
      "list_add corruption. next->prev should be prev (ffff888108d1c0b0), but was 0000000000000000. (next=ffff888108d1c0b0).",
    ],
    ["BUG: Bad page state in process kworker/u8:2  pfn:10f2a0", "page:00000000a3fd4a9d refcount:-1 mapcount:0"],
    ["BUG kmalloc-64 (Not tainted): Poison overwritten"],
  ],
  "busy-inodes": [
    ["VFS: Busy inodes after unmount of loop0. Self-destruct in 5 seconds.  Have a nice day..."],
    // fs/super.c of 6.4 and later
    ["VFS: Busy inodes after unmount of loop0 (ext4)"],
  ],
  "soft-lockup": [["watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [kworker/1:1:62]", "Modules linked in:"]],
  "hard-lockup": [
    ["NMI watchdog: Watchdog detected hard LOCKUP on cpu 45"],
    ["watchdog: CPU6: Watchdog detected hard LOCKUP on cpu 6", "Modules linked in: rcutorture torture xt_tcpudp"],
  ],
  "atomic-context": [
    [
      "BUG: sleeping function called from invalid context at fs/iomap/buffered-io.c:901",
      "in_atomic(): 1, irqs_disabled(): 0, non_block: 0, pid: 62, name: kworker/1:1",
    ],
    ["BUG: scheduling while atomic: fio/3431/0x00000002"],
    ["BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!"],
  ],
  oops: [
    [
      "kernel BUG at fs/f2fs/segment.c:2748!",
      "Oops: invalid opcode: 0000 [#1] PREEMPT SMP KASAN NOPTI",
      "CPU: 0 UID: 0 PID: 5321 Comm: syz.0.0 Not tainted 6.13.0",
      "RIP: 0010:get_new_segment fs/f2fs/segment.c:2748 [inline]",
      "Call Trace:",
      " <TASK>",
      " </TASK>",
      "---[ end trace 0000000000000000 ]---",
    ],
    ["BUG: kernel NULL pointer dereference, address: 0000000000000008", "#PF: supervisor read access in kernel mode"],
    ["BUG: unable to handle page fault for address: ffffed1604ea3dfa"],
    // ppc64le: arch/powerpc/mm/fault.c
    [
      "BUG: Unable to handle kernel data access on read at 0xc0080000fffb0000",
      "Faulting instruction address: 0xc000000000452b98",
      "Oops: Kernel access of bad area, sig: 11 [#1]",
      "LE PAGE_SIZE=64K MMU=Radix SMP NR_CPUS=2048 NUMA pSeries",
      "---[ end trace 0000000000000000 ]---",
    ],
    ["BUG: Kernel NULL pointer dereference on write at 0x00000000", "Faulting instruction address: 0xc0000000002a1b2c"],
    ["BUG: Unable to handle kernel instruction fetch (NULL pointer?)"],
    // arm64, ppc64le, s390x
    [
      "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008",
      "Internal error: Oops: 0000000096000004 [#1] SMP",
    ],
    ["Kernel data access on unaligned address: 0x1", "Oops: Kernel access of bad area, sig: 11 [#1]"],
    ["Unable to handle kernel pointer dereference in virtual kernel address space"],
    ["Kernel panic - not syncing: Fatal exception"],
  ],
  lockdep: [
    [
      "WARNING: possible circular locking dependency detected",
      "6.18.0 #1 Not tainted",
      "aiocp/1234 is trying to acquire lock:",
      "stack backtrace:",
      " <TASK>",
      " </TASK>",
    ],
    ["WARNING: suspicious RCU usage"],
    ["INFO: trying to register non-static key."],
  ],
  warning: [
    // lore.kernel.org, Qian Cai on fs/iomap/direct-io.c
    [
      "WARNING: CPU: 54 PID: 18127 at fs/iomap/direct-io.c:391 iomap_dio_actor+0x319/0x480",
      "Modules linked in: nls_ascii nls_cp437 vfat fat kvm_intel",
      "CPU: 54 PID: 18127 Comm: trinity-c33 Not tainted 5.8.0-rc1-next-20200618 #1",
      "Call Trace:",
      " iomap_apply+0x15a/0x830",
      "---[ end trace 88b9f0a3a3a5f4a2 ]---",
    ],
    // kernel/panic.c of 6.19 and later
    ["WARNING: fs/iomap/direct-io.c:391 at iomap_dio_actor+0x319/0x480, CPU#54: trinity-c33/18127"],
    ["WARNING: at iomap_dio_actor+0x319/0x480, CPU#54: trinity-c33/18127"],
    [
      "WARNING: [folio_test_dirty(folio)] fs/iomap/buffered-io.c:901 at iomap_writepages+0x19/0x480, CPU#1: kworker/u8:2/62",
    ],
    // before 3.14
    ["WARNING: at fs/buffer.c:1102 mark_buffer_dirty+0x9c/0xa0()"],
  ],
  "hung-task": [
    [
      "INFO: task kworker/u8:2:1473 blocked for more than 122 seconds.",
      "      Not tainted 6.18.44 #1",
      '"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.',
      "task:kworker/u8:2    state:D stack:0     pid:1473  ppid:2      flags:0x00004000",
      "Call Trace:",
      " <TASK>",
      " __schedule+0x3f1/0x1390",
      " </TASK>",
    ],
    // kernel/hung_task.c of 6.19 and later
    ["INFO: task aiocp:1473 blocked in I/O wait for more than 122 seconds."],
  ],
  "rcu-stall": [
    [
      "rcu: INFO: rcu_preempt self-detected stall on CPU",
      "rcu: \t0-....: (2099 ticks this GP) idle=d2e4/1/0x4000000000000000",
    ],
    ["rcu: INFO: rcu_sched detected stalls on CPUs/tasks:"],
    ["INFO: rcu_sched self-detected stall on CPU"],
  ],
  "out-of-memory": [
    [
      "aiocp invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO), order=0, oom_score_adj=0",
    ],
    ["Out of memory: Killed process 1234 (node) total-vm:1034564kB, anon-rss:804564kB"],
    ["Memory cgroup out of memory: Killed process 1234 (node) total-vm:1034564kB"],
    ["kworker/0:1: page allocation failure: order:4, mode:0x40dc0(GFP_KERNEL|__GFP_COMP|__GFP_ZERO)"],
  ],
  "messages-suppressed": [["buffer_io_error: 24 callbacks suppressed"]],
};

describe("every rule knows its messages", () => {
  test("and every rule has one", () => {
    expect(Object.keys(EXAMPLES).sort()).toEqual(RULES.map(({ name }) => name).sort());
  });

  test.each(Object.entries(EXAMPLES).flatMap(([name, examples]) => examples.map((lines) => ({ name, lines }))))(
    "$name: $lines.0",
    ({ name, lines }) => {
      const messages = classify(lines);
      expect(messages.map(({ rule, records }) => [rule?.name, records.map(({ text }) => text)])).toEqual([
        [name, lines],
      ]);
    },
  );
});

test("what a rule says is two sentences and a link", () => {
  for (const rule of RULES) {
    expect(rule.means, rule.name).toMatch(/^[^.]+\w.*[^ ]\. [A-Z`].*\.$/);
    expect(rule.means.length, rule.name).toBeLessThan(320);
    expect(linkOf(rule)).toMatch(/^https:\/\//);
    // A pattern with a state would match every other time.
    expect(rule.pattern.flags, rule.name).not.toMatch(/[gy]/);
  }
});

test("pages of this package that a rule names are there", () => {
  const pages = RULES.flatMap(({ means }) => means.match(/docs\/\S+\.md/g) ?? []);
  expect(pages).not.toEqual([]);
  for (const page of pages) expect(existsSync(join(root, page)), page).toBe(true);
});

describe("routine is left out", () => {
  // Of this project's own machines.
  test.each([
    "aiodio-ltp: Starting AD001",
    "OpenQA::run_ltp.pm: Starting AD033",
    "printk: node: 11 output lines suppressed due to ratelimiting",
    "EXT4-fs mount: 4 callbacks suppressed",
    "loop3: detected capacity change from 0 to 1310720",
    "EXT4-fs (loop3): mounted filesystem 4cdf679c-a606-4e22-b72d-9b67d6f86a25 r/w with ordered data mode. Quota mode: none.",
    "EXT4-fs (loop3): unmounting filesystem 4cdf679c-a606-4e22-b72d-9b67d6f86a25.",
    "XFS (loop4): Mounting V5 Filesystem 54cc363b-8daf-4189-ba37-1f7984bfe79f",
    "XFS (loop4): Ending clean mount",
    "XFS (loop4): Unmounting Filesystem 54cc363b-8daf-4189-ba37-1f7984bfe79f",
    "BTRFS: device fsid 8d1923ae-c3d3-4da3-9228-7937c1007949 devid 1 transid 6 /dev/loop5 (7:5) scanned by mount (23823)",
    "BTRFS info (device loop5): first mount of filesystem 8d1923ae-c3d3-4da3-9228-7937c1007949",
    "BTRFS info (device loop5): using crc32c (crc32c-lib) checksum algorithm",
    "bash (28013): drop_caches: 3",
    "------------[ cut here ]------------",
  ])("%s", (line) => {
    expect(classify([line])).toEqual([]);
  });
});

test("what only begins like a message of the kernel is told without a judgement", () => {
  for (const text of ["WARNING: Pool 'tank' is nearly full", "md127: detected capacity change from 0 to 2048"]) {
    expect(classify([text])).toMatchObject([{ records: [{ text }] }]);
    expect(classify([text])[0]?.rule, text).toBeUndefined();
  }
});

describe("messages of several records", () => {
  test("what belongs elsewhere is not swallowed by a dump", () => {
    const error = "EXT4-fs error (device loop1): ext4_lookup:1785: inode #2: comm cat: iget: checksum invalid";
    const messages = classify(["WARNING: CPU: 1 PID: 2 at fs/x.c:1 f+0x1/0x2", "RIP: 0010:f", error]);
    expect(messages.map(({ rule }) => rule?.name)).toEqual(["warning", "ext4-error"]);
  });

  test("two failures at once keep their files, with what the kernel says between", () => {
    const lines = EXAMPLES["page-cache-invalidation"]?.flat() ?? [];
    const [first = "", file = "", second = "", other = ""] = lines;
    const messages = classify([first, "flags: 0xbfffc000010200(slab|head)", file, second, other]);
    expect(messages.map(({ records }) => records.map(({ text }) => text))).toEqual([
      ["flags: 0xbfffc000010200(slab|head)"],
      [first, file],
      [second, other],
    ]);
  });

  test("damage that bcachefs tells of in a later line is not swallowed by the first", () => {
    const messages = classify(["bcachefs (loop4):", "  extents:4098:8:U32_MAX", "  data checksum error, type crc32c"]);
    expect(messages.map(({ rule, records }) => [rule?.name, records.length])).toEqual([
      ["bcachefs-error", 2],
      ["bcachefs-corrupt", 1],
    ]);
  });

  test("a second crash is one of its own", () => {
    const messages = classify([
      "kernel BUG at fs/x.c:1!",
      "Oops: invalid opcode: 0000 [#1]",
      "kernel BUG at fs/x.c:2!",
    ]);
    expect(messages.map(({ records }) => records.length)).toEqual([2, 1]);
  });

  test("a dump ends with a pause", () => {
    const classifier = new Classifier();
    const messages = classifier.messages([
      said("INFO: rcu_sched self-detected stall on CPU", 5),
      said("\t0-...: (1 GPs behind)", 5.01),
      said("something else", 7),
    ]);
    expect(messages.map(({ rule, records }) => [rule?.name, records.length])).toEqual([
      ["rcu-stall", 2],
      [undefined, 1],
    ]);
  });

  test("a dump without an end is cut", () => {
    const lines = ["BUG: KASAN: use-after-free in f", ...Array.from({ length: 1000 }, (_, index) => `line ${index}`)];
    const messages = classify(lines);
    expect(messages[0]?.records.length).toBe(250);
    expect(messages.flatMap(({ records }) => records)).toHaveLength(1001);
  });

  test("what follows in a later call is told to go on", () => {
    const [first = "", more = ""] = ["INFO: rcu_sched self-detected stall on CPU", "\t0-...: (1 GPs behind)"];
    const classifier = new Classifier();
    expect(classifier.messages([said(first)])).toMatchObject([{ continued: false, records: [{ text: first }] }]);
    expect(classifier.messages([])).toEqual([]);
    expect(classifier.messages([said(more, 1.001)])).toMatchObject([
      { continued: true, rule: { name: "rcu-stall" }, records: [{ text: more }] },
    ]);
  });

  test("a message of two records is told when it is whole, and processors may mix their records", () => {
    const [first = "", file = ""] = EXAMPLES["page-cache-invalidation"]?.[0] ?? [];
    const [one, two] = ["/a/f", "/b/f"].map((path) => file.replace(/\/var\S+/, path)) as [string, string];
    const classifier = new Classifier();
    const texts = (lines: string[]) =>
      classifier.messages(lines.map((line) => said(line))).map(({ records }) => records.map(({ text }) => text));
    expect(texts([first])).toEqual([]);
    expect(classifier.incomplete).toBe(true);
    expect(texts([first, "something else", one])).toEqual([["something else"], [first, one]]);
    expect(texts([two])).toEqual([[first, two]]);
    expect(classifier.incomplete).toBe(false);
    // A record that belongs to nothing is no message of that rule.
    expect(classifier.messages([said(one)])).toMatchObject([{ records: [{ text: one }] }]);

    texts([first]);
    expect(classifier.halves()).toMatchObject([{ rule: { name: "page-cache-invalidation" }, records: [{}] }]);
    expect(classifier.halves()).toEqual([]);
  });
});

test("what a program wrote is not the kernel's word", () => {
  const messages = new Classifier().messages([said("Kernel panic - not syncing: just kidding", 1, false)]);
  expect(messages).toMatchObject([{ records: [{ fromKernel: false }] }]);
  expect(messages[0]?.rule).toBeUndefined();
});

test("every record but routine is in exactly one message, whatever comes in whatever calls", () => {
  const known = Object.values(EXAMPLES).flat(2);
  const line = fc.oneof(fc.constantFrom(...known), fc.string());
  const record = fc.record({ text: line, seconds: fc.nat(100), fromKernel: fc.boolean() });
  fc.assert(
    fc.property(fc.array(fc.array(record)), (calls) => {
      const classifier = new Classifier();
      const told = calls.flatMap((records) => classifier.messages(records)).flatMap(({ records }) => records);
      told.push(...classifier.halves().flatMap(({ records }) => records));
      expect(new Set(told).size).toBe(told.length);
      const routine = calls.flat().filter((one) => !told.includes(one));
      for (const one of routine) expect(new Classifier().messages([{ ...one, fromKernel: false }])).toEqual([]);
    }),
  );
});
