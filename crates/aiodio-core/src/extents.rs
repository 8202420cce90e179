//! Where a file's bytes are on the disk, and in which state (`FIEMAP`; the kernel's Documentation/filesystems/fiemap.rst).

use std::ops::Range;
use std::os::fd::AsFd;
use std::path::Path;

use serde::{Serialize, Serializer};

use crate::error::{Errno, Error, Result, Step};
use crate::sys::ioctl::{FS_IOC_FIEMAP, Fiemap, ioctl};
use crate::sys::{File, Flags};

/// A stretch of a file in one state. Offsets and lengths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Extent {
    /// Offset in the file.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    /// Offset on the device (of btrfs: in the filesystem's own address space); 0 where the state says that there is none yet.
    pub physical: u64,
    /// `FIEMAP_EXTENT_*`.
    #[serde(rename = "states", serialize_with = "states")]
    #[cfg_attr(feature = "typescript", ts(type = "Array<string>"))]
    pub flags: u32,
}

/// `FIEMAP_EXTENT_*` of `linux/fiemap.h` that say something about data, with the names that reports use.
const STATES: [(u32, &str); 8] = [
    (0x0002, "unknown"),
    (0x0004, "delalloc"),
    (0x0008, "encoded"),
    (0x0080, "encrypted"),
    (0x0200, "inline"),
    (0x0400, "tail"),
    (0x0800, "unwritten"),
    (0x2000, "shared"),
];

impl Extent {
    /// Names of the flags: "unwritten", "delalloc", "inline", "shared", "encoded", …; none is plain written data.
    pub fn states(&self) -> Vec<&'static str> {
        STATES.iter().filter(|(bit, _)| self.flags & bit != 0).map(|(_, name)| *name).collect()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn states<S: Serializer>(flags: &u32, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    Extent { offset: 0, bytes: 0, physical: 0, flags: *flags }.states().serialize(serializer)
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FiemapExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

/// Extents asked for in one call.
const BATCH: usize = 64;

#[repr(C)]
struct Request {
    map: Fiemap,
    extents: [FiemapExtent; BATCH],
}

/// The extents that touch `range`, up to `max`, as they are now: what is only in the page cache is not written back first. None where
/// the filesystem has no FIEMAP (tmpfs, FUSE, NFS). A part of the range that no extent covers is a hole.
pub fn extents(path: &Path, range: Range<u64>, max: usize) -> Result<Option<Vec<Extent>>> {
    let file = File::open_to_read(path, Flags::default())?;
    let mut found = Vec::new();
    let mut start = range.start;
    while start < range.end && found.len() < max {
        let length = range.end - start;
        let map = Fiemap { start, length, flags: 0, mapped_extents: 0, extent_count: BATCH as u32, reserved: 0 };
        let mut request = Request { map, extents: [FiemapExtent::default(); BATCH] };
        // SAFETY: the kernel writes no more than `extent_count` extents.
        match unsafe { ioctl(file.as_fd(), FS_IOC_FIEMAP, &raw mut request) } {
            Ok(_) => {}
            Err(Errno(libc::EOPNOTSUPP | libc::ENOTTY | libc::ENOSYS | libc::EINVAL)) => return Ok(None),
            Err(errno) => return Err(Error::new(Step::Stat, "The file's extents cannot be learnt").errno(errno).path(path)),
        }
        let got = &request.extents[..(request.map.mapped_extents as usize).min(BATCH)];
        let Some(last) = got.last() else { break };
        start = last.logical.saturating_add(last.length).max(start + 1);
        found.extend(got.iter().map(|extent| Extent {
            offset: extent.logical,
            bytes: extent.length,
            physical: extent.physical,
            flags: extent.flags,
        }));
        if last.flags & 1 != 0 {
            break;
        }
    }
    found.truncate(max);
    Ok(Some(found))
}
