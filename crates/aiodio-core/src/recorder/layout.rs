//! The file's format. It is of one architecture, byte order included, and of one version: [`MAGIC`] changes whenever anything else here
//! does. Other processes write to the mapping, so nothing in it is ever referred to but as an atomic.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

use super::{Begin, Interface, Kind, Operation};
use crate::error::Errno;
use crate::sys::mapping;

pub(super) const MAGIC: u64 = u64::from_ne_bytes(*b"AIOFLR3\n");
pub(super) const FILES_MAX: usize = 255;
pub(super) const NAME_BYTES: usize = 60;
/// A multiple of every page size in use.
pub(super) const HEADER_BYTES: usize = 64 << 10;
pub(super) type Name = [AtomicU8; NAME_BYTES];

#[repr(C)]
pub(super) struct Header {
    pub(super) magic: AtomicU64,
    pub(super) capacity: AtomicU32,
    pub(super) record_bytes: AtomicU32,
    pub(super) started_ns: AtomicU64,
    pub(super) started_monotonic_ns: AtomicU64,
    /// Numbers given out.
    pub(super) begun: AtomicU64,
    /// Those of them that no operation has got, because an operation in flight had the number's slot.
    pub(super) passed_over: AtomicU64,
    pub(super) files: AtomicU32,
    pub(super) reserved: AtomicU32,
    /// The first `files` of them are not written any more.
    pub(super) names: [Name; FILES_MAX],
}

/// The `id` of a slot that is being filled in; where its writer died, for good.
pub(super) const CLAIMED: u64 = u64::MAX;

/// A line of the processor's cache on most machines, so that threads do not wait for each other's slots.
#[repr(C, align(64))]
pub(super) struct Slot {
    /// The operation's number; 0 before the first, [`CLAIMED`] while it is being filled in.
    pub(super) id: AtomicU64,
    pub(super) submitted_ns: AtomicU64,
    /// 0 while in flight.
    pub(super) completed_ns: AtomicU64,
    pub(super) offset: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) address: AtomicU64,
    /// Bytes, of which the kernel transfers fewer than 2^31 at a time, or a negated errno.
    pub(super) result: AtomicI32,
    pub(super) generation: AtomicU32,
    pub(super) thread: AtomicU32,
    /// See [`what`].
    pub(super) what: AtomicU32,
}

const _: () = assert!(size_of::<Header>() <= HEADER_BYTES && size_of::<Slot>() == 64);

pub(super) struct Mapping {
    memory: mapping::Mapping,
    /// Of slots; checked against its length, whatever the header says later.
    pub(super) capacity: u64,
}

impl Mapping {
    pub(super) fn bytes(capacity: u64) -> usize {
        HEADER_BYTES + capacity as usize * size_of::<Slot>()
    }

    pub(super) fn new(file: Option<BorrowedFd<'_>>, capacity: u64, protection: i32) -> std::result::Result<Self, Errno> {
        let memory = mapping::Mapping::new(Self::bytes(capacity), protection, libc::MAP_SHARED, file, 0)?;
        Ok(Self { memory, capacity })
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: page-aligned, at least HEADER_BYTES long, any bytes are valid, and all of it is atomic.
        unsafe { self.memory.start().cast().as_ref() }
    }

    pub(super) fn slot(&self, number: u64) -> &Slot {
        let at = HEADER_BYTES + (number % self.capacity) as usize * size_of::<Slot>();
        // SAFETY: inside the mapping, which was made for `capacity` slots.
        let slot = unsafe { self.memory.start().byte_add(at) };
        // SAFETY: 8-byte aligned; any bytes are valid, and all of it is atomic.
        unsafe { slot.cast().as_ref() }
    }
}

const _: () = assert!((super::DIRECT | super::RESUMED | super::VERIFYING).leading_zeros() >= 8);

/// Kind, interface, flags and file of an operation, 8 bits each.
pub(super) fn what(begin: &Begin) -> u32 {
    u32::from_le_bytes([begin.kind as u8, begin.interface as u8, begin.flags as u8, begin.file as u8])
}

pub(super) fn name_of(name: &Name) -> String {
    let bytes = name.iter().map(|byte| byte.load(Ordering::Relaxed)).take_while(|byte| *byte != 0).collect();
    String::from_utf8(bytes).unwrap_or_else(|_| "?".to_owned())
}

pub(super) fn read_slot(slot: &Slot) -> Option<Operation> {
    let id = slot.id.load(Ordering::Acquire);
    let what = slot.what.load(Ordering::Relaxed);
    let kind = *Kind::ALL.get(usize::from((what & 0xff) as u8).checked_sub(1)?)?;
    let interface = match (what >> 8) & 0xff {
        0 => Interface::Sync,
        1 => Interface::Libaio,
        2 => Interface::IoUring,
        _ => return None,
    };
    let completed = slot.completed_ns.load(Ordering::Acquire);
    let begin = Begin {
        kind,
        interface,
        flags: u16::from((what >> 16) as u8),
        file: what >> 24,
        offset: slot.offset.load(Ordering::Relaxed),
        bytes: slot.bytes.load(Ordering::Relaxed),
        address: slot.address.load(Ordering::Relaxed),
        generation: slot.generation.load(Ordering::Relaxed),
    };
    let operation = Operation {
        id,
        begin,
        thread: slot.thread.load(Ordering::Relaxed),
        submitted_ns: slot.submitted_ns.load(Ordering::Relaxed),
        completed_ns: (completed > 0).then_some(completed),
        result: slot.result.load(Ordering::Relaxed).into(),
    };
    // After all the fields, not among them.
    fence(Ordering::Acquire);
    // Filled in anew meanwhile, or never finished.
    (id > 0 && id != CLAIMED && slot.id.load(Ordering::Relaxed) == id).then_some(operation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    /// Whoever makes this fail gives [`MAGIC`] another number: records of other versions must be refused.
    #[test]
    fn the_layout_is_that_of_its_version() {
        assert_eq!(MAGIC, u64::from_ne_bytes(*b"AIOFLR3\n"));
        assert_eq!((HEADER_BYTES, FILES_MAX, NAME_BYTES, size_of::<Slot>()), (65536, 255, 60, 64));
        let header = [
            offset_of!(Header, magic),
            offset_of!(Header, capacity),
            offset_of!(Header, record_bytes),
            offset_of!(Header, started_ns),
            offset_of!(Header, started_monotonic_ns),
            offset_of!(Header, begun),
            offset_of!(Header, passed_over),
            offset_of!(Header, files),
            offset_of!(Header, names),
        ];
        assert_eq!(header, [0, 8, 12, 16, 24, 32, 40, 48, 56]);
        let slot = [
            offset_of!(Slot, id),
            offset_of!(Slot, submitted_ns),
            offset_of!(Slot, completed_ns),
            offset_of!(Slot, offset),
            offset_of!(Slot, bytes),
            offset_of!(Slot, address),
            offset_of!(Slot, result),
            offset_of!(Slot, generation),
            offset_of!(Slot, thread),
            offset_of!(Slot, what),
        ];
        assert_eq!(slot, [0, 8, 16, 24, 32, 40, 48, 52, 56, 60]);
        // Kinds and interfaces are numbers of the format, too.
        assert!(Kind::ALL.iter().zip(1..).all(|(kind, number)| *kind as u8 == number));
    }
}
