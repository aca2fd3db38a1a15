//! The two clocks, and the name of this start of the system.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::ident::BootId;
use crate::time::{Mono, Now, Wall};

/// Reads both clocks, one right after the other.
pub fn now() -> Now {
    Now { mono: mono(), wall: wall() }
}

/// The random id of this start of the system, cut to 64 bits.
///
/// # Errors
/// When /proc is not mounted or holds something else.
pub fn boot_id() -> io::Result<BootId> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    if digits.len() < 16 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the boot id has too few digits"));
    }
    u64::from_str_radix(&digits, 16)
        .map(BootId)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn mono() -> Mono {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec into `time`, which lives through the call.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    assert_eq!(answer, 0, "CLOCK_BOOTTIME is there since Linux 2.6.39");
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Mono(0) + Duration::new(seconds, nanos)
}

fn wall() -> Wall {
    let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => Wall(ms(after)),
        Err(before) => Wall(-ms(before.duration())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_go_forward_and_the_boot_id_stays() {
        let (first, second) = (now(), now());
        assert!(second.mono >= first.mono);
        assert!(first.mono > Mono(0));
        assert!(first.wall > Wall(1_700_000_000_000), "{first:?}");
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
    }
}
