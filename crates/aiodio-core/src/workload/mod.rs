//! What the testcases do, one file a kind of work. Each ends by itself, checks every result of the kernel, and returns what it
//! found instead of stopping at it.
//!
//! | module | what it does | for |
//! |---|---|---|
//! | [`pattern`] | what the bytes are | all of them |
//! | [`segments`] | writes a piece of a file and reads it back, again and again, maybe beside others | diotest1, 2, 3, 5, 6 |
//! | [`dio_limits`] | direct I/O that must fail, or must work in spite of everything | diotest4 |
//! | [`aio_rounds`] | rounds of asynchronous writes and reads | aio01, aio02 |
//! | [`fork_dma`] | reads directly while another thread forks | `dma_thread_diotest` |
//! | [`aio_stress`] | sequential and random transfers with many requests in flight, on several files, in several threads | aio-stress |
//! | [`fsx`] | random operations on one file, each compared with a model | fsx-linux |
//! | `gate` | where threads wait for each other, and for none that has panicked | what has threads |
//! | `overlap` | whether both sides of a race were under way at once | the races below |
//! | [`trouble`] | what races bring to light, in one shape | the races below |
//! | [`scribble`] | changes memory while the kernel reads it | `mmap_fork_dio` |
//! | [`invalidate`] | direct writes beside other uses of the same pages | `dio_invalidate` |
//! | [`unwritten`] | asynchronous writes into space without data, read back at once | `aio_unwritten` |
//! | [`races`] | further races, in one table | `dio_races` |
//! | [`mmap_fork`] | writes directly from memory that changes meanwhile | `mmap_fork_dio` |
//! | [`stress`] | random operations of many threads under a storm of signals | `aio_signal_stress` |
//! | [`short_read`] | buffered reads while the page cache is disturbed | `uring_short_read` |
//! | [`dirty`] | leaves recognisable old data in free blocks | the race family |
//! | [`race`] | reads a file while it is written, extended or truncated | `aiodio_sparse`, `dio_sparse`, `aiodio_append`, `dio_append`, `dio_truncate`, `dio_read` |

pub mod aio_rounds;
pub mod aio_stress;
pub mod dio_limits;
pub mod dirty;
pub mod fork_dma;
pub mod fsx;
mod gate;
pub mod invalidate;
pub mod mmap_fork;
mod overlap;
pub mod pattern;
pub mod race;
pub mod races;
pub mod scribble;
pub mod segments;
pub mod short_read;
pub mod stress;
pub mod trouble;
pub mod unwritten;
