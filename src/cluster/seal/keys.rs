//! The keys of a cluster, as a file holds them and as sealing uses them.
//!
//! Keys for gossip, of servers and of workers are put to work under different labels, so a key
//! that stands in two files by mistake still opens neither with the other. A worker's key follows
//! from a server's key and the worker's name, so a server knows the keys of all workers, and a
//! worker no other's. Nothing here shows a key; its id is a digest, and public.

use std::fmt;

use super::base64::{self, Wrong};
use super::crypto::{KEY_BYTES, Root};

/// Most keys in a file: enough for any rotation, and a bound for whoever tries them all.
pub const KEYS_MAX: usize = 8;

/// How long a key may be, in bytes: as those of Serf and of other programs with such files.
pub const KEY_LENGTHS: [usize; 3] = [16, 24, 32];

/// Length of a [`KeyId`].
pub const KEY_ID_BYTES: usize = 4;

/// What keys are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Datagrams, and streams between nodes that have nothing better.
    Gossip,
    /// Streams between servers.
    Server,
    /// Streams between a worker and servers.
    Worker,
}

impl Purpose {
    fn salt(self) -> &'static [u8] {
        match self {
            Purpose::Gossip => b"bellwether 1 gossip",
            Purpose::Server => b"bellwether 1 server",
            Purpose::Worker => b"bellwether 1 worker",
        }
    }
}

/// A key's public name: a digest of it, so `members` can show who sends with which.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct KeyId(pub [u8; KEY_ID_BYTES]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

/// One key.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: KeyId,
    pub(super) root: Root,
}

impl Key {
    fn new(secret: &[u8], purpose: Purpose) -> Key {
        let root = Root::extract(purpose.salt(), secret);
        Key { id: KeyId(root.derive("key id", &[])), root }
    }

    /// What the file of the worker `name` holds for this key of a server.
    fn secret_of_worker(&self, name: &str) -> [u8; KEY_BYTES] {
        self.root.derive("worker key", &[name.as_bytes()])
    }
}

/// The keys of one file: the first seals, each of them opens. So a key is changed in three steps:
/// it is added everywhere, then moved to the front everywhere, then the old one is removed.
#[derive(Clone)]
pub struct Keys {
    purpose: Purpose,
    first: Key,
    others: Vec<Key>,
}

impl Keys {
    /// Reads a file: one key a line in base64 (RFC 4648), with blank lines and `#` comments.
    ///
    /// # Errors
    /// Where the first mistake is, and what would be right there; never what stands there.
    pub fn parse(text: &str, purpose: Purpose) -> Result<Keys, KeysError> {
        let mut found: Vec<(usize, Key)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let written = line.split('#').next().unwrap_or_default();
            let start = written.len() - written.trim_start().len();
            let error =
                |at, mistake| KeysError { line: index + 1, column: start + at + 1, mistake };
            let written = written.trim();
            if written.is_empty() {
                continue;
            }
            let secret = base64::decode(written).map_err(|wrong| match wrong {
                Wrong::Symbol(at) => error(at, KeyMistake::Symbol),
                Wrong::End => error(written.len(), KeyMistake::End),
            })?;
            if !KEY_LENGTHS.contains(&secret.len()) {
                return Err(error(0, KeyMistake::Length(secret.len())));
            }
            let key = Key::new(&secret, purpose);
            if let Some((line, _)) = found.iter().find(|(_, other)| other.id == key.id) {
                return Err(error(0, KeyMistake::Twice(*line)));
            }
            if found.len() == KEYS_MAX {
                return Err(error(0, KeyMistake::TooMany));
            }
            found.push((index + 1, key));
        }
        let mut keys = found.into_iter().map(|(_, key)| key);
        match keys.next() {
            Some(first) => Ok(Keys { purpose, first, others: keys.collect() }),
            None => Err(KeysError { line: 1, column: 1, mistake: KeyMistake::None }),
        }
    }

    /// What they are for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The ids of all, the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.all().map(|key| key.id)
    }

    /// The line for the keys file of the worker `name`, without its end: what
    /// `bellwether keygen --worker` prints. It follows from the first of these keys.
    ///
    /// # Panics
    /// When these are not the keys of servers.
    pub fn worker_line(&self, name: &str) -> String {
        assert_eq!(self.purpose, Purpose::Server, "a worker's key follows from a server's");
        base64::encode(&self.first.secret_of_worker(name))
    }

    /// The key that seals.
    pub(super) fn first(&self) -> &Key {
        &self.first
    }

    /// The key that `id` names.
    pub(super) fn find(&self, id: KeyId) -> Option<&Key> {
        self.all().find(|key| key.id == id)
    }

    /// The key named `id` of the worker `name`, if it follows from one of these keys of servers.
    pub(super) fn find_of_worker(&self, name: &str, id: KeyId) -> Option<Key> {
        assert_eq!(self.purpose, Purpose::Server, "a worker's key follows from a server's");
        let mut all = self.all().map(|key| Key::new(&key.secret_of_worker(name), Purpose::Worker));
        all.find(|key| key.id == id)
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.purpose)?;
        self.ids().try_for_each(|id| write!(f, " {id}"))
    }
}

/// A new key as a line of a keys file, without its end, made of random bytes.
pub fn generate(random: [u8; KEY_BYTES]) -> String {
    base64::encode(&random)
}

/// What is wrong in a keys file. It never says what stands there: that may be half a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeysError {
    /// From 1.
    pub line: usize,
    /// The byte in the line, from 1.
    pub column: usize,
    /// What it is.
    pub mistake: KeyMistake,
}

