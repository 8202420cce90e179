/**
 * What messages of the kernel mean, in one table. The first rule that matches counts.
 *
 * The texts are those of the kernel's sources (`source`); every rule is tested against a real message. To add one: a
 * row here, and its message in tests/kernel/rules.test.ts.
 */
import type { RuleClass } from "../events/events.js";

/** The verdict that a class asks for; without one a message is shown and judges nothing. */
export const CLASS_VERDICT: Readonly<Record<RuleClass, "TFAIL" | undefined>> = {
  corruption: "TFAIL",
  device: undefined,
  warning: undefined,
  info: undefined,
};

export interface Rule {
  /** Unique. */
  name: string;
  class: RuleClass;
  /** Of the first record of the message. */
  pattern: RegExp;
  /** Records that follow and match belong to the message. */
  more?: RegExp;
  /**
   * Exactly one record of `more` belongs to each message, and without it nobody knows what the message is about. Where
   * two processors print at once it is not the next record.
   */
  oneMore?: true;
  /** All records that follow belong to it, up to and with the one that matches, unless they begin another message. */
  upTo?: RegExp;
  /** Two sentences. */
  means: string;
  /** Kernel source file that prints it. */
  source: string;
  /** A report that explains it best; otherwise the source file is linked. */
  report?: string;
}

const KERNEL_TREE = "https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/";

/** Where one reads more. */
export function linkOf({ source, report }: Rule): string {
  return report ?? `${KERNEL_TREE}${source}`;
}

