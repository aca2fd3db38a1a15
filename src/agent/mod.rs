//! The agent: one loop that owns the node and gives it the world.
//!
//! Sockets, timers, signals, the launcher and the disk thread become inputs of the node; its
//! effects are carried out here. Makes no decision about cluster, schedule or runs, and never
//! waits for a disk.

mod boot;
mod conns;
mod disk;
mod event_loop;
mod group;
mod link;
mod log;
mod open;
mod read;
mod space;
mod storage;
mod watch;
mod zones;

pub(crate) use boot::{GENESIS, LOCK, SEGMENT_BYTES, UNFINISHED};
pub(crate) use storage::{FileStorage, ReadStorage};
pub use zones::{FileZones, ZONE_DIR, system_zone};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::api::Role;
use crate::node::Level;
use crate::sys::process;

/// How an agent behaves. Made and checked by the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Where everything is kept; made if it isn't there.
    pub data_dir: PathBuf,
    /// Where the API listens, beside the Unix socket `api.sock` in the data directory.
    pub http_addrs: Vec<SocketAddr>,
    /// Further names of this node in `Host`, lower case.
    pub http_hosts: Vec<String>,
    /// What anyone may do who reaches a TCP address; `None` asks for root or the agent's own user.
    pub anonymous: Option<Role>,
    /// The node's name.
    pub node_name: String,
    /// Its tags, in order of key.
    pub tags: Vec<(String, String)>,
    /// The zone of a job that names none; the system's when `None`.
    pub timezone: Option<String>,
    /// The least of what is logged.
    pub log_level: Level,
    /// Whether log lines are JSON objects.
    pub log_json: bool,
    /// Most runs with a process at once.
    pub running_max: usize,
    /// Most connections to the API.
    pub connections_max: usize,
    /// Bytes of journal after which a snapshot is due, if the last one isn't larger.
    pub snapshot_bytes: u64,
    /// Bytes of the ballast, and of what is kept free beside it for fires and ends of runs; 0 for
    /// neither.
    pub ballast_bytes: u64,
    /// How long a stop may take before it is cut short.
    pub leave_timeout: Duration,
    /// Lines to warn of at the start, from reading the settings.
    pub warnings: Vec<String>,
}

/// Runs an agent until it is told to stop. Why it could not start, or had to end, is said on
/// standard error. To be called by a process that has one thread.
pub fn run(settings: &Settings) -> ExitCode {
    // A wish: on a kernel that does not know it, jobs start later on a busy machine.
    let _ = process::ask_for_short_turns();
    let mut log = log::Log::new(settings.log_level, settings.log_json);
    for warning in &settings.warnings {
        log.say(Level::Warn, "setting", vec![("warning", warning.clone())]);
    }
    match event_loop::Agent::start(settings, log) {
        Ok(mut agent) => agent.run(),
        Err((mut log, why)) => {
            log.say(Level::Error, "cannot start", vec![("why", why)]);
            ExitCode::FAILURE
        }
    }
}
