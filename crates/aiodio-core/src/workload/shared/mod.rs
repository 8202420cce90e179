//! What several workloads have in common, none of which is one.
//!
//! | module | what it is |
//! |---|---|
//! | [`pattern`] | what the bytes are |
//! | `gate` | where threads wait for each other, and for none that has panicked |
//! | [`overlap`] | whether both sides of a race were under way at once |
//! | [`finding`] | what should not be, in one shape |
//! | [`scribble`] | changes memory while the kernel reads it |
//! | [`dirty`] | leaves recognisable old data in free blocks |

pub mod dirty;
pub mod finding;
pub(crate) mod gate;
pub mod overlap;
pub mod pattern;
pub mod scribble;
