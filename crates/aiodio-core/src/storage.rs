//! Which device a directory lies on, and the alignment that direct I/O needs there. Needs no root.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::buffer::page_bytes;
use crate::error::{Errno, Error, Result, Step};
use crate::stamp::SECTOR_BYTES;

/// How the device was found; LTP prints it ("Use uevent strategy").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The filesystem's device number is a block device's.
    Uevent,
    /// btrfs: the device is the mount's source.
    Btrfs,
    /// overlayfs: the device is that of the upper directory.
    Overlay,
    /// tmpfs: there is no device, the page is the unit.
    Page,
    /// Another filesystem without a block device of its own (NFS, CIFS, 9p, FUSE, Ceph): what direct I/O moves goes to its server.
    Unsupported,
}

/// Who says what alignment direct I/O needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum DioSource {
    /// The filesystem itself, through `statx(2)` with `STATX_DIOALIGN` (Linux 6.1; not for btrfs and tmpfs in 6.18).
    Statx,
    /// The device's `queue/logical_block_size`, for btrfs together with its own block size.
    Sysfs,
    /// Nobody: the page size is a guess that is always enough.
    Page,
}

/// See [`storage`]. All sizes in bytes.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "StorageInfo", optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// The device's logical block size, as `BLKSSZGET` would say; what LTP aligns to. Without a device what the filesystem says
    /// that direct I/O needs in the file, else the page size.
    pub logical_block_bytes: usize,
    /// How the device was found.
    pub strategy: Strategy,
    /// The device, like `/dev/loop0`.
    pub device: Option<PathBuf>,
    /// Memory alignment that direct I/O needs.
    pub dio_mem_align: usize,
    /// Offset and length alignment that direct I/O needs.
    pub dio_offset_align: usize,
    /// Who says so.
    pub dio_source: DioSource,
    /// What is remarkable.
    pub message: Option<String>,
}

const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58f6;
/// `FUSE_SUPER_MAGIC` of `fs/fuse/inode.c`.
const FUSE_MAGIC: u64 = 0x6573_5546;
/// `XFS_SB_MAGIC` of `fs/xfs/libxfs/xfs_format.h`.
const XFS_MAGIC: u64 = 0x5846_5342;
const BTRFS_MAGIC: u64 = 0x9123_683e;
const OVERLAY_MAGIC: u64 = 0x794c_7630;

/// By `f_type` of `statfs(2)` and the major number of the device that `stat(2)` tells, which is 0 where the kernel made it up.
fn strategy_of(magic: u64, major: u32) -> Strategy {
    match magic {
        TMPFS_MAGIC => Strategy::Page,
        BTRFS_MAGIC => Strategy::Btrfs,
        OVERLAY_MAGIC => Strategy::Overlay,
        _ if major == 0 => Strategy::Unsupported,
        _ => Strategy::Uevent,
    }
}

/// What `directory` lies on. Leaves nothing behind in it.
pub fn storage(directory: &Path) -> Result<Storage> {
    let metadata = directory
        .metadata()
        .map_err(|error| Error::new(Step::Stat, "The directory cannot be examined").errno(Errno::from(&error)).path(directory))?;
    let page = page_bytes();
    let mut message = None;
    let (strategy, device) = device_of(directory, &metadata)?;
    let sysfs = device.and_then(sysfs);
    if sysfs.is_none() && strategy != Strategy::Page {
        message = Some(match strategy {
            Strategy::Unsupported => format!("{} is on a filesystem without a block device", directory.display()),
            _ => format!("The block device of {} is not to be found in /sys/dev/block", directory.display()),
        });
    }
    let logical_block_bytes = sysfs.as_ref().map_or(page, |device| device.logical_block_bytes);
    let (dio_mem_align, dio_offset_align, dio_source) = match probe_file(directory).and_then(|probe| dio_align(&probe)) {
        Ok(Some(align)) if align.offset_bytes > 0 => (align.mem_bytes, align.offset_bytes, DioSource::Statx),
        answer => {
            match answer {
                Ok(Some(_)) => message = Some("The filesystem says that its files have no direct I/O".to_owned()),
                Err(error) => message = Some(format!("The alignment of direct I/O was not learnt from a file: {error}")),
                Ok(None) => {}
            }
            // btrfs transfers whole blocks of its own, and aligns memory only to the device.
            let block = if strategy == Strategy::Btrfs { metadata.blksize() as usize } else { 0 };
            let source = if sysfs.is_some() { DioSource::Sysfs } else { DioSource::Page };
            (logical_block_bytes, logical_block_bytes.max(block), source)
        }
    };
    Ok(Storage {
        logical_block_bytes: match (strategy, dio_source) {
            (Strategy::Unsupported, DioSource::Statx) => dio_offset_align.max(SECTOR_BYTES),
            _ => logical_block_bytes,
        },
        strategy,
        device: sysfs.and_then(|device| device.path),
        dio_mem_align,
        dio_offset_align,
        dio_source,
        message,
    })
}

