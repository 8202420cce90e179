//! A plain FUSE mount, which has no block device: what is learnt of it must be enough to test there.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use aiodio_core::buffer::page_bytes;
use aiodio_core::storage::{DioSource, Strategy, storage};
use common::Mounted;

#[test]
fn direct_io_works_with_the_alignment_that_is_told() {
    let Some(mounted) = Mounted::with(&[]) else { return };
    let found = storage(&mounted.root()).unwrap();
    assert_eq!(found.strategy, Strategy::Unsupported);
    assert_eq!(found.device, None);
    if found.dio_source == DioSource::Page {
        assert_eq!(found.logical_block_bytes, page_bytes());
        assert_eq!(found.dio_offset_align, page_bytes());
    } else {
        assert!(found.logical_block_bytes >= found.dio_offset_align);
    }
    let bytes = vec![0x5a; 2 * found.logical_block_bytes.max(page_bytes())];
    // The standard library's buffers are not aligned; FUSE does not mind.
    mounted.write("file", true, 0, &bytes);
    assert_eq!(mounted.direct("file"), bytes);
}
