//! The primitives of sealing, and the only file of this room that names the crate behind them:
//! HKDF-SHA-256 (RFC 5869), ChaCha20-Poly1305 (RFC 8439), HMAC-SHA-256 (RFC 2104).
//!
//! A secret enters through [`Root::extract`] and is shown by nothing here.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::{hkdf, hmac};
use std::fmt;
use std::ops::Range;

use crate::codec::Encoder;

/// Length of the key of a [`Cipher`] and of most of what is derived.
pub(super) const KEY_BYTES: usize = 32;

/// Length of the mark by which a cipher knows that nothing was changed.
pub(super) const TAG_BYTES: usize = 16;

const NONCE_BYTES: usize = 12;

/// A secret from which others are derived, each under a label of its own.
#[derive(Clone)]
pub(super) struct Root(hkdf::Prk);

impl Root {
    /// The root of `secret`. Secrets that are used for different things differ in `salt`, and then
    /// have nothing in common even if they are the same.
    pub(super) fn extract(salt: &[u8], secret: &[u8]) -> Root {
        Root(hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret))
    }

    /// The secret for the purpose `label` in the given context. Each part goes in with its length,
    /// so two contexts are never spelled alike.
    pub(super) fn derive<const N: usize>(&self, label: &str, parts: &[&[u8]]) -> [u8; N] {
        let mut info = Encoder::new();
        info.str(label);
        for part in parts {
            info.bytes(part);
        }
        self.expand(&info.into_bytes())
    }

    fn expand<const N: usize>(&self, info: &[u8]) -> [u8; N] {
        let mut out = [0; N];
        let filled = self.0.expand(&[info], Length(N)).and_then(|okm| okm.fill(&mut out));
        assert!(filled.is_ok(), "no secret is longer than 255 digests");
        out
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Root")
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Seals bytes so that nobody without the key reads them or changes them unnoticed; or, without a
/// key, leaves them as they are.
pub(super) enum Cipher {
    /// No key: what goes in comes out.
    Clear,
    /// The key, with all that was prepared for it.
    Sealed(Box<LessSafeKey>),
}

impl Cipher {
    /// A cipher for `key`. It never prepares a counter's nonce for two texts: the callers count.
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Cipher {
        match UnboundKey::new(&CHACHA20_POLY1305, key) {
            Ok(key) => Cipher::Sealed(Box::new(LessSafeKey::new(key))),
            Err(_) => unreachable!("the array is as long as a key"),
        }
    }

    /// By how much sealing lengthens.
    pub(super) fn overhead(&self) -> usize {
        match self {
            Cipher::Clear => 0,
            Cipher::Sealed(_) => TAG_BYTES,
        }
    }

    /// Seals the bytes of `out` behind `header`, which is left readable and bound to them, and
    /// appends the tag. A `counter` serves once in the life of the key.
    pub(super) fn seal(&self, counter: u64, out: &mut Vec<u8>, header: Range<usize>) {
        let Cipher::Sealed(key) = self else { return };
        let (before, text) = out.split_at_mut(header.end);
        let header = Aad::from(&before[header]);
        match key.seal_in_place_separate_tag(nonce(counter), header, text) {
            Ok(tag) => out.extend_from_slice(tag.as_ref()),
            Err(_) => unreachable!("no text is near the cipher's 256 GiB"),
        }
    }

    /// Opens what [`Cipher::seal`] made of a text, in place; `None` when it did not, or not with
    /// this key, counter and header.
    pub(super) fn open<'a>(
        &self,
        counter: u64,
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        match self {
            Cipher::Clear => Some(sealed),
            Cipher::Sealed(key) => {
                key.open_in_place(nonce(counter), Aad::from(header), sealed).ok()
            }
        }
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cipher::Clear => "Clear",
            Cipher::Sealed(_) => "Sealed",
        })
    }
}