/// The device number of what a file or directory lies on, and how it was found.
fn device_of(path: &Path, metadata: &std::fs::Metadata) -> Result<(Strategy, Option<u64>)> {
    let strategy = strategy_of(filesystem_magic(path)?, libc::major(metadata.dev()));
    let device = match strategy {
        Strategy::Page | Strategy::Unsupported => None,
        Strategy::Btrfs => mount_of(path).and_then(|mount| device_number(&mount.source)),
        Strategy::Overlay => {
            let upper = mount_of(path).and_then(|mount| mount.upper_directory);
            upper.and_then(|upper| upper.metadata().ok()).map(|upper| upper.dev())
        }
        Strategy::Uevent => Some(metadata.dev()),
    };
    Ok((strategy, device))
}

/// What the device under a file writes whole, whatever else is under way: its logical block in bytes, a multiple of the sector. None
/// where there is no device, or one that is memory, which is copied byte by byte (brd, pmem without BTT).
pub(crate) fn whole_block_bytes(path: &Path) -> Result<Option<u64>> {
    let metadata = path
        .metadata()
        .map_err(|error| Error::new(Step::Stat, "The file cannot be examined").errno(Errno::from(&error)).path(path))?;
    let found = device_of(path, &metadata)?.1.and_then(sysfs);
    let is_memory = |device: &Path| {
        let name = device.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        name.starts_with("ram") || name.starts_with("pmem") && !name.ends_with('s')
    };
    let found = found.filter(|device| device.path.as_deref().is_some_and(|path| !is_memory(path)));
    Ok(found.map(|device| device.logical_block_bytes as u64).filter(|bytes| bytes.is_multiple_of(SECTOR_BYTES as u64)))
}

pub(crate) fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new(Step::Options, "A path cannot contain a NUL byte").errno(Errno(libc::EINVAL)).path(path))
}

/// `f_type` of `statfs(2)`.
fn filesystem_magic(path: &Path) -> Result<u64> {
    let c = c_path(path)?;
    let mut found = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: a NUL-terminated path and room for the answer.
    if unsafe { libc::statfs(c.as_ptr(), found.as_mut_ptr()) } != 0 {
        return Err(Error::new(Step::Stat, "The filesystem cannot be examined").errno(Errno::last()).path(path));
    }
    // SAFETY: filled in by the call, and valid even when zeroed.
    let found = unsafe { found.assume_init() };
    // Its type differs by architecture and libc, signed ones included; all magic numbers have 32 bits.
    #[allow(clippy::unnecessary_cast, reason = "see above")]
    Ok(u64::from(found.f_type as u32))
}

/// Whether the file's data is in memory only, so that reading it directly says nothing about a disk.
pub(crate) fn is_in_memory(path: &Path) -> Result<bool> {
    Ok(matches!(filesystem_magic(path)?, TMPFS_MAGIC | RAMFS_MAGIC))
}

/// Whether a process serves the file's filesystem (FUSE).
pub(crate) fn is_fuse(path: &Path) -> Result<bool> {
    Ok(filesystem_magic(path)? == FUSE_MAGIC)
}

/// Whether the file is on XFS, of an overlay: whether its upper directory is.
pub(crate) fn is_xfs(path: &Path) -> Result<bool> {
    Ok(match filesystem_magic(path)? {
        OVERLAY_MAGIC => match mount_of(path).and_then(|mount| mount.upper_directory) {
            Some(upper) => filesystem_magic(&upper)? == XFS_MAGIC,
            None => false,
        },
        magic => magic == XFS_MAGIC,
    })
}

struct Mount {
    source: PathBuf,
    upper_directory: Option<PathBuf>,
}

/// The mount that `path` is in, by `proc_pid_mountinfo(5)`. By mount ID where `statx(2)` tells it (Linux 5.8), because device
/// numbers do not help: each btrfs subvolume has its own.
fn mount_of(path: &Path) -> Option<Mount> {
    let info = std::fs::read("/proc/self/mountinfo").ok()?;
    let id = Statx::of(libc::AT_FDCWD, path, STATX_MNT_ID).ok().filter(|found| found.mask & STATX_MNT_ID != 0);
    let id = id.map(|found| found.mnt_id.to_string());
    let real = path.canonicalize().ok()?;
    find_mount(&info, id.as_deref(), &real)
}