/// A mistake in a keys file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyMistake {
    /// A character that is none of base64.
    Symbol,
    /// The line does not end where a key can end.
    End,
    /// So many bytes.
    Length(usize),
    /// The same key as in this line.
    Twice(usize),
    /// A key more than [`KEYS_MAX`].
    TooMany,
    /// No key at all.
    None,
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        match self.mistake {
            KeyMistake::Symbol => f.write_str(
                "a key is base64, of letters, digits, '+' and '/', and has another character here",
            ),
            KeyMistake::End => f.write_str(
                "a key in base64 is filled up with '=' to 24, 32 or 44 characters, and this is cut \
                 off or changed at its end",
            ),
            KeyMistake::Length(bytes) => {
                write!(f, "a key is 16, 24 or 32 bytes in base64, and this is {bytes}")
            }
            KeyMistake::Twice(line) => {
                write!(f, "each key is there once, and this is the one of line {line}")
            }
            KeyMistake::TooMany => {
                write!(f, "at most {KEYS_MAX} keys are used, and this is one more")
            }
            KeyMistake::None => {
                f.write_str("there must be a key, and `bellwether keygen` makes one")
            }
        }
    }
}

impl std::error::Error for KeysError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(byte: u8, length: usize) -> String {
        base64::encode(&vec![byte; length])
    }

    fn parsed(text: &str) -> Keys {
        Keys::parse(text, Purpose::Gossip).unwrap()
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let (old, new) = (line(1, 32), line(2, 16));
        let text = format!("# ours\n\n  {new}\t# since June\r\n{old}\n#{}", line(3, 24));
        let keys = parsed(&text);
        let ids: Vec<KeyId> = keys.ids().collect();
        assert_eq!(ids.len(), 2);
        assert_eq!(keys.first().id, parsed(&new).first().id);
        assert!(ids.iter().all(|&id| keys.find(id).is_some_and(|key| key.id == id)));
        assert!(keys.find(parsed(&line(3, 24)).first().id).is_none());
    }

    #[test]
    fn a_mistake_is_said_with_its_place_and_never_with_the_key() {
        let good = line(1, 32);
        let nine: String = (1..=9).map(|byte| line(byte, 32) + "\n").collect();
        for (text, line, column, start) in [
            ("", 1, 1, "there must be a key"),
            ("# nothing\n\n", 1, 1, "there must be a key"),
            ("\n  AAAA!AAA", 2, 7, "a key is base64, of letters"),
            ("AAAA AAAA", 1, 5, "a key is base64, of letters"),
            ("AAAAé", 1, 5, "a key is base64, of letters"),
            (&good[..43], 1, 44, "a key in base64 is filled up"),
            ("AAAA", 1, 1, "a key is 16, 24 or 32 bytes in base64, and this is 3"),
            (&format!("{good}\n\n {good}"), 3, 2, "each key is there once, and this is the one of"),
            (&nine, 9, 1, "at most 8 keys are used"),
        ] {
            let error = Keys::parse(text, Purpose::Gossip).unwrap_err();
            let said = error.to_string();
            let wanted = format!("line {line}, column {column}: {start}");
            assert!(said.starts_with(&wanted), "{text:?}: {said}");
            assert!(!said.contains("AAAA") && !said.contains(&good[..8]), "{said}");
        }
        let eight = nine.lines().take(KEYS_MAX).collect::<Vec<_>>().join("\n");
        assert_eq!(parsed(&eight).ids().count(), KEYS_MAX);
    }

    #[test]
    fn each_length_is_taken_and_no_other() {
        for length in 1..=40 {
            let read = Keys::parse(&line(9, length), Purpose::Server);
            assert_eq!(read.is_ok(), matches!(length, 16 | 24 | 32), "{length}");
        }
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let text = generate(*b"a secret of thirty-two bytes....");
        let keys = parsed(&text);
        let shown = format!("{keys:?} {:?} {}", keys.first().id, keys.first().id);
        assert!(format!("{keys:?}").starts_with("Gossip "), "{keys:?}");
        assert!(!shown.contains(&text[..6]) && !shown.contains("secret"), "{shown}");
        assert_eq!(keys.first().id.to_string().len(), 8);
    }

    #[test]
    fn one_secret_makes_unrelated_keys_for_each_purpose() {
        let text = generate([5; 32]);
        let id = |purpose| Keys::parse(&text, purpose).unwrap().first().id;
        let ids = [id(Purpose::Gossip), id(Purpose::Server), id(Purpose::Worker)];
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
    }

    #[test]
    fn a_server_knows_the_key_of_each_worker_by_its_name() {
        let (old, new) = (generate([1; 32]), generate([2; 32]));
        let servers = |text: &str| Keys::parse(text, Purpose::Server).unwrap();
        let of_worker = |line: &str| Keys::parse(line, Purpose::Worker).unwrap().first().clone();
        let before = servers(&old);
        let during = servers(&format!("{new}\n{old}"));
        let key = of_worker(&before.worker_line("w1"));
        let found = during.find_of_worker("w1", key.id).unwrap();
        assert_eq!(found.root.derive::<8>("x", &[]), key.root.derive::<8>("x", &[]));
        assert!(during.find_of_worker("w2", key.id).is_none(), "the key of another worker");
        assert!(servers(&new).find_of_worker("w1", key.id).is_none(), "the old key is removed");
        assert_eq!(during.worker_line("w1"), servers(&new).worker_line("w1"));
        assert_ne!(during.worker_line("w1"), before.worker_line("w1"));
    }

    #[test]
    #[should_panic(expected = "a worker's key follows from a server's")]
    fn a_worker_key_of_gossip_keys_is_a_broken_invariant() {
        parsed(&generate([1; 32])).worker_line("w1");
    }
}
