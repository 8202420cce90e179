//! Real limits of the kernel: a completion ring that overflows, and the system's maximum of AIO operations.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use aiodio_core::engine::{IoUringEngine, Kind, LibaioEngine, probe};
use aiodio_core::error::{Errno, Step};
use aiodio_core::workload::copy;
use aiodio_core::workload::fill::fill;
use common::{KEY, assert_good, options, size, workplaces};

#[test]
fn completions_that_do_not_fit_the_ring_are_fetched_and_counted() {
    for place in workplaces() {
        for direct in [false, true] {
            let options = copy::Options { direct, depth: size(64), ..options(place.path(), Kind::IoUring) };
            fill(&options.source, options.bytes, KEY).unwrap();
            let engine = IoUringEngine::with_rings(4, Some(4), size(64), false).unwrap();
            let outcome = copy::copy_with(Box::new(engine), &options, |_| {});
            assert!(outcome.error.is_none(), "{:?}", outcome.error);
            assert!(direct || outcome.stats.cq_overflows > 0, "{:?}", outcome.stats);
            assert_eq!(outcome.stats.in_flight_max, 64);
            assert_eq!(outcome.stats.submitted, outcome.stats.completed);
            assert_good(&options.destination, options.bytes);
        }
    }
}

#[test]
fn a_senseless_depth_is_refused_before_it_costs_memory() {
    let place = tempfile::tempdir().unwrap();
    for engine in [Kind::Sync, Kind::IoUring] {
        let options = copy::Options { bytes: 1 << 40, block_bytes: size(1), depth: size(1 << 31), ..options(place.path(), engine) };
        fill(&options.source, 4096, KEY).unwrap();
        assert_eq!(copy::copy(&options, |_| {}).error.unwrap().step, Step::Options);
    }
}

#[test]
fn more_aio_operations_than_the_system_allows_are_refused_with_the_numbers_and_the_remedy() {
    let max = probe::aio().max.unwrap();
    let error = LibaioEngine::new(size(max as usize + 1)).map(|_| ()).unwrap_err();
    assert_eq!(error.step, Step::Setup);
    if error.errno == Some(Errno(libc::EAGAIN)) {
        assert!(error.message.contains(&format!("fs.aio-max-nr is {max}")), "{error}");
        assert!(error.message.contains("sysctl -w fs.aio-max-nr="), "{error}");
    } else {
        // A limit above the largest context that Linux can make.
        assert_eq!(error.errno, Some(Errno(libc::EINVAL)));
    }
}