fn find_mount(info: &[u8], id: Option<&str>, path: &Path) -> Option<Mount> {
    let mut best: Option<(usize, Mount)> = None;
    for line in info.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let (Some(line_id), Some(point)) = (fields.first(), fields.get(4)) else { continue };
        let point = unescape(point);
        let fits = match id {
            Some(id) => *line_id == id.as_bytes(),
            None => path.starts_with(&point),
        };
        let depth = point.components().count();
        // Of mounts at the same place the last one is on top.
        if !fits || best.as_ref().is_some_and(|(deepest, _)| depth < *deepest) {
            continue;
        }
        // The fields after a lone "-" are: filesystem type, source, options of the filesystem.
        let Some(dash) = fields.iter().position(|field| *field == b"-") else { continue };
        let Some(source) = fields.get(dash + 2) else { continue };
        let upper = fields.get(dash + 3).and_then(|options| {
            options.split(|byte| *byte == b',').find_map(|option| option.strip_prefix(b"upperdir=")).map(unescape)
        });
        best = Some((depth, Mount { source: unescape(source), upper_directory: upper }));
    }
    best.map(|(_, mount)| mount)
}

/// Undoes the kernel's `\040` for a blank, `\134` for a backslash and so on.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'\\'
            && let Some(digits) = tail.first_chunk::<3>()
            && digits.iter().all(|digit| (b'0'..=b'7').contains(digit))
        {
            out.push(digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
            rest = &tail[3..];
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    std::ffi::OsString::from_vec(out).into()
}

fn device_number(node: &Path) -> Option<u64> {
    node.metadata().ok().map(|metadata| metadata.rdev()).filter(|device| *device != 0)
}

struct Sysfs {
    logical_block_bytes: usize,
    path: Option<PathBuf>,
}

fn sysfs(device: u64) -> Option<Sysfs> {
    let root = PathBuf::from(format!("/sys/dev/block/{}:{}", libc::major(device), libc::minor(device)));
    // A partition has no queue of its own; its parent directory is the disk.
    let bytes = ["queue/logical_block_size", "../queue/logical_block_size"]
        .iter()
        .find_map(|name| std::fs::read_to_string(root.join(name)).ok())?;
    let uevent = std::fs::read_to_string(root.join("uevent")).unwrap_or_default();
    let name = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    Some(Sysfs {
        logical_block_bytes: bytes.trim().parse().ok().filter(|bytes| *bytes > 0)?,
        path: name.map(|name| Path::new("/dev").join(name)),
    })
}

/// A nameless file in the directory.
fn probe_file(directory: &Path) -> Result<File> {
    let failed = |error: &std::io::Error| {
        Error::new(Step::Open, "No file can be made in the directory").errno(Errno::from(error)).path(directory)
    };
    let nameless = OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(directory);
    match nameless {
        Ok(file) => Ok(file),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => {
            let path = directory.join(format!(".aiodio-probe-{}", std::process::id()));
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .map_err(|error| failed(&error))?;
            std::fs::remove_file(&path).map_err(|error| failed(&error))?;
            Ok(file)
        }
        Err(error) => Err(failed(&error)),
    }
}

/// Alignment in bytes; both 0 when the file has no direct I/O.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DioAlign {
    pub(crate) mem_bytes: usize,
    pub(crate) offset_bytes: usize,
}

/// What the filesystem says about an open file, if it says anything.
pub(crate) fn dio_align(file: impl AsFd) -> Result<Option<DioAlign>> {
    Ok(Statx::of(file.as_fd().as_raw_fd(), Path::new(""), STATX_DIOALIGN)?.dio_align())
}

/// The alignment in bytes, a power of two and at least a sector, of offset and length of direct transfers of an open file: the
/// filesystem's own statement, else its block size (which for btrfs is what its direct I/O needs).
pub(crate) fn direct_unit(file: impl AsFd) -> Result<usize> {
    let found = Statx::of(file.as_fd().as_raw_fd(), Path::new(""), STATX_DIOALIGN)?;
    let stated = found.dio_align().map(|align| align.offset_bytes).filter(|bytes| *bytes > 0);
    Ok(stated.unwrap_or(found.blksize as usize).clamp(SECTOR_BYTES, DIRECT_UNIT_MAX).next_power_of_two())
}

/// Larger than any filesystem's; network filesystems call the transfer that they like best their block size.
const DIRECT_UNIT_MAX: usize = 64 << 10;