/// The counter as a number of 96 bits; the upper 32 stay zero (RFC 8439, section 2.8).
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_BYTES];
    bytes[NONCE_BYTES - 8..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Makes marks that only the holder of its secret can make.
pub(super) struct Marker(hmac::Key);

impl Marker {
    pub(super) fn new(secret: &[u8; KEY_BYTES]) -> Marker {
        Marker(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The first bytes of the mark of `text`.
    pub(super) fn mark<const N: usize>(&self, text: &[u8]) -> [u8; N] {
        let tag = hmac::sign(&self.0, text);
        let mut mark = [0; N];
        mark.copy_from_slice(&tag.as_ref()[..N]);
        mark
    }

    /// Whether two marks are the same. Their own marks are compared, in a time that does not
    /// depend on where they differ.
    pub(super) fn same(&self, a: &[u8], b: &[u8]) -> bool {
        hmac::verify(&self.0, a, hmac::sign(&self.0, b).as_ref()).is_ok()
    }
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marker")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
    }

    /// RFC 5869, appendix A.1 to A.3.
    #[test]
    fn secrets_are_derived_as_in_rfc_5869() {
        let up = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
        let first = Root::extract(&up(0, 12), &[0x0b; 22]);
        assert_eq!(
            first.expand::<42>(&up(0xf0, 0xf9)).to_vec(),
            hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf\
                 34007208d5b887185865")
        );
        let second = Root::extract(&up(0x60, 0xaf), &up(0, 0x4f));
        assert_eq!(
            second.expand::<82>(&up(0xb0, 0xff)).to_vec(),
            hex("b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c\
                 59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71\
                 cc30c58179ec3e87c14c01d5c1f3434f1d87")
        );
        let third = Root::extract(&[], &[0x0b; 22]);
        assert_eq!(
            third.expand::<42>(&[]).to_vec(),
            hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d\
                 9d201395faa4b61a96c8")
        );
    }

    /// RFC 8439, appendix A.5, whose nonce is four zero bytes and a counter, as ours.
    #[test]
    fn bytes_are_sealed_as_in_rfc_8439() {
        let key = hex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0");
        let cipher = Cipher::new(&key.try_into().unwrap());
        let counter = u64::from_le_bytes([1, 2, 3, 4, 5, 6, 7, 8]);
        let header = hex("f33388860000000000004e91");
        let text = "Internet-Drafts are draft documents valid for a maximum of six months and may \
                    be updated, replaced, or obsoleted by other documents at any time. It is \
                    inappropriate to use Internet-Drafts as reference material or to cite them \
                    other than as /“work in progress./”";
        let sealed = hex("64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2\
             4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf\
             332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855\
             9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4\
             b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e\
             af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a\
             0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10\
             49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29\
             a6ad5cb4022b02709beead9d67890cbb22392336fea1851f38");
        let mut out = [header.as_slice(), text.as_bytes()].concat();
        cipher.seal(counter, &mut out, 0..header.len());
        assert_eq!(out, [header.as_slice(), &sealed].concat());
        let opened = cipher.open(counter, &header, &mut out[12..]).map(|text| text.to_vec());
        assert_eq!(opened.as_deref(), Some(text.as_bytes()));
        assert_eq!(cipher.overhead(), sealed.len() - text.len());
    }

    #[test]
    fn what_is_derived_depends_on_the_label_and_on_where_a_part_ends() {
        let root = Root::extract(b"salt", b"secret");
        let derived = |label, parts: &[&[u8]]| root.derive::<16>(label, parts);
        let all = [
            derived("a", &[b"bc", b"d"]),
            derived("a", &[b"b", b"cd"]),
            derived("a", &[b"bcd"]),
            derived("ab", &[b"c", b"d"]),
            Root::extract(b"other", b"secret").derive("a", &[b"bc", b"d"]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}");
        }
    }

    #[test]
    fn equal_marks_are_the_same_and_no_others() {
        let marker = Marker::new(&[7; KEY_BYTES]);
        let mark = marker.mark::<8>(b"text");
        assert!(marker.same(&mark, &marker.mark::<8>(b"text")));
        assert!(!marker.same(&mark, &marker.mark::<8>(b"Text")));
        assert!(!marker.same(&mark, &mark[..7]));
        assert!(!marker.same(&mark, &Marker::new(&[8; KEY_BYTES]).mark::<8>(b"text")));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let root = Root::extract(b"salt", b"secret");
        let (cipher, marker) = (Cipher::new(&[7; KEY_BYTES]), Marker::new(&[7; KEY_BYTES]));
        assert_eq!(format!("{root:?} {cipher:?} {marker:?}"), "Root Sealed Marker");
    }
}
