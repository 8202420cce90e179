//! The I/O core of `aiodio-ltp`: it writes files that cannot be mistaken for one another, moves them with the kernel's
//! asynchronous and direct I/O, and says exactly what is wrong with the bytes that come back.
//!
//! | module | what it is the home of |
//! |---|---|
//! | [`buffer`] | memory with a deliberate alignment, owned by one holder at a time |
//! | [`engine`] | submission and completion; everything the kernel may do short of the plain success |
//! | [`stamp`] | what a sector on the disk looks like |
//! | [`oracle`] | what each byte of a file may be, given what was done to it and when |
//! | `sys` | plain system calls on files: recorded, made again when interrupted, gone on with when short; mappings, ioctl, children |
//! | [`recorder`] | the flight recorder: every operation, in a file that outlives the process |
//! | [`verify`] | what is wrong with a file, and how |
//! | [`workload`] | the workloads, one file or folder each |
//! | [`random`] | random numbers that a seed repeats |
//! | [`extents`] | where a file's bytes are on the disk, and in which state |
//! | [`storage`], [`limits`] | facts about the filesystem, its device and the kernel |
//! | [`loop_device`], [`mount`] | filesystems made for a test |
//! | [`error`] | the one shape of a failure |
//! | [`call`] | all of this by name, with options and outcomes as JSON, and the types of both for TypeScript |
//! | [`expectation`] | what files should be, kept for who has only JSON |
//! | [`json`] | how single values are JSON |
//!
//! It knows nothing of Node and prints nothing, except one line on stderr when memory has to be leaked (see
//! [`engine::Queue`]).
#![warn(missing_docs)]

pub mod buffer;
pub mod call;
pub mod engine;
pub mod error;
pub mod expectation;
pub mod extents;
pub mod json;
pub mod limits;
pub mod loop_device;
pub mod mount;
pub mod oracle;
pub mod random;
pub mod recorder;
pub mod stamp;
pub mod storage;
mod sys;
pub mod verify;
pub mod workload;
