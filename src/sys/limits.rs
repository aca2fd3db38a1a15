//! The limit on open descriptors: raised for ourselves, given back to children.

use std::io;
use std::sync::OnceLock;

use super::{direct, errno};

/// What the soft limit is raised to, unless the hard limit is lower. More would only make scans
/// over all descriptors slow.
pub const DESCRIPTORS_MAX: u64 = 65_536;

/// A resource limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// What is enforced.
    pub soft: u64,
    /// How far the soft limit may be raised.
    pub hard: u64,
}

static ORIGINAL: OnceLock<Limit> = OnceLock::new();

/// Raises the soft limit on descriptors to min(hard, [`DESCRIPTORS_MAX`]), never lowers it, and
/// remembers what it was before the first call. Returns the limit that now holds.
///
/// # Errors
/// Those of getrlimit(2) and setrlimit(2).
pub fn raise_descriptors() -> io::Result<Limit> {
    let before = descriptors()?;
    ORIGINAL.get_or_init(|| before);
    let after = Limit { soft: before.soft.max(before.hard.min(DESCRIPTORS_MAX)), ..before };
    if after != before {
        set_descriptors(after)?;
    }
    Ok(after)
}

/// The limit with which this process was started: for its children.
///
/// # Errors
/// Those of getrlimit(2).
pub fn original_descriptors() -> io::Result<Limit> {
    ORIGINAL.get().map_or_else(descriptors, |&limit| Ok(limit))
}

/// The limit that holds now.
///
/// # Errors
/// Those of getrlimit(2).
pub fn descriptors() -> io::Result<Limit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit into `limit`, which lives through the call.
    errno::check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    Ok(Limit { soft: limit.rlim_cur, hard: limit.rlim_max })
}

/// Sets the limit of this process.
///
/// # Errors
/// Those of setrlimit(2).
pub fn set_descriptors(limit: Limit) -> io::Result<()> {
    set_directly(limit).map_err(io::Error::from_raw_os_error)
}

/// The same for a child before its execve(2): takes no memory and no errno(3).
pub(super) fn set_directly(limit: Limit) -> Result<(), i32> {
    let limit = [limit.soft, limit.hard];
    // SAFETY: the kernel reads two numbers from `limit`, which lives through the call.
    unsafe { prlimit(limit.as_ptr().expose_provenance(), 0) }
}

/// How many descriptors a child may have before its execve(2): takes no memory and no errno(3).
pub(super) fn soft_directly() -> Result<u64, i32> {
    let mut limit = [0_u64; 2];
    // SAFETY: the kernel writes two numbers into `limit`, which lives through the call.
    unsafe { prlimit(0, limit.as_mut_ptr().expose_provenance()) }?;
    Ok(limit[0])
}

/// prlimit(2) of this process, with a limit to set, or 0, and where to put the one that was, or 0.
///
/// # Safety
/// Both are 0 or the address of two `u64`.
unsafe fn prlimit(new: usize, old: usize) -> Result<(), i32> {
    let args = [0, libc::RLIMIT_NOFILE as usize, new, old, 0];
    // SAFETY: the caller's promise is the same.
    unsafe { direct::call(libc::SYS_prlimit64, args) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_once_and_the_original_is_remembered() {
        let original = original_descriptors().unwrap();
        let raised = raise_descriptors().unwrap();
        assert_eq!(raised.soft, original.soft.max(original.hard.min(DESCRIPTORS_MAX)));
        assert_eq!(raise_descriptors().unwrap(), raised);
        assert_eq!(original_descriptors().unwrap(), original);
    }
}
