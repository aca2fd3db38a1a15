//! Bytes out and in, for the journal, the runs log and the launcher's frames.
//!
//! Integers are little-endian and of fixed width; texts and byte strings carry a `u32` length.
//! [`Decoder`] takes hostile input: it never reads beyond its slice, never allocates more than the
//! slice holds, and [`Decoder::finish`] refuses what is left over.

use std::fmt;

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// An empty encoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty encoder with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Encoder { bytes: Vec::with_capacity(bytes) }
    }

    /// What has been written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many bytes have been written.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes.push(value);
        self
    }

    /// One byte: 0 or 1.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Four bytes, two's complement.
    pub fn i32(&mut self, value: i32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Eight bytes, two's complement.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// A length and the bytes.
    ///
    /// # Panics
    /// When `value` is longer than 4 GiB; every caller has a far smaller limit of its own.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        assert!(u32::try_from(value.len()).is_ok(), "a field is limited long before 4 GiB");
        self.u32(value.len() as u32);
        self.raw(value)
    }

    /// A length and the text.
    pub fn str(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// A presence byte, then the value as `write` puts it.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) -> &mut Self {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
        self
    }

    /// A `u32` count, then each value as `write` puts it.
    ///
    /// # Panics
    /// When there are more than `u32::MAX` values.
    pub fn list<T>(
        &mut self,
        values: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        assert!(u32::try_from(values.len()).is_ok(), "a list is limited long before 2^32");
        self.u32(values.len() as u32);
        for value in values {
            write(self, value);
        }
        self
    }

    /// The bytes alone.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }
}

/// Why bytes could not be decoded. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// The bytes end inside a value.
    Short,
    /// Bytes are left after the last value.
    Trailing,
    /// A value is none of the allowed ones; says of what.
    Invalid(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Short => f.write_str("ends too early"),
            DecodeError::Trailing => f.write_str("has bytes after its end"),
            DecodeError::Invalid(what) => write!(f, "has an invalid {what}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Reads values from a slice, in the order in which an [`Encoder`] wrote them.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

type Decoded<T> = Result<T, DecodeError>;

impl<'a> Decoder<'a> {
    /// A decoder at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Decoder { rest: bytes }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`], here as in every method below.
    pub fn raw(&mut self, count: usize) -> Decoded<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    pub fn u8(&mut self) -> Decoded<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// One byte that is 0 or 1.
    pub fn bool(&mut self) -> Decoded<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid("truth value")),
        }
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Decoded<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Decoded<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Decoded<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Four bytes, two's complement.
    pub fn i32(&mut self) -> Decoded<i32> {
        self.array().map(i32::from_le_bytes)
    }

    /// Eight bytes, two's complement.
    pub fn i64(&mut self) -> Decoded<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// A length and that many bytes.
    pub fn bytes(&mut self) -> Decoded<&'a [u8]> {
        let length = self.u32()?;
        self.raw(length as usize)
    }

    /// A length and that many bytes of UTF-8.
    pub fn str(&mut self) -> Decoded<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Invalid("text"))
    }

    /// A presence byte, then the value as `read` takes it.
    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Decoded<T>) -> Decoded<Option<T>> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    /// A count, then that many values, each of which takes at least one byte: a count that the
    /// rest of the bytes cannot hold is refused before anything is allocated for it.
    pub fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Decoded<T>) -> Decoded<Vec<T>> {
        let count = self.u32()? as usize;
        if count > self.rest.len() {
            return Err(DecodeError::Short);
        }
        (0..count).map(|_| read(self)).collect()
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] when bytes are left.
    pub fn finish(self) -> Decoded<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut out = Encoder::new();
        out.u8(7).bool(true).u16(300).u32(70_000).u64(u64::MAX).i32(-5).i64(i64::MIN);
        out.bytes(b"\0\xff").str("é").option(Some(9), |out, value| {
            out.u8(value);
        });
        out.list([1u16, 2].into_iter(), |out, value| {
            out.u16(value);
        });
        out.into_bytes()
    }

    fn read_sample(bytes: &[u8]) -> Decoded<()> {
        let mut input = Decoder::new(bytes);
        assert_eq!(input.u8()?, 7);
        assert!(input.bool()?);
        assert_eq!(input.u16()?, 300);
        assert_eq!(input.u32()?, 70_000);
        assert_eq!(input.u64()?, u64::MAX);
        assert_eq!(input.i32()?, -5);
        assert_eq!(input.i64()?, i64::MIN);
        assert_eq!(input.bytes()?, b"\0\xff");
        assert_eq!(input.str()?, "é");
        assert_eq!(input.option(Decoder::u8)?, Some(9));
        assert_eq!(input.list(Decoder::u16)?, [1, 2]);
        input.finish()
    }

    #[test]
    fn what_was_written_is_read_and_every_shorter_prefix_is_refused() {
        let bytes = sample();
        assert_eq!(read_sample(&bytes), Ok(()));
        for end in 0..bytes.len() {
            assert_eq!(read_sample(&bytes[..end]), Err(DecodeError::Short), "{end} bytes");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(read_sample(&longer), Err(DecodeError::Trailing));
    }

    #[test]
    fn hostile_values_are_refused() {
        assert_eq!(Decoder::new(&[2]).bool(), Err(DecodeError::Invalid("truth value")));
        assert_eq!(Decoder::new(&[1, 0, 0, 0, 0xff]).str(), Err(DecodeError::Invalid("text")));
        let huge = [0xff, 0xff, 0xff, 0xff, 1, 2, 3];
        assert_eq!(Decoder::new(&huge).list(Decoder::u8), Err(DecodeError::Short));
        assert_eq!(Decoder::new(&huge).bytes(), Err(DecodeError::Short));
    }
}
