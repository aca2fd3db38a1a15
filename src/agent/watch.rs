//! Processes that are not our children, watched until they end.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::run::order::Process;
use crate::sys::pidfd::PidFd;
use crate::sys::process::{self, Pid};

/// The first token of a watch; there are fewer than a million.
pub(super) const FIRST_TOKEN: usize = 1 << 10;
/// Most watches at once.
const WATCHES_MAX: usize = 16_384;

/// The watched processes.
#[derive(Debug, Default)]
pub(super) struct Watches {
    watched: BTreeMap<Token, (PidFd, Process)>,
    next: usize,
}

impl Watches {
    /// Watches a process. False when it has ended already, or cannot be watched: then nothing
    /// more can be learnt of it, which for its run is the same.
    pub(super) fn add(&mut self, process: Process, registry: &Registry) -> bool {
        let Some(pid) = Pid::new(process.pid) else { return false };
        let Ok(Some(held)) = PidFd::open(pid) else { return false };
        // The number may have come to mean another process; the start time tells.
        let alive = process::is_alive(process.pid, process.start_ticks, process.boot);
        if !matches!(alive, Ok(true)) || self.watched.len() >= WATCHES_MAX {
            return false;
        }
        let token = self.free_token();
        let fd = held.as_fd().as_raw_fd();
        if registry.register(&mut SourceFd(&fd), token, Interest::READABLE).is_err() {
            return false;
        }
        self.watched.insert(token, (held, process));
        true
    }

    /// The process behind `token`, which has ended; it is watched no more.
    pub(super) fn take(&mut self, token: Token, registry: &Registry) -> Option<Process> {
        let (held, process) = self.watched.remove(&token)?;
        let fd = held.as_fd().as_raw_fd();
        // Closing the descriptor would do; a failure here changes nothing.
        let _ = registry.deregister(&mut SourceFd(&fd));
        Some(process)
    }

    fn free_token(&mut self) -> Token {
        loop {
            self.next = (self.next + 1) % (2 * WATCHES_MAX);
            let token = Token(FIRST_TOKEN + self.next);
            if !self.watched.contains_key(&token) {
                return token;
            }
        }
    }
}
