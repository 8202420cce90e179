//! FIEMAP's states on the filesystems that have it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aiodio_core::extents::extents;
use common::workplaces;

#[test]
fn written_unwritten_and_missing_extents_are_told_apart() {
    let mut looked_at = 0;
    for place in workplaces() {
        let path = place.path().join("file");
        let file = File::create(&path).unwrap();
        let block = 64 << 10;
        file.write_all_at(&vec![1; block], 0).unwrap();
        // SAFETY: allocates in our own file.
        assert_eq!(unsafe { libc::fallocate(file.as_raw_fd(), 0, 2 * block as i64, block as i64) }, 0);
        file.sync_all().unwrap();
        let Some(found) = extents(&path, 0..u64::MAX >> 1, 100).unwrap() else { continue };
        looked_at += 1;
        let at = |offset: u64| found.iter().find(|extent| (extent.offset..extent.offset + extent.bytes).contains(&offset));
        assert_eq!(at(0).unwrap().states(), Vec::<&str>::new(), "{found:?}");
        assert!(at(0).unwrap().physical > 0);
        assert_eq!(at(block as u64), None, "{found:?}");
        assert_eq!(at(2 * block as u64).unwrap().states(), ["unwritten"]);
        assert_eq!(extents(&path, 0..1 << 20, 1).unwrap().unwrap().len(), 1);
        assert_eq!(extents(&path, block as u64..block as u64 + 1, 9).unwrap().unwrap(), []);
    }
    assert!(looked_at > 0 || std::env::var_os("CI").is_none());
}

#[test]
fn a_filesystem_without_it_says_nothing() {
    if !Path::new("/proc/version").exists() {
        return;
    }
    assert_eq!(extents(Path::new("/proc/version"), 0..10, 9).unwrap(), None);
}
