//! `pread(2)` and `pwrite(2)` behind the interface of the asynchronous engines: the reference to compare them with.

use super::{Engine, Event, Op, Request};
use crate::error::Errno;
use crate::recorder::Interface;

/// Does each request while it is submitted.
#[derive(Debug, Default)]
pub struct SyncEngine {
    done: Vec<Event>,
}

// SAFETY: a request is over before its event is made.
unsafe impl Engine for SyncEngine {
    fn interface(&self) -> Interface {
        Interface::Sync
    }

    fn capacity(&self) -> usize {
        usize::MAX
    }

    unsafe fn submit(&mut self, requests: &[Request]) -> Result<usize, Errno> {
        for request in requests {
            let offset = request.offset as libc::off64_t;
            let transferred = if request.op == Op::Write {
                // SAFETY: the caller vouches for the memory.
                unsafe { libc::pwrite64(request.fd, request.start.cast(), request.bytes, offset) }
            } else {
                // SAFETY: the caller vouches for the memory.
                unsafe { libc::pread64(request.fd, request.start.cast(), request.bytes, offset) }
            };
            let result = if transferred < 0 { -i64::from(Errno::last().0) } else { transferred as i64 };
            self.done.push(Event { slot: u64::from(request.slot), result });
        }
        Ok(requests.len())
    }

    fn reap(&mut self, _min: usize, events: &mut Vec<Event>) -> Result<(), Errno> {
        events.append(&mut self.done);
        Ok(())
    }
}
