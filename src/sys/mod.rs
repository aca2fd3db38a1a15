//! The operating system: the only room that names `libc`, and the only one with `unsafe`.
//!
//! One wrapper for each system call, in which integers from the kernel become types at once and
//! every `unsafe` block says why no argument can make it unsound. It knows no noun of the domain:
//! no job, no run, no agent. The shells above drive it; nothing here keeps a state of its own but
//! the descriptor limit that the process was started with.

pub mod clock;
mod direct;
mod errno;
pub mod file;
pub mod limits;
pub mod notify;
pub mod pidfd;
pub mod process;
pub mod random;
pub mod signal;
pub mod socket_owner;
pub mod spawn;
pub mod timerfd;
pub mod unix_socket;
pub mod user;

pub use errno::EAGAIN;