const STATX_MNT_ID: u32 = 0x1000;
const STATX_DIOALIGN: u32 = 0x2000;

/// `struct statx` of `include/uapi/linux/stat.h`, as far as it is needed here. Not every libc that this builds with has the newer
/// fields, so it is spelled out; it has the same layout on every architecture.
#[repr(C)]
#[derive(Debug)]
struct Statx {
    mask: u32,
    blksize: u32,
    before: [u32; 34],
    mnt_id: u64,
    dio_mem_align: u32,
    dio_offset_align: u32,
    after: [u64; 12],
}

impl Statx {
    fn of(directory: i32, path: &Path, mask: u32) -> Result<Self> {
        let c = c_path(path)?;
        let mut found =
            Self { mask: 0, blksize: 0, before: [0; 34], mnt_id: 0, dio_mem_align: 0, dio_offset_align: 0, after: [0; 12] };
        // SAFETY: a NUL-terminated path, and room for the 256 bytes of the answer.
        let failed = unsafe { libc::syscall(libc::SYS_statx, directory, c.as_ptr(), libc::AT_EMPTY_PATH, mask, &raw mut found) };
        if failed != 0 {
            return Err(Error::new(Step::Stat, "The file cannot be examined").errno(Errno::last()).path(path));
        }
        Ok(found)
    }

    /// Zeros: the file has no direct I/O. None: nothing is said about it.
    fn dio_align(&self) -> Option<DioAlign> {
        (self.mask & STATX_DIOALIGN != 0)
            .then_some(DioAlign { mem_bytes: self.dio_mem_align as usize, offset_bytes: self.dio_offset_align as usize })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_statx_has_the_kernels_layout() {
        assert_eq!(size_of::<Statx>(), 256);
        assert_eq!(std::mem::offset_of!(Statx, mnt_id), 0x90);
        assert_eq!(std::mem::offset_of!(Statx, dio_mem_align), 0x98);
    }

    #[test]
    fn mounts_are_found_by_id_or_by_the_longest_path_and_unescaped() {
        let info = b"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            30 21 0:50 /sub /mnt/a\\040b rw,relatime shared:9 - btrfs /dev/loop\\0577 rw,ssd\n\
            31 21 0:51 / /mnt rw - overlay overlay rw,lowerdir=/l,upperdir=/up\\040per,workdir=/w\n";
        let by_id = find_mount(info, Some("30"), Path::new("/elsewhere")).expect("found");
        assert_eq!(by_id.source, Path::new("/dev/loop/7"));
        let by_path = find_mount(info, None, Path::new("/mnt/a b/c")).expect("found");
        assert_eq!(by_path.source, Path::new("/dev/loop/7"));
        let overlay = find_mount(info, None, Path::new("/mnt/x")).expect("found");
        assert_eq!(overlay.upper_directory.as_deref(), Some(Path::new("/up per")));
        assert_eq!(find_mount(info, None, Path::new("/x")).expect("found").source, Path::new("/dev/sda1"));
    }

    #[test]
    fn filesystems_of_servers_have_no_device_and_others_keep_theirs() {
        // include/uapi/linux/magic.h: NFS, CIFS, SMB2, 9p, FUSE (virtiofs too), Ceph.
        for magic in [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x6573_5546, 0x00c3_6400] {
            assert_eq!(strategy_of(magic, 0), Strategy::Unsupported, "{magic:#x}");
        }
        // fuseblk, ext4, XFS.
        for magic in [0x6573_5546, 0xef53, 0x5846_5342] {
            assert_eq!(strategy_of(magic, 7), Strategy::Uevent, "{magic:#x}");
        }
        for (magic, strategy) in [(TMPFS_MAGIC, Strategy::Page), (BTRFS_MAGIC, Strategy::Btrfs), (OVERLAY_MAGIC, Strategy::Overlay)]
        {
            assert_eq!(strategy_of(magic, 0), strategy);
        }
    }

    #[test]
    fn a_temporary_directory_has_a_sane_alignment() {
        let found = storage(&std::env::temp_dir()).expect("storage");
        assert!(found.logical_block_bytes.is_power_of_two());
        assert!(found.dio_offset_align.is_power_of_two());
        assert!(found.dio_mem_align >= 1);
    }

    #[test]
    fn a_missing_directory_is_an_error_with_its_path() {
        let error = storage(Path::new("/nonexistent/directory")).expect_err("missing");
        assert_eq!(error.errno, Some(Errno(libc::ENOENT)));
        assert_eq!(error.path.as_deref(), Some(Path::new("/nonexistent/directory")));
    }
}
