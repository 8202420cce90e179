//! What can be asked for by name, with options and answers as JSON: workloads, which take their time, and facts, which are told at
//! once. A row for each; who hands the tables on has all of them, and TypeScript's types are made from them.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::extents::Extent;
use crate::limits::Limits;
use crate::mount::Mount;
use crate::storage::Storage;
use crate::workload::shared::{dirty, finding::Finding};
use crate::workload::{aio_rounds, aio_stress, copy, dio_limits, fill, fork_dma, fsx, invalidate, mmap_fork, races, readers};
use crate::workload::{segments, short_read, signal_stress, unwritten};
use crate::{expectation, extents, json, limits, loop_device, mount, recorder, stamp, storage, verify};

/// Is told how much is done.
pub type Progress<'caller> = &'caller (dyn Fn(u64) + Sync);

/// Reads the options, does it, and writes the outcome.
///
/// Fails where an option is wrong; the message names it.
pub fn answer<O: DeserializeOwned, R: Serialize>(name: &str, options: &str, run: impl FnOnce(O) -> Result<R>) -> Result<String> {
    let options = json::read(options).map_err(|error| Error { message: format!("{name}: {}", error.message), ..error })?;
    json::write(&run(options)?)
}

/// Gets the names and types of a table.
#[cfg(feature = "typescript")]
pub trait Visitor {
    /// One row.
    fn row<O: ts_rs::TS + 'static, R: ts_rs::TS + 'static>(&mut self, name: &str);
}

/// A table: a function that does what a name says, with options as JSON, and one that shows the types. `None` is no such name.
#[macro_export]
macro_rules! calls {
    (
        $(#[$documentation:meta])* $function:ident($($progress:ident)?), $types:ident {
            $($name:literal: |$options:tt: $input:ty| -> $output:ty $body:block)*
        }
    ) => {
        $(#[$documentation])*
        pub fn $function(
            name: &str, options: &str $(, $progress: $crate::call::Progress<'_>)?
        ) -> Option<$crate::error::Result<String>> {
            match name {
                $($name => Some($crate::call::answer(name, options, |$options: $input| -> $crate::error::Result<$output> { $body })),)*
                _ => None,
            }
        }

        /// Shows every row.
        #[cfg(feature = "typescript")]
        pub fn $types(visitor: &mut impl $crate::call::Visitor) {
            $(visitor.row::<$input, $output>($name);)*
        }
    };
}

/// Nothing but whether it was done.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
pub struct Done {
    /// None: it was.
    pub error: Option<Error>,
}

impl From<Result<()>> for Done {
    fn from(result: Result<()>) -> Self {
        Self { error: result.err() }
    }
}

calls! {
    /// A workload.
    workload(progress), workloads {
        "aio-rounds": |o: aio_rounds::Options| -> aio_rounds::Outcome { Ok(aio_rounds::run(&o)) }
        "aio-stress": |o: aio_stress::Options| -> aio_stress::Outcome { Ok(aio_stress::run(&o, progress)) }
        "check-blocks": |o: segments::Blocks| -> Option<Box<Finding>> {
            Ok(segments::check_blocks(&o.path, o.block_bytes, o.blocks, o.pattern()).err())
         }
        "copy": |o: copy::Options| -> copy::Outcome { Ok(copy::copy(&o, progress)) }
        "dio-limits": |o: dio_limits::Options| -> dio_limits::Outcome { Ok(dio_limits::run(&o)) }
        "dirty-free-blocks": |o: dirty::Options| -> Done { Ok(dirty::dirty_free_blocks(&o.path, o.bytes, o.seed).into()) }
        "fill": |o: fill::Options| -> Done { Ok(fill::fill(&o.path, o.bytes, o.key).into()) }
        "fork-dma": |o: fork_dma::Options| -> fork_dma::Outcome { Ok(fork_dma::run(&o)) }
        "fsx": |o: fsx::Request| -> fsx::Report { Ok(fsx::run_and_report(o, progress)) }
        "invalidate": |o: invalidate::Options| -> invalidate::Outcome { Ok(invalidate::run(&o)) }
        "mmap-fork": |o: mmap_fork::Options| -> mmap_fork::Outcome { Ok(mmap_fork::run(&o)) }
        "races": |o: races::Options| -> races::Outcome { Ok(races::run(&o)) }
        "readers": |o: readers::Options| -> readers::Outcome { Ok(readers::race(&o)) }
        "segments": |o: segments::Options| -> segments::Outcome { Ok(segments::run(&o, |done| progress(done.into()))) }
        "short-read": |o: short_read::Options| -> short_read::Outcome { Ok(short_read::run(&o, progress)) }
        "signal-stress": |o: signal_stress::Options| -> signal_stress::Outcome { Ok(signal_stress::run(&o, progress)) }
        "unwritten": |o: unwritten::Options| -> unwritten::Outcome { Ok(unwritten::run(&o)) }
        "verify": |o: verify::Options| -> verify::Outcome { Ok(verify::verify(&o)) }
        "verify-expected": |o: expectation::Options| -> verify::Outcome { Ok(expectation::verify(&o)) }
        "write-blocks": |o: segments::Blocks| -> Done {
            Ok(segments::write_blocks(&o.path, o.block_bytes, o.blocks, o.pattern()).into())
         }
    }
}

calls! {
    /// A fact, or what takes no time.
    fact(), facts {
        "attach-loop": |o: loop_device::Options| -> loop_device::Outcome { Ok(loop_device::attach(&o).into()) }
        "extents": |(path, offset, bytes, max): (PathBuf, u64, u64, usize)| -> Option<Vec<Extent>> {
            extents::extents(&path, offset..offset.saturating_add(bytes), max)
        }
        "flush-device": |device: PathBuf| -> Option<Error> { Ok(mount::flush_device(&device).err()) }
        "forget-expectations": |(): ()| -> () {
            expectation::forget_all();
            Ok(())
        }
        "fork-dma-workers-max": |(): ()| -> usize { Ok(fork_dma::workers_max()) }
        "has-room": |(directory, bytes): (PathBuf, u64)| -> bool { Ok(dirty::has_room(&directory, bytes).unwrap_or(false)) }
        "limits": |(): ()| -> Limits { Ok(limits::current()) }
        "mount": |mount: Mount| -> Option<Error> { Ok(mount::mount(&mount).err()) }
        "probe-direct": |path: PathBuf| -> Option<Error> { Ok(segments::probe_direct(&path).err()) }
        "query-record": |query: recorder::Query| -> recorder::Answer { Ok(recorder::answer(&query)) }
        "races": |(): ()| -> &'static [races::Race] { Ok(races::TABLE) }
        "stale-disk-file": |(): ()| -> u32 { Ok(stamp::STALE_DISK_FILE) }
        "storage": |directory: PathBuf| -> Storage { storage::storage(&directory) }
        "unmount": |(target, milliseconds): (PathBuf, u32)| -> Option<Error> {
            Ok(mount::unmount(&target, Duration::from_millis(milliseconds.into())).err())
        }
    }
}
