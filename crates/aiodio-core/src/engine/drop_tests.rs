//! Dropping a queue with operations in flight, with a planted fault.
use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::Arc;

thread_local! {
    static QUARANTINE: RefCell<Option<Arc<Quarantine>>> = const { RefCell::new(None) };
}
pub(crate) struct Quarantine {}
impl Quarantine {
    pub(crate) fn take(&self, _start: NonNull<u8>, _bytes: usize) {}
}
pub(crate) fn current_quarantine() -> Option<Arc<Quarantine>> {
    QUARANTINE.with_borrow(Clone::clone)
}
