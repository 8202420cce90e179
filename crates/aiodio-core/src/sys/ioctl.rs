//! Requests of `ioctl(2)`, numbered by libc's `_IO` and its like, since the bits of a direction differ among architectures; and the one
//! way to make them.

use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{_IO, _IOR, _IOW, _IOWR, Ioctl};

use super::{Answer, uninterrupted};

/// Writes back and forgets what the page cache holds of a block device. No argument.
pub(crate) const BLKFLSBUF: Ioctl = _IO(0x12, 97);
/// The number of a free loop device. No argument.
pub(crate) const LOOP_CTL_GET_FREE: Ioctl = 0x4c82;
/// Reads a `struct loop_config` of `linux/loop.h`. Linux 5.8.
pub(crate) const LOOP_CONFIGURE: Ioctl = 0x4c0a;
/// Reads and writes a [`Fiemap`] with its extents behind it.
pub(crate) const FS_IOC_FIEMAP: Ioctl = _IOWR::<Fiemap>(b'f' as u32, 11);
/// Reads a [`CloneRange`].
pub(super) const FICLONERANGE: Ioctl = _IOW::<CloneRange>(0x94, 13);
/// Reads [`FreeBlocks`].
pub(crate) const XFS_IOC_FREE_EOFBLOCKS: Ioctl = _IOR::<FreeBlocks>(b'X' as u32, 58);

/// `struct fiemap` of `linux/fiemap.h` up to its extents.
#[repr(C)]
pub(crate) struct Fiemap {
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) flags: u32,
    pub(crate) mapped_extents: u32,
    pub(crate) extent_count: u32,
    pub(crate) reserved: u32,
}

/// `struct file_clone_range` of `linux/fs.h`.
#[repr(C)]
pub(super) struct CloneRange {
    pub(super) source: i64,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) to: u64,
}

/// `struct xfs_fs_eofblocks`, version 1.
#[repr(C)]
pub(crate) struct FreeBlocks {
    pub(crate) version: u32,
    pub(crate) flags_and_owners: [u32; 5],
    pub(crate) size_and_reserved: [u64; 13],
}

/// # Safety
/// `argument` must be what the request takes.
pub(super) unsafe fn raw<T>(file: BorrowedFd<'_>, request: Ioctl, argument: *const T) -> libc::c_int {
    // SAFETY: the caller's.
    unsafe { libc::ioctl(file.as_raw_fd(), request, argument) }
}

/// Makes a request that is not recorded.
///
/// # Safety
/// `argument` must be what the request takes.
pub(crate) unsafe fn ioctl<T>(file: BorrowedFd<'_>, request: Ioctl, argument: *const T) -> Answer<usize> {
    // SAFETY: the caller's.
    uninterrupted(|| unsafe { raw(file, request, argument) })
}
