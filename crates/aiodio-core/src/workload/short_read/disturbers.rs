//! Threads that drop, read ahead and reclaim a file's pages.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use super::Options;
use crate::error::{Errno, Error, Result, Step};
use crate::random::Random;
use crate::stamp::SECTOR;
use crate::sys::File;
use crate::sys::mapping::Mapping;

/// What the disturbers wait for.
#[derive(Debug, Default)]
pub(super) struct Beat {
    count: Mutex<u64>,
    changed: Condvar,
    over: AtomicBool,
}

impl Beat {
    pub(super) fn next(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    fn end(&self) {
        // Under the lock, so that nobody goes to sleep after having looked.
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        self.over.store(true, Ordering::Relaxed);
        drop(count);
        self.changed.notify_all();
    }

    /// Waits until the count is not `last`, and returns it; none when it is all over.
    fn wait(&self, last: u64) -> Option<u64> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        while *count == last && !self.over.load(Ordering::Relaxed) {
            count = self.changed.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
        if self.over.load(Ordering::Relaxed) { None } else { Some(*count) }
    }
}

/// Ends the disturbers on every way out.
pub(super) struct Over<'beat>(pub(super) &'beat Beat);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[derive(Debug, Default)]
pub(super) struct Disturbances {
    pub(super) dropped: AtomicU64,
    pub(super) read_ahead: AtomicU64,
    pub(super) reclaimed: AtomicU64,
    pub(super) no_reclaim: AtomicBool,
}

impl Disturbances {
    /// Whether each that is possible has happened.
    pub(super) fn met(&self) -> bool {
        let happened = |count: &AtomicU64| count.load(Ordering::Relaxed) > 0;
        let reclaimed = happened(&self.reclaimed) || self.no_reclaim.load(Ordering::Relaxed);
        happened(&self.dropped) && happened(&self.read_ahead) && reclaimed
    }
}

pub(super) fn disturb<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    options: &'scope Options,
    file: File,
    beat: &'scope Beat,
    disturbances: &'scope Disturbances,
) -> Result<()> {
    let file = std::sync::Arc::new(file);
    let acts: [(&str, Act); 3] = [("drop", drop_pages), ("readahead", read_ahead), ("reclaim", reclaim)];
    for (number, (name, act)) in acts.into_iter().enumerate() {
        let file = std::sync::Arc::clone(&file);
        let disturber = move || {
            let mut random = Random::new(options.seed ^ (number as u64 + 1) << 56);
            let mut last = 0;
            while let Some(count) = beat.wait(last) {
                last = count;
                // A few blocks, so that reads meet the edges of what is disturbed.
                let bytes = (1 + random.below(16)) * options.block_bytes.get() as u64;
                let offset = random.below(options.bytes) / SECTOR * SECTOR;
                act(&file, offset, bytes.min(options.bytes - offset), disturbances);
            }
        };
        std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, disturber).map_err(|error| {
            Error::new(Step::Setup, "A thread that disturbs the page cache could not be made").errno(Errno::from(&error))
        })?;
    }
    Ok(())
}

type Act = fn(&File, u64, u64, &Disturbances);

fn drop_pages(file: &File, offset: u64, bytes: u64, disturbances: &Disturbances) {
    file.drop_cache(offset, bytes);
    disturbances.dropped.fetch_add(1, Ordering::Relaxed);
}

fn read_ahead(file: &File, offset: u64, bytes: u64, disturbances: &Disturbances) {
    file.read_ahead(offset, bytes);
    disturbances.read_ahead.fetch_add(1, Ordering::Relaxed);
}

/// Maps the pages, so that they are this process's to give away, and has them reclaimed.
fn reclaim(file: &File, offset: u64, bytes: u64, disturbances: &Disturbances) {
    if disturbances.no_reclaim.load(Ordering::Relaxed) {
        return;
    }
    let Ok(map) = Mapping::of_file(file.as_fd(), offset, bytes, false) else {
        disturbances.no_reclaim.store(true, Ordering::Relaxed);
        return;
    };
    if map.populate(false) == Err(Errno(libc::EINVAL)) || map.advise(libc::MADV_PAGEOUT).is_err() {
        disturbances.no_reclaim.store(true, Ordering::Relaxed);
    } else {
        disturbances.reclaimed.fetch_add(1, Ordering::Relaxed);
    }
}
