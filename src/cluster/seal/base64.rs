//! Base64 with the standard alphabet and padding, as keys are written (RFC 4648, section 4).
//!
//! One text for each byte string: what does not end where its bytes end is refused (section 3.5).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Why a text is no base64, without a word about what stands there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wrong {
    /// The byte here, counted from 0, is none of the alphabet, or padding before the end.
    Symbol(usize),
    /// The text does not end with a whole group of four.
    End,
}

/// `bytes` as text.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let symbol = ALPHABET[(word >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= group.len() { char::from(symbol) } else { '=' });
        }
    }
    text
}

/// The bytes of `text`.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, Wrong> {
    let symbols = text.trim_end_matches('=').as_bytes();
    let padding = text.len() - symbols.len();
    let mut bytes = Vec::with_capacity(symbols.len() / 4 * 3 + 2);
    let (mut word, mut bits) = (0_u32, 0);
    for (at, symbol) in symbols.iter().enumerate() {
        let value = ALPHABET.iter().position(|known| known == symbol).ok_or(Wrong::Symbol(at))?;
        word = word << 6 | value as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    // What is left over says how the last group must be filled up, and is zero.
    let is_whole = text.len().is_multiple_of(4) && padding <= 2 && bits < 6 && word == 0;
    if is_whole { Ok(bytes) } else { Err(Wrong::End) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648, section 10.
    #[test]
    fn the_published_texts_are_written_and_read() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text), Ok(bytes.as_bytes().to_vec()));
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Ok(all));
    }

    #[test]
    fn what_is_not_the_one_text_of_its_bytes_is_refused() {
        for (text, wrong) in [
            ("Zm9v!mFy", Wrong::Symbol(4)),
            ("Zm9-", Wrong::Symbol(3)),
            ("Zg==Zg==", Wrong::Symbol(2)),
            ("Zm9é", Wrong::Symbol(3)),
            ("Zm9 v", Wrong::Symbol(3)),
            ("Z", Wrong::End),
            ("Zg", Wrong::End),
            ("Zg=", Wrong::End),
            ("Zm8", Wrong::End),
            ("Zm9v=", Wrong::End),
            ("Zm9v====", Wrong::End),
            ("Z===", Wrong::End),
            ("====", Wrong::End),
            ("Zh==", Wrong::End),
            ("Zm9=", Wrong::End),
        ] {
            assert_eq!(decode(text), Err(wrong), "{text}");
        }
    }
}
