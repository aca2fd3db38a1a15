//! Random numbers of the kernel (getrandom(2)).

use std::io;

use super::errno;

/// Fills `buffer`; blocks only in the first moments of a system's start.
///
/// # Errors
/// Those of getrandom(2): none on a kernel since 3.17.
pub fn fill(buffer: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        done += errno::retry(|| {
            // SAFETY: the kernel writes at most `rest.len()` bytes into `rest`.
            errno::check_count(unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) })
        })?;
    }
    Ok(())
}

/// 64 random bits.
///
/// # Errors
/// Those of [`fill`].
pub fn u64() -> io::Result<u64> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// 32 random bits.
///
/// # Errors
/// Those of [`fill`].
pub fn u32() -> io::Result<u32> {
    let mut bytes = [0; 4];
    fill(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_differ_and_a_large_buffer_is_filled_to_its_end() {
        assert_ne!(super::u64().unwrap(), super::u64().unwrap());
        let mut buffer = vec![0; 4_096];
        super::fill(&mut buffer).unwrap();
        assert!(buffer[4_000..].iter().any(|&byte| byte != 0));
        super::fill(&mut []).unwrap();
    }
}