/** Where a kernel's stack dump ends. */
const TRACE_END = /^---\[ end (?:trace|Kernel panic)/;
/** Dumps between two lines of `=`. */
const FRAME_END = /^={20,}$/;
/** Dumps that end with the stack. */
const STACK_END = /^ *<\/TASK>/;
/** What XFS prints after a complaint. */
const XFS_MORE =
  /^(?:XFS .*(?:Unmount and run xfs_repair|First \d+ bytes of corrupted)|[0-9a-f]{8}: (?:[0-9a-f]{2} ){8})/;
/** bcachefs breaks long messages into lines; all but the first are indented. */
const BCACHEFS_MORE = /^ {2,}\S/;

export const RULES: readonly Rule[] = [
  // Page cache and direct I/O
  {
    name: "page-cache-invalidation",
    class: "corruption",
    pattern: /^Page cache invalidation failure on direct I\/O/,
    more: /^File: .* PID: \d+ Comm: /,
    oneMore: true,
    means:
      "A direct write reached the disk, but an old copy of its page stays in the page cache because buffered I/O used it meanwhile; buffered readers see old data, and fsync fails with EIO. The kernel prints this ten times a day at most, so that it is missing later proves nothing.",
    source: "mm/filemap.c",
    report: "https://bugzilla.suse.com/show_bug.cgi?id=1224434",
  },

  // btrfs
  {
    name: "btrfs-csum-failed",
    class: "corruption",
    pattern:
      /^BTRFS \w+ \(device .*\): (?:csum (?:failed|hole found|error at logical)|(?:scrub: )?checksum error at logical)/,
    means:
      "Data read from the disk does not match the checksum that was stored when it was written. Either the disk changed it, or its memory was changed while a direct write was in flight.",
    source: "fs/btrfs/inode.c",
  },
  {
    name: "btrfs-tree-checksum",
    class: "corruption",
    pattern:
      /^BTRFS \w+ \(device .*\): (?:checksum verify failed on |superblock checksum mismatch|(?:scrub: )?(?:tree block \d+ mirror \d+|super block at physical \d+ devid \d+) has bad csum)/,
    means: "A block of metadata does not match its own checksum. Its bytes changed on the way to the disk or on it.",
    source: "fs/btrfs/disk-io.c",
  },
  {
    name: "btrfs-tree-corrupt",
    class: "corruption",
    pattern:
      /^BTRFS \w+ \(device .*\): (?:parent transid verify failed|bad tree block|bad fsid|tree first key mismatch|corrupt (?:leaf|node)|(?:block=\d+ )?(?:read|write) time tree block corruption|(?:unexpected )?super ?block corruption|bad key order|dirty buffer transid mismatch|root=\d+ block=\d+, tree root owner mismatch|csum for on-disk super block no longer matches|super block on devid \d+ got modified|(?:scrub: )?(?:header error at logical|tree block \d+ mirror \d+ has bad |super block at physical \d+ devid \d+ has bad generation))|^BTRFS:? (?:error|critical) .*errno=-117 /,
    means:
      "Metadata is not what it must be: an old version, a block from elsewhere, or contents that contradict each other. A write was lost, went to the wrong place, or the filesystem wrote nonsense.",
    source: "fs/btrfs/tree-checker.c",
  },
  {
    name: "btrfs-unrepaired",
    class: "corruption",
    pattern:
      /^BTRFS \w+ \(device .*\): (?:scrub: )?(?:unable to fixup \(regular\) error at logical|stripe \d+ has unrepaired metadata|unrepaired sectors detected)/,
    means:
      "A scrub found bad data or metadata and there is no good copy to repair it from. The messages beside it name the file.",
    source: "fs/btrfs/scrub.c",
  },
  {
    name: "btrfs-device-corrupt",
    class: "corruption",
    pattern:
      /^BTRFS error \(device .*\): bdev \S+ errs: wr 0, rd 0, flush 0, (?:corrupt [1-9]\d*, gen \d+|corrupt 0, gen [1-9])/,
    means:
      "btrfs counts blocks of this device that were read without an error but held wrong bytes (corrupt) or an old version (gen). The device reported success, so it is not an I/O error.",
    source: "fs/btrfs/volumes.c",
  },
  {
    name: "btrfs-old-errors",
    class: "info",
    pattern: /^BTRFS info \(device .*\): bdev \S+ errs: /,
    means:
      "At the mount btrfs tells the errors that it counted on this device before. They are not of this run unless the filesystem was made in it.",
    source: "fs/btrfs/volumes.c",
  },
  {
    name: "btrfs-device-errors",
    class: "device",
    pattern:
      /^BTRFS \w+ \(device .*\): (?:bdev \S+ errs: |lost (?:page|super block) write due to IO error|error writing primary super block to device|(?:scrub: )?i\/o error at logical)/,
    means:
      "btrfs tells and counts reads, writes or flushes that the device failed. The device is to blame, or what stands for one: a full backing file, for example.",
    source: "fs/btrfs/volumes.c",
  },
  {
    name: "btrfs-repaired",
    class: "warning",
    pattern: /^BTRFS \w+ \(device .*\): (?:read error corrected: ino|(?:scrub: )?fixed up error at logical)/,
    means:
      "A bad block was replaced by its good copy. The reader saw good data, but the bad copy should not have existed.",
    source: "fs/btrfs/bio.c",
  },
  {
    name: "btrfs-direct-io-failed",
    class: "warning",
    pattern: /^BTRFS \w+ \(device .*\): direct IO failed (?:root \d+ )?ino /,
    means:
      "A direct read or write ended in an error that the program has seen. The messages beside it tell whether a checksum or the device was the cause.",
    source: "fs/btrfs/direct-io.c",
  },
  {
    name: "btrfs-aborted-by-device",
    class: "device",
    pattern: /^BTRFS:? (?:error|critical) .*errno=-5 IO failure/,
    means:
      "btrfs gave up a transaction because an I/O failed, and is read-only from here on. What the device said stands above it.",
    source: "fs/btrfs/messages.c",
  },
  {
    name: "btrfs-aborted",
    class: "warning",
    pattern:
      /^BTRFS:? (?:\w+ \(device .*\) in .*errno=-|.*Transaction aborted)|^BTRFS \w+ \(device .*\): forced readonly/,
    means:
      "btrfs gave up a transaction and is read-only from here on; every later write fails with EROFS. The error number and the messages beside it tell why.",
    source: "fs/btrfs/messages.c",
  },

  // ext4
  {
    name: "ext4-device-error",
    class: "device",
    pattern:
      /^EXT[234]-fs (?:error|warning|\().*(?:I\/O error|IO failure|[Cc]annot read|unable to read|reading directory lblock|error while async write back)/,
    means: "ext4 could not read or write a block because the device failed. What the device said stands beside it.",
    source: "fs/ext4/page-io.c",
  },
  {
    name: "ext4-data-loss-by-device",
    class: "device",
    pattern:
      /^EXT4-fs .*(?:potential data loss!.*error -(?:5|30)\)|Delayed block allocation failed .*error (?:5|30)$|writepages: jbd2_start: .* err -(?:5|30)$)/,
    more: /^EXT4-fs .*This should not happen!! Data will be lost/,
    means:
      "Data that a program had written could not be brought to the disk, because an I/O failed or the filesystem was already read-only. What the device said stands above it.",
    source: "fs/ext4/page-io.c",
  },
  {
    name: "ext4-data-loss",
    class: "corruption",
    pattern: /^EXT4-fs .*(?:potential data loss!|[Dd]elayed block allocation failed|This should not happen!!)/,
    more: /^EXT4-fs .*This should not happen!! Data will be lost/,
    means:
      "Data that a program had written is lost: ext4 had promised its blocks and could not keep the promise. Only a later fsync tells the program.",
    source: "fs/ext4/inode.c",
  },
  {
    name: "ext4-journal-aborted",
    class: "warning",
    pattern:
      /^EXT[234]-fs error .*(?:Detected aborted journal|[Jj]ournal has aborted)|^EXT[234]-fs .*Remounting filesystem read-only|^EXT[234]-fs: \S+:\d+: aborting transaction: |^Aborting journal on device/,
    means:
      "ext4 gave up its journal and is read-only from here on; every later write fails with EROFS. The cause stands above it.",
    source: "fs/ext4/super.c",
  },
  {
    name: "ext4-error",
    class: "corruption",
    pattern:
      /^EXT[234]-fs (?:error|critical) |^EXT[234]-fs \(.*\): (?:VFS: Found ext4 filesystem with invalid superblock checksum|\w+: (?:Checksum for group \d+ failed|(?:Block|Inode) (?:bitmap|table) for group )|group descriptors corrupted|corrupt root inode)/,
    means:
      "Metadata of ext4 is not what it must be: a bad checksum, or contents that contradict each other. A write was lost or went to the wrong place, or the filesystem wrote nonsense; `e2fsck -fn` tells how much is hurt.",
    source: "fs/ext4/super.c",
  },
  {
    name: "ext4-unwritten-extent",
    class: "warning",
    // Only kernels with CONFIG_EXT4_DEBUG print it.
    pattern:
      /^EXT4-fs warning .*ext4_convert_unwritten_extents_endio:\d+: Inode \(\d+\) finished: extent logical block /,
    means:
      "A write ended in an extent that has been merged or allocated anew beside it while it was under way. Where a truncate and fallocate(2) did that, blocks that nobody wrote show what the disk held before: see docs/bugs/ext4-stale-blocks.md.",
    source: "fs/ext4/extents.c",
  },
  {
    name: "ext4-warning",
    class: "warning",
    pattern: /^EXT[234]-fs warning |^EXT4-fs \(.*\): \w*writepages: jbd2_start: /,
    means: "ext4 found something odd and went on. Where metadata is hurt, an error of ext4 stands beside it.",
    source: "fs/ext4/super.c",
  },
  {
    name: "ext4-old-errors",
    class: "info",
    pattern: /^EXT[234]-fs \(.*\): (?:error count since last fsck|(?:initial|last) error at time)/,
    means:
      "ext4 tells at times what errors its superblock remembers. They are not of this run unless the filesystem was made in it.",
    source: "fs/ext4/super.c",
  },
  {
    name: "ext4-shutdown",
    class: "info",
    pattern: /^EXT4-fs \(.*\): shut down requested/,
    means:
      "A program asked ext4 to stop at once, as tests of crashes do. Every later access fails with EIO, which is meant so.",
    source: "fs/ext4/ioctl.c",
  },
  {
    name: "jbd2-checksum",
    class: "corruption",
    pattern:
      /^JBD2: (?:.*(?:invalid checksum|journal checksum error)|corrupted journal superblock|journal transaction \d+ on \S+ is corrupt)/i,
    means:
      "A block in the journal contradicts itself or does not match its checksum. What the journal was to restore cannot be trusted.",
    source: "fs/jbd2/recovery.c",
  },
  {
    name: "jbd2-device-error",
    class: "device",
    pattern:
      /^JBD2: (?:Error -?\d+ detected when updating journal superblock|.*I\/?O errors?)|^journal commit I\/O error/,
    means:
      "The journal could not be written because the device failed, so what it protects may be lost. What the device said stands beside it.",
    source: "fs/jbd2/commit.c",
  },

  {
    name: "jbd2-recovery-failed",
    class: "warning",
    pattern: /^JBD2: (?:(?:journal )?recovery (?:failed|pass \d+ ended at)|error -?\d+ scanning journal)/,
    means:
      "The journal could not be replayed, so that the filesystem is not mounted. What is wrong with it, or with its device, stands above it.",
    source: "fs/jbd2/journal.c",
  },
  {
    name: "jbd2-dirty-buffer",
    class: "warning",
    pattern: /^JBD2: Spotted dirty metadata buffer|^JBD2:? (?:unexpected failure|.*assertion failure): /,
    means:
      "The journal met a block in a state that its authors thought impossible: somebody wrote to it past the journal. After a power cut its metadata may be wrong.",
    source: "fs/jbd2/transaction.c",
  },

  // XFS. Error 74 is EFSBADCRC, 117 is EFSCORRUPTED; others come from the device.
  {
    name: "xfs-metadata-corrupt",
    class: "corruption",
    pattern:
      /^XFS \(.*\): (?:Metadata (?:corruption|CRC error) detected|Internal error .* at line|Corruption (?:detected|of on-disk metadata)|metadata I\/O error.* error (?:74|117)\b|Error -(?:74|117) |Corruption warning|.*(?:record corruption (?:in|detected)|[Cc]orrupt \w+bt (?:flags|pointer)|log mount(?:\/recovery)? failed: error -(?:74|117))|WARNING: Reset corrupted AGFL|AGF corruption|[Cc]orrupt (?:inode|dinode) |SB (?:summary counter )?sanity check failed)/,
    more: XFS_MORE,
    means:
      "A block of metadata does not match its checksum or contradicts itself. Its bytes changed on the way to the disk or on it, or XFS wrote nonsense; `xfs_repair -n` tells how much is hurt.",
    source: "fs/xfs/xfs_error.c",
  },
  {
    name: "xfs-shutdown-corruption",
    class: "corruption",
    pattern: /^XFS \(.*\): Corruption of in-memory data/,
    more: /^XFS \(.*\): Please u(?:n)?mount the filesystem/,
    means:
      "XFS found its metadata in memory to be wrong and stopped before it could reach the disk. Every later access fails with EIO; the messages above tell what it found.",
    source: "fs/xfs/xfs_fsops.c",
  },
  {
    name: "xfs-data-loss",
    class: "corruption",
    pattern: /^XFS \(.*\): page discard on page /,
    means:
      "Data that a program had written through the page cache is lost: XFS could not map blocks for it and dropped the page. Only a later fsync tells the program.",
    source: "fs/xfs/xfs_aops.c",
  },
  {
    name: "xfs-assertion",
    class: "warning",
    pattern: /^XFS(?: \(.*\))?: Assertion failed: /,
    means:
      "XFS found something that its authors thought impossible. It is checked only by kernels that are built for debugging, which go on or crash from here; the source line is in the message.",
    source: "fs/xfs/xfs_message.c",
  },
  {
    name: "xfs-shutdown-requested",
    class: "info",
    pattern: /^XFS \(.*\): User initiated shutdown/,
    more: /^XFS \(.*\): (?:.*Shutting down filesystem|Please u(?:n)?mount the filesystem)/,
    means:
      "A program asked XFS to stop at once, as tests of crashes do. Every later access fails with EIO, which is meant so.",
    source: "fs/xfs/xfs_fsops.c",
  },
  {
    name: "xfs-shutdown-device",
    class: "device",
    pattern:
      /^XFS \(.*\): (?:(?:(?:Log|Metadata) )?I\/O [Ee]rror .*|All device paths lost.*|Block device removal .*)Shutting down filesystem/,
    more: /^XFS \(.*\): Please u(?:n)?mount the filesystem/,
    means:
      "XFS stopped because its log or metadata could not be written. Every later access fails with EIO; what the device said stands above it.",
    source: "fs/xfs/xfs_fsops.c",
  },
  {
    name: "xfs-device-error",
    class: "device",
    pattern: /^XFS \(.*\): (?:metadata I\/O error|log I\/O error|Failing async write|writeback error on)/,
    means: "XFS could not read or write a block because the device failed. What the device said stands beside it.",
    source: "fs/xfs/xfs_buf.c",
  },

  {
    name: "xfs-no-reserve",
    class: "warning",
    pattern: /^XFS \(.*\): Error -\d+ (?:reserving|freeing) per-AG metadata reserve pool/,
    means:
      "XFS could not set space aside for its metadata. After a shutdown this only follows from it; the messages above tell.",
    source: "fs/xfs/xfs_fsops.c",
  },

  // Other filesystems
  {
    name: "f2fs-corrupt",
    class: "corruption",
    pattern:
      /^F2FS-fs .*(?:[Ii]nconsisten|[Cc]orrupt|[Rr]un fsck|sanity_check|[Ii]nvalid|Stopped filesystem due to reason: (?:4|8|9)$)/,
    means:
      "Metadata of f2fs is not what it must be. A write was lost or went to the wrong place, or the filesystem wrote nonsense; `fsck.f2fs` tells how much is hurt.",
    source: "fs/f2fs/super.c",
  },
  {
    name: "f2fs-stopped",
    class: "warning",
    pattern: /^F2FS-fs .*(?:Stopped filesystem due to reason|Remounting filesystem read-only)/,
    means:
      "f2fs stopped writing; what is written from here on does not reach the disk. Reason 0 is a request, 1 an injected fault, 2, 3 and 6 a failed device, 7 a lack of free segments.",
    source: "fs/f2fs/super.c",
  },
  {
    name: "bcachefs-corrupt",
    class: "corruption",
    // Without a prefix where a filesystem prints a text line by line; else the word may stand in any line of one record.
    pattern:
      /^bcachefs [\s\S]*(?:inconsisten|checksum error|emergency read[ -]only|error validating|fatal error|validate_error|invalid bkey)|^invalid bkey (?:in \w+ btree=|u64s )|^error validating btree node|^ {2,}.*(?:checksum error|emergency read[ -]only)/,
    more: BCACHEFS_MORE,
    means:
      "bcachefs found data or metadata that contradicts itself or its checksum, and may be read-only from here on. The messages beside it name the place.",
    source: "fs/bcachefs/error.c",
  },
  {
    name: "bcachefs-error",
    class: "warning",
    pattern: /^bcachefs (?:\(.*\)|\S+): ?(?:$|\n|.*\berror\b)/,
    // A line that tells of damage is a message of its own.
    more: /^ {2,}(?!.*(?:checksum error|emergency read[ -]only))\S/,
    means:
      "bcachefs could not do what it was asked for. The lines that belong to it, and those beside it, tell what and why.",
    source: "fs/bcachefs/error.c",
  },
  {
    name: "fat-corrupt",
    class: "corruption",
    pattern: /^(?:FAT|exFAT)-fs \(.*\): (?:error, |Filesystem has been set read-only)/,
    means:
      "The allocation table or a directory contradicts itself, and the filesystem may be read-only from here on. A write was lost or went to the wrong place, or the filesystem wrote nonsense.",
    source: "fs/fat/misc.c",
  },

  // Block devices
  {
    name: "block-protection-error",
    class: "corruption",
    pattern: /(?:^|: )protection error, dev \S+, sector \d+|: (?:ref|guard|app) tag error at (?:location|sector) \d+ /,
    means:
      "The device found that data and the protection information sent with it do not agree. The data changed between the filesystem and the device.",
    source: "block/blk-mq.c",
  },
  {
    name: "block-unsupported",
    class: "info",
    pattern: /(?:^|: )operation not supported error, dev \S+, sector \d+/,
    means:
      "The device does not know a command that the kernel tried, discard or write-zeroes for example. The kernel does without it.",
    source: "block/blk-mq.c",
  },
  {
    name: "block-error",
    class: "device",
    pattern: /(?:^|: )[\w/ ]+ error, dev \S+, sector \d+/,
    means:
      "The device failed a read or write. For a loop device that means its backing file: truncated, on a full filesystem, or itself unreadable.",
    source: "block/blk-mq.c",
  },
  {
    name: "lost-page-write",
    class: "device",
    pattern: /lost (?:async |sync )?page write/,
    means:
      "Data that a program had written through the page cache is lost, because the device failed the write. Only a later fsync tells the program.",
    source: "fs/buffer.c",
  },
  {
    name: "buffer-io-error",
    class: "device",
    pattern: /Buffer I\/O error on dev/,
    means: "The device failed the read or write of one block. The block layer's own message above it tells how.",
    source: "fs/buffer.c",
  },
  {
    name: "writeback-error",
    class: "device",
    pattern: /: writeback error on inode \d+, offset /,
    means:
      "Data that a program had written through the page cache is lost, because its way to the disk failed. Only a later fsync tells the program.",
    source: "fs/iomap/ioend.c",
  },
  {
    name: "beyond-end-of-device",
    class: "warning",
    pattern: /attempt to access beyond end of device/,
    more: /^\S+: rw=\d+, (?:want|sector)=/,
    means:
      "The filesystem asked for a block behind the device's end. Either the device was made smaller, or the filesystem's metadata is wrong.",
    source: "block/blk-core.c",
  },
  {
    name: "loop-write-error",
    class: "device",
    pattern: /^loop: (?:Write|Transfer) error at byte offset/,
    means: "A loop device could not write to its backing file. The filesystem that holds the file is full or failed.",
    source: "drivers/block/loop.c",
  },
  {
    name: "disk-error",
    class: "device",
    pattern:
      /^(?:sd|sr|scsi) [\d:]+: (?:\[\w+\] )?.*(?:FAILED Result|Sense Key : |rejecting I\/O|Medium Error|Medium access timeout|Device offlined|Synchronize Cache\(\d+\) failed)|^ata\d+(?:\.\d+)?: (?:exception|failed command|hard resetting|COMRESET failed|disabled)|^nvme \S+ .*(?:timeout|[Rr]emoving|[Rr]esetting|Abort status|controller is down|Disabling device|Device not ready|starting error recovery|reset controller|no available path)|^nvme\d+c?\d*n\d+: .*\(sct 0x/,
    means: "A disk or its connection failed or was reset. What the filesystem reports after it follows from this.",
    source: "drivers/scsi/sd.c",
  },
  {
    name: "mapped-device-corrupt",
    class: "corruption",
    // 84 is EILSEQ. In 7.2 dm-crypt's line begins with the name of a file that it includes.
    pattern:
      /^(?:\w+: )?device-mapper: (?:crypt: .*INTEGRITY AEAD ERROR|integrity: (?:.*Checksum failed at sector|Error on .*: -84$|.*[Mm]ismatch)|verity: .*block \d+ is corrupted|verity-fec: .*failed to correct|[\w ]+: .*(?:csum|magic|blocknr) \d+.* wanted )/,
    means:
      "Data below the filesystem does not match the checksum that a mapped device keeps of it, and reads of it fail. It changed after it was written, or while it was in flight.",
    source: "drivers/md/dm-integrity.c",
  },
  {
    name: "array-mismatch",
    class: "warning",
    pattern: /^md(?:\/\w+:)?\S*: mismatch sector in range /,
    means:
      "A check of an array found that data and parity do not agree. After a crash this can be harmless; otherwise a write was lost or its memory changed in flight.",
    source: "drivers/md/raid5.c",
  },
  {
    name: "array-error",
    class: "device",
    pattern:
      /^md\/.*(?:Disk failure|[Rr]ead error|read_error|read correction|[Ff]ailing d|Cannot continue|dirty degraded|not enough operational|bad block)|^md: (?:\w+ gets error=|\S+ flush io error)|^device-mapper: (?:multipath|thin|integrity|verity|cache|raid|snapshots|writecache)[^:]*: .*(?:[Ff]ail|[Ee]rror|[Mm]ismatch|out of)|^device-mapper: verity-fec: .*corrected \d/,
    means:
      "An array or a mapped device lost a member, ran out of space, or could not read a block, which it may have read elsewhere. What the filesystem reports after it follows from this.",
    source: "drivers/md/md.c",
  },
  {
    name: "zfs-suspended",
    class: "device",
    pattern: /^WARNING: Pool '.*' has encountered an uncorrectable I\/O failure/,
    means:
      "ZFS could neither read nor write a pool's devices and holds all I/O to it. Whoever uses it hangs until the pool is cleared.",
    source: "Documentation/admin-guide/tainted-kernels.rst",
    report: "https://openzfs.github.io/openzfs-docs/msg/ZFS-8000-HC/",
  },
  {
    name: "hardware-error",
    class: "device",
    pattern: /\[Hardware Error\]|^mce: |^EDAC .* [CU]E |^Memory failure: /,
    means:
      "The machine's memory, processor or bus reported an error. Wrong data on such a machine proves nothing about its filesystems.",
    source: "arch/x86/kernel/cpu/mce/core.c",
  },

  // The kernel itself
  {
    name: "kasan",
    class: "corruption",
    pattern: /^BUG: KASAN: /,
    upTo: FRAME_END,
    means:
      "The kernel used memory that was not its to use, found by its address sanitizer. Whatever lay there, file data included, may be wrong.",
    source: "mm/kasan/report.c",
  },
  {
    name: "kfence",
    class: "corruption",
    pattern: /^BUG: KFENCE: /,
    upTo: FRAME_END,
    means:
      "The kernel used memory that was not its to use, found by a sampling guard. Whatever lay there, file data included, may be wrong.",
    source: "mm/kfence/report.c",
  },
  {
    name: "kcsan",
    class: "warning",
    pattern: /^BUG: KCSAN: /,
    upTo: FRAME_END,
    means:
      "Two parts of the kernel used one variable at once without agreeing on it, found by the concurrency sanitizer. Many such races are harmless; one in the path of this I/O is worth a report.",
    source: "kernel/kcsan/report.c",
  },
  {
    name: "kmsan",
    class: "warning",
    pattern: /^BUG: KMSAN: /,
    upTo: FRAME_END,
    means:
      "The kernel used memory that nobody had written, found by its memory sanitizer. Such bytes can end up in files.",
    source: "mm/kmsan/report.c",
  },
  {
    name: "ubsan",
    class: "warning",
    pattern: /^UBSAN: /,
    upTo: TRACE_END,
    means:
      "The kernel computed something that C leaves undefined, a shift or an array index out of range for example. The source line is in the message.",
    source: "lib/ubsan.c",
  },
  {
    name: "memory-corrupt",
    class: "corruption",
    pattern:
      /^(?:list_(?:add|del) corruption|BUG: Bad (?:page|rss)|BUG [\w-]+ \(.*\): |usercopy: Kernel memory|refcount_t: )/,
    upTo: TRACE_END,
    means:
      "The kernel found its own memory damaged: a list, a page or an object that was freed too early or written past its end. Whatever lies in memory, file data included, may be wrong.",
    source: "mm/page_alloc.c",
  },
  {
    name: "busy-inodes",
    class: "corruption",
    pattern: /^VFS: Busy inodes after unmount of /,
    means:
      "A filesystem was unmounted while the kernel still used files of it: somebody forgot to give them back. The next use of them touches memory that is freed by then.",
    source: "fs/super.c",
  },
  {
    name: "soft-lockup",
    class: "warning",
    pattern: /BUG: soft lockup - CPU#\d+ stuck/,
    upTo: STACK_END,
    means:
      "One processor ran inside the kernel for many seconds without giving way. The stack shows where; on an overloaded virtual machine it may be the host's fault.",
    source: "kernel/watchdog.c",
  },
  {
    name: "hard-lockup",
    class: "warning",
    pattern: /detected hard LOCKUP on cpu/i,
    upTo: STACK_END,
    means:
      "One processor did not even take interrupts for many seconds. The stack shows where; on an overloaded virtual machine it may be the host's fault.",
    source: "kernel/watchdog.c",
  },
  {
    name: "atomic-context",
    class: "warning",
    pattern: /^BUG: (?:sleeping function called from invalid context|scheduling while atomic|workqueue lockup|using )/,
    upTo: STACK_END,
    means:
      "The kernel waited where it must not, or work that it queued does not get on. It can hang from this; data is not touched.",
    source: "kernel/sched/core.c",
  },
  {
    name: "oops",
    class: "corruption",
    pattern:
      /^(?:kernel BUG at |BUG: (?:[Uu]nable to handle|[Kk]ernel NULL pointer)|Oops: |Oops\[?#|Internal error: |Unable to handle kernel |general protection fault|Kernel panic - not syncing|Kernel data access on |stack segment: |divide error: |invalid opcode: )/,
    more: /^(?:Oops|Internal error: )/,
    upTo: TRACE_END,
    means:
      "The kernel crashed in the middle of its work and killed what it was doing, with its locks held and its data half changed. What is read or written from here on, by this kernel, cannot be trusted.",
    source: "kernel/panic.c",
  },
  {
    name: "lockdep",
    class: "warning",
    pattern:
      /^(?:WARNING|INFO): (?:possible |inconsistent |suspicious RCU|bad unlock|[Nn]ested lock|held lock|lock held|Softirq-safe|HARDIRQ-safe|trying to register)|^\[ BUG: Invalid wait context/,
    upTo: STACK_END,
    means:
      "The kernel's lock checker found an order of locks that can hang, whether or not it did here. It reports once and then is off until the next boot.",
    source: "kernel/locking/lockdep.c",
  },
  {
    name: "warning",
    class: "warning",
    // Modules of others begin lines of their own with the word.
    pattern: /^WARNING: (?:CPU: \d+ PID: \d+ at |at \S+:\d|.*\bat \S+, CPU#\d+: )/,
    upTo: TRACE_END,
    means:
      "The kernel found something that its authors thought impossible, and went on. The source line is in the message; many places warn only once until the next boot.",
    source: "kernel/panic.c",
  },
  {
    name: "hung-task",
    class: "warning",
    pattern: /INFO: task .*:\d+ blocked .*for more than \d+ seconds/,
    upTo: STACK_END,
    means:
      "A task waits inside the kernel for minutes and cannot be killed. The stack shows for what: a device that does not answer, or a lock.",
    source: "kernel/hung_task.c",
  },
  {
    name: "rcu-stall",
    class: "warning",
    pattern: /INFO: rcu\w* .*(?:stall|kthread starved)|INFO: \w+ (?:self-)?detected .*stall/,
    upTo: STACK_END,
    means:
      "A processor keeps the kernel from freeing memory for many seconds. The stack shows what it does; on an overloaded virtual machine it may be the host's fault.",
    source: "kernel/rcu/tree_stall.h",
  },
  {
    name: "out-of-memory",
    class: "warning",
    pattern: /(?:Out of memory|Memory cgroup out of memory|oom_reaper|invoked oom-killer|page allocation failure)/,
    means:
      "The machine or the group ran out of memory, and the kernel killed a process or failed a request. A testcase that ends by this says nothing about the filesystem.",
    source: "mm/oom_kill.c",
  },
  {
    name: "messages-suppressed",
    class: "info",
    pattern: /^(?!EXT4-fs mount: ).*: \d+ callbacks suppressed$/,
    means:
      "The kernel left out further messages of the named function, because there were too many at once. What is shown is not all.",
    source: "lib/ratelimit.c",
  },
];

/** What every run on every machine brings: marks of test runners, mounts, frames around dumps. */
const ROUTINE: readonly RegExp[] = [
  /^(?:aiodio-ltp: |OpenQA::|LTP: starting )/,
  /^printk: .*output lines suppressed due to ratelimiting/,
  // A limit of its own, for nothing but that a filesystem is mounted or unmounted (ext4_mount_msg_ratelimit of fs/ext4/super.c).
  /^EXT4-fs mount: \d+ callbacks suppressed$/,
  /^loop\d+: (?:detected capacity change|p\d+)/,
  /^EXT[234]-fs \(.*\): (?:(?:re-)?mounted |unmounting |mounting ext\d|recovery complete|orphan cleanup|Using |INFO: )/,
  /^XFS \(.*\): (?:Mounting V\d|Ending (?:clean mount|recovery)|Starting recovery|Unmounting |Quotacheck)/,
  /^XFS \(.*\): (?:EXPERIMENTAL|Deprecated|deprecated)/,
  /^BTRFS info \(device /,
  /^BTRFS: device (?:fsid|label) /,
  /^BTRFS \w+ \(device .*\): Skipping commit of aborted transaction/,
  /^F2FS-fs \(.*\): (?:Mounted with|Found nat_bits|Start checkpoint|Mark blkaddr)/,
  /^\S+ \(\d+\): drop_caches: \d$/,
  /^-+\[ cut here \]-+$/,
  /^[=-]{20,}$/,
];

/** A dump does not pause; a kernel that prints on a serial line is slow, though. */
const PAUSE_SECONDS_MAX = 1;
const RECORDS_PER_MESSAGE_MAX = 250;

/** The part of a record that rules look at. */
export interface Classifiable {
  fromKernel: boolean;
  seconds: number;
  text: string;
}

/** One message of the kernel: a record, or several that belong together. */
export interface Message<R extends Classifiable> {
  records: R[];
  /** Absent for a message that no rule knows. */
  rule?: Rule;
  /** The beginning was in an earlier call. */
  continued: boolean;
}

/** Puts records together to messages and finds their rules. Keeps in mind the message that may still go on. */
export class Classifier<R extends Classifiable> {
  #open: { message: Message<R>; rule: Rule; count: number; seconds: number } | undefined;
  /** Messages whose second record ({@link Rule.oneMore}) has not come: they are not told before. */
  #halves: Message<R>[] = [];

  constructor(private readonly rules: readonly Rule[] = RULES) {}

  /** Whether a message waits for its second record. */
  get incomplete(): boolean {
    return this.#halves.length > 0;
  }

  /** Gives up waiting: the messages whose second record has not come. */
  halves(): Message<R>[] {
    return this.#halves.splice(0);
  }

  /** The messages in these records, without those of routine. No record is in two messages. */
  messages(records: readonly R[]): Message<R>[] {
    const found: Message<R>[] = [];
    // What was returned before is given away: what still follows is a message of its own.
    if (this.#open) this.#open.message = { records: [], rule: this.#open.rule, continued: true };
    for (const record of records) {
      const whole = this.#completed(record);
      if (whole) {
        found.push(whole);
        continue;
      }
      // What a program wrote is told, but it is not the kernel's word.
      const rule = record.fromKernel ? this.rules.find(({ pattern }) => pattern.test(record.text)) : undefined;
      const routine = !rule && ROUTINE.some((pattern) => pattern.test(record.text));
      const message = this.#continued(record, rule, routine);
      if (rule?.oneMore) this.#halves.push({ records: [record], rule, continued: false });
      else if (message) {
        if (message.records.length === 0) found.push(message);
        message.records.push(record);
      } else if (!routine) {
        found.push(this.#begun(record, rule));
      }
    }
    return found;
  }

  /** The message that the record is the second half of. */
  #completed(record: R): Message<R> | undefined {
    if (!record.fromKernel) return undefined;
    const at = this.#halves.findIndex(({ rule }) => rule?.more?.test(record.text));
    const [message] = at < 0 ? [] : this.#halves.splice(at, 1);
    message?.records.push(record);
    return message;
  }

  /** The open message, if the record belongs to it. */
  #continued(record: R, rule: Rule | undefined, routine: boolean): Message<R> | undefined {
    const open = this.#open;
    if (!open || !record.fromKernel) return undefined;
    const { upTo, more } = open.rule;
    const ends = upTo?.test(record.text) ?? false;
    if (!ends && !more?.test(record.text) && (!upTo || rule || routine)) return undefined;
    open.count += 1;
    const over = record.seconds - open.seconds > PAUSE_SECONDS_MAX || open.count > RECORDS_PER_MESSAGE_MAX;
    if (ends || over) this.#open = undefined;
    open.seconds = record.seconds;
    return over ? undefined : open.message;
  }

  #begun(record: R, rule: Rule | undefined): Message<R> {
    const message: Message<R> = { records: [record], ...(rule && { rule }), continued: false };
    // What no rule knows may stand in the middle of something: it does not end it.
    if (rule) {
      const goesOn = rule.more !== undefined || rule.upTo !== undefined;
      this.#open = goesOn ? { message, rule, count: 1, seconds: record.seconds } : undefined;
    }
    return message;
  }
}
