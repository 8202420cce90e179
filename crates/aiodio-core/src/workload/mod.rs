//! What the testcases do, one file or folder a kind of work. Each ends by itself, checks every result of the kernel, and returns what it
//! found instead of stopping at it.
//!
//! | module | what it does | for |
//! |---|---|---|
//! | [`shared`] | what several of them have in common | |
//! | [`fill`] | writes a file full of stamps | whoever needs a file |
//! | [`copy`] | copies a file block by block, with many blocks in flight | aiocp |
//! | [`segments`] | writes a piece of a file and reads it back, again and again, maybe beside others | diotest1, 2, 3, 5, 6 |
//! | [`dio_limits`] | direct I/O that must fail, or must work in spite of everything | diotest4 |
//! | [`aio_rounds`] | rounds of asynchronous writes and reads | aio01, aio02 |
//! | [`fork_dma`] | reads directly while another thread forks | `dma_thread_diotest` |
//! | [`aio_stress`] | sequential and random transfers with many requests in flight, on several files, in several threads | aio-stress |
//! | [`fsx`] | random operations on one file, each compared with a model | fsx-linux |
//! | [`invalidate`] | direct writes beside other uses of the same pages | `dio_invalidate` |
//! | [`unwritten`] | asynchronous writes into space without data, read back at once | `aio_unwritten` |
//! | [`races`] | further races, in one table | `dio_races` |
//! | [`mmap_fork`] | writes directly from memory that changes meanwhile | `mmap_fork_dio` |
//! | [`signal_stress`] | random operations of many threads under a storm of signals | `aio_signal_stress` |
//! | [`short_read`] | buffered reads while the page cache is disturbed | `uring_short_read` |
//! | [`readers`] | reads a file while it is written, extended or truncated | `aiodio_sparse`, `dio_sparse`, `aiodio_append`, `dio_append`, `dio_truncate`, `dio_read` |

pub mod aio_rounds;
pub mod aio_stress;
pub mod copy;
pub mod dio_limits;
pub mod fill;
pub mod fork_dma;
pub mod fsx;
pub mod invalidate;
pub mod mmap_fork;
pub mod races;
pub mod readers;
pub mod segments;
pub mod shared;
pub mod short_read;
pub mod signal_stress;
pub mod unwritten;
