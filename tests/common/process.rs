//! Questions about processes, answered by `/proc`, and signals.

use std::fs;
use std::io;

/// A process number, as the kernel counts them.
pub(crate) type Pid = libc::pid_t;

/// Whether `pid` runs. A zombie, which has ended and only waits for its parent, does not.
pub(crate) fn alive(pid: Pid) -> bool {
    stat(pid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// The living processes that belong to the agent named `id`, as `pid: command line`: those that
/// carry the id in their environment, their command line or their working directory.
pub(crate) fn leftovers(id: &str) -> Vec<String> {
    assert!(!id.is_empty(), "every process carries the empty name");
    pids().filter(|&pid| alive(pid) && carries(pid, id)).map(describe).collect()
}

/// All processes below `ancestor`, zombies among them.
pub(crate) fn below(ancestor: Pid) -> Vec<Pid> {
    pids().filter(|&pid| pid != ancestor && descends(pid, ancestor)).collect()
}

/// Whether `pid` is `ancestor` or descends from it.
pub(crate) fn descends(pid: Pid, ancestor: Pid) -> bool {
    let mut at = pid;
    while at > 1 {
        if at == ancestor {
            return true;
        }
        at = stat(at).map_or(0, |stat| stat.parent);
    }
    false
}

/// Sends `signal` to `pid`.
pub(crate) fn send(pid: Pid, signal: libc::c_int) -> io::Result<()> {
    assert!(pid > 1, "{pid} names a group, everything, or the first process");
    // SAFETY: kill takes two integers and touches no memory of this process.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

struct Stat {
    state: char,
    parent: Pid,
}

/// The fields of proc_pid_stat(5) that matter here; `None` when there is no such process.
fn stat(pid: Pid) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name stands in parentheses and may itself hold any character.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Stat { state, parent })
}

fn pids() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn carries(pid: Pid, id: &str) -> bool {
    let holds = |bytes: Vec<u8>| bytes.windows(id.len()).any(|part| part == id.as_bytes());
    let file = |name: &str| fs::read(format!("/proc/{pid}/{name}")).is_ok_and(holds);
    let cwd = fs::read_link(format!("/proc/{pid}/cwd"));
    file("environ") || file("cmdline") || cwd.is_ok_and(|dir| dir.to_string_lossy().contains(id))
}

fn describe(pid: Pid) -> String {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("{pid}: {}", String::from_utf8_lossy(&command).replace('\0', " "))
}
