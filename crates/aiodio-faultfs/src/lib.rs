//! A filesystem in user space (FUSE) that stores files truly and, by a rule, lies: it proves that tests detect corruption and say
//! rightly what it is. Files lie in memory; nothing of it stays when the server's process ends.
//!
//! [`rule::TABLE`] lists the faults. A rule is written `FAULT[:KEY=VALUE]...`, like
//! `flip-bit:file=dstfile.bin:range=0x10000-0x20000:count=1:seed=7`; see [`Rule`] for the keys. Every fault that is applied is
//! counted and described ([`Client::fired`]), so that a fault that was not noticed can be told from one that never happened.
//!
//! | module | what it is the home of |
//! |---|---|
//! | [`rule`] | the table of faults; how rules are read and printed |
//! | `faults` | how rules change requests |
//! | `contents`, `tree` | what is stored, and its names |
//! | `filesystem` | the kernel's requests |
//! | [`server`] | mounting, serving, and the orders given to a server |
//! | [`call`] | the orders by name, with options and answers as JSON |
//! | `handover` | a file that goes to a server with an order |
//! | `watchdog` | a server dies before its mount goes |
//!
//! The kernel's page cache lies between a program and this filesystem. What is written through it stays in it, so a fault of what is
//! stored looks as on a real disk: good in the page cache, bad on the disk. Where a rule concerns what reads see, opening a file
//! drops its pages, so that buffered reads ask anew.
#![warn(missing_docs)]

pub mod call;
mod contents;
mod faults;
mod filesystem;
mod handover;
mod later;
mod random;
pub mod rule;
pub mod server;
mod store;
mod tree;
mod watchdog;

pub use faults::Fired;
pub use rule::{BadRule, Fault, Rule};
pub use server::{Client, Options, Report, serve};
