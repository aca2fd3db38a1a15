//! What a node must never forget: who it is, how often it started, and what it promised.
//!
//! The file `hard` is two blocks of 4 KiB with a copy at the start of each, small enough for one
//! sector. Generation g goes to block g mod 2, so a write that is cut short leaves the copy
//! before it whole; the valid copy of the higher generation counts. Each copy (68 bytes,
//! little-endian): magic `bwhardst` (8), version (4), node id (4), cluster id (8), store id (8),
//! boot (8), promised epoch (8), promised to (4, 0 for nobody), zero (4), generation (8),
//! CRC-32 of all before it (4). The node drives it; nothing that depends on a [`Hard`] may leave
//! before [`HardFile::store`] has returned.

use super::error::{Damage, OpenError, Poison, WriteError};
use super::segment::{FORMAT_VERSION, Owner};
use super::storage::{Storage, StorageError, Stored, remove_if_there, replace};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{Boot, ClusterId, Epoch, NodeId, StoreId};

/// The file's name.
pub(crate) const HARD_FILE: &str = "hard";

const HARD_BESIDE: &str = "hard.tmp";
const MAGIC: [u8; 8] = *b"bwhardst";
const BLOCK_BYTES: u64 = 4096;
const COPY_BYTES: usize = 68;
const GENERATION_MAX: u64 = 1 << 62;

/// The state itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hard {
    /// The cluster; 0 before it is known.
    pub cluster: ClusterId,
    /// This data directory.
    pub store: StoreId,
    /// This node.
    pub node: NodeId,
    /// The newest start.
    pub boot: Boot,
    /// The highest epoch this node has promised to obey.
    pub promised_epoch: Epoch,
    /// Who has this node's vote in that epoch.
    pub promised_to: Option<NodeId>,
}

impl Hard {
    /// Whose the other files of the directory are.
    pub fn owner(&self) -> Owner {
        Owner { cluster: self.cluster, store: self.store }
    }
}

/// The file, once it has been read or made.
#[derive(Debug)]
pub struct HardFile {
    generation: u64,
    poison: Poison,
}

/// What [`HardFile::load`] found.
#[derive(Debug)]
pub struct Loaded {
    /// To store into.
    pub file: HardFile,
    /// The newest valid copy.
    pub hard: Hard,
    /// Whether the other copy was unreadable: most likely its write was cut short. When it had
    /// rotted and was the newer one, a promise that was answered is forgotten.
    pub other_copy_bad: bool,
}

/// The newest valid copy, as [`HardFile::read`] found it.
#[derive(Clone, Copy, Debug)]
pub struct HardCopy {
    generation: u64,
    /// The state itself.
    pub hard: Hard,
    /// As in [`Loaded`].
    pub other_copy_bad: bool,
}

impl HardFile {
    /// Makes the file with `hard` in both copies.
    ///
    /// # Errors
    /// [`OpenError::Exists`] when there is one, else [`OpenError::Storage`].
    pub fn create(storage: &mut dyn Storage, hard: &Hard) -> Result<Self, OpenError> {
        match storage.length(HARD_FILE) {
            Err(StorageError::NotFound) => {}
            Ok(_) => return Err(OpenError::Exists { file: HARD_FILE.to_owned() }),
            Err(error) => return Err(error.into()),
        }
        Ok(Self::write_anew(storage, hard, 0)?)
    }

    /// Reads the newest valid copy and makes it durable; `None` when there is no such file.
    ///
    /// # Errors
    /// [`OpenError::Damaged`] when no copy is valid, [`OpenError::Newer`] when a later program
    /// wrote either, [`OpenError::Storage`].
    pub fn load(storage: &mut dyn Storage) -> Result<Option<Loaded>, OpenError> {
        remove_if_there(storage, HARD_BESIDE)?;
        let Some(HardCopy { generation, hard, other_copy_bad }) = Self::read(storage)? else {
            return Ok(None);
        };
        // The newest copy may exist only in the page cache, and the next store goes over the
        // other one: a crash in it would leave neither. So both are made anew first.
        let file = Self::write_anew(storage, &hard, generation)?;
        Ok(Some(Loaded { file, hard, other_copy_bad }))
    }

    /// Reads the newest valid copy and changes nothing; `None` when there is no such file.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(storage: &dyn Storage) -> Result<Option<HardCopy>, OpenError> {
        let [even, odd] = [read_copy(storage, 0), read_copy(storage, 1)];
        if even == Err(StorageError::NotFound) {
            return Ok(None);
        }
        let copies = [even?, odd?];
        for copy in &copies {
            if let Slot::Newer(version) = *copy {
                return Err(OpenError::Newer { file: HARD_FILE.to_owned(), version });
            }
        }
        let (generation, hard) = match &copies {
            [Slot::Valid(a, even), Slot::Valid(b, odd)] => {
                if a > b {
                    (*a, *even)
                } else {
                    (*b, *odd)
                }
            }
            [Slot::Valid(generation, hard), Slot::Bad | Slot::Newer(_)]
            | [Slot::Bad | Slot::Newer(_), Slot::Valid(generation, hard)] => (*generation, *hard),
            [Slot::Bad | Slot::Newer(_), Slot::Bad | Slot::Newer(_)] => {
                let (file, what) = (HARD_FILE.to_owned(), "neither of its two copies is whole");
                return Err(Damage { file, offset: 0, what }.into());
            }
        };
        let other_copy_bad = copies.iter().any(|copy| matches!(copy, Slot::Bad));
        Ok(Some(HardCopy { generation, hard, other_copy_bad }))
    }

    /// Puts a file with two equal copies, of `generation` or a little higher, in place of any.
    fn write_anew(storage: &mut dyn Storage, hard: &Hard, generation: u64) -> Stored<Self> {
        let even = generation + generation % 2;
        let mut bytes = encode(hard, even);
        bytes.resize(BLOCK_BYTES as usize, 0);
        bytes.extend_from_slice(&encode(hard, even + 1));
        bytes.resize(2 * BLOCK_BYTES as usize, 0);
        replace(storage, HARD_BESIDE, HARD_FILE, &mut |storage| {
            storage.append(HARD_BESIDE, &bytes)
        })?;
        Ok(HardFile { generation: even + 1, poison: Poison::default() })
    }

    /// Makes `hard` durable: one write, one sync.
    ///
    /// # Errors
    /// A [`WriteError`]; the state before is still what a restart finds, or this one is.
    pub fn store(&mut self, storage: &mut dyn Storage, hard: &Hard) -> Result<(), WriteError> {
        self.poison.check()?;
        let generation = self.generation + 1;
        let bytes = encode(hard, generation);
        let written = storage
            .write_at(HARD_FILE, generation % 2 * BLOCK_BYTES, &bytes)
            .and_then(|()| storage.sync_data(HARD_FILE));
        written.map_err(|error| self.poison.judge(error))?;
        self.generation = generation;
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Slot {
    Valid(u64, Hard),
    Newer(u32),
    Bad,
}

fn read_copy(storage: &dyn Storage, block: u64) -> Stored<Slot> {
    let mut bytes = [0; COPY_BYTES];
    let read = storage.read_at(HARD_FILE, block * BLOCK_BYTES, &mut bytes)?;
    let copy = decode(bytes.get(..read).unwrap_or_default()).unwrap_or(Slot::Bad);
    Ok(match copy {
        // A copy in the other's place, or of a generation that no disk lives to see, was not
        // put there by a store.
        Slot::Valid(generation, _) if generation % 2 != block || generation > GENERATION_MAX => {
            Slot::Bad
        }
        Slot::Valid(..) | Slot::Newer(_) | Slot::Bad => copy,
    })
}

fn encode(hard: &Hard, generation: u64) -> Vec<u8> {
    let mut out = Encoder::new();
    out.raw(&MAGIC).u32(FORMAT_VERSION).u32(hard.node.get());
    out.u64(hard.cluster.0).u64(hard.store.0).u64(hard.boot.0).u64(hard.promised_epoch.0);
    out.u32(hard.promised_to.map_or(0, NodeId::get)).u32(0).u64(generation);
    let mut bytes = out.into_bytes();
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    assert!(bytes.len() == COPY_BYTES, "a copy has its fixed length");
    bytes
}

fn decode(bytes: &[u8]) -> Result<Slot, DecodeError> {
    let mut input = Decoder::new(bytes);
    let body = input.raw(COPY_BYTES - 4)?;
    if input.u32()? != crc32fast::hash(body) {
        return Ok(Slot::Bad);
    }
    let mut input = Decoder::new(body);
    if input.raw(MAGIC.len())? != MAGIC {
        return Ok(Slot::Bad);
    }
    let version = input.u32()?;
    if version > FORMAT_VERSION {
        return Ok(Slot::Newer(version));
    }
    let node = NodeId::new(input.u32()?).ok_or(DecodeError::Invalid("node id"))?;
    let hard = Hard {
        cluster: ClusterId(input.u64()?),
        store: StoreId(input.u64()?),
        node,
        boot: Boot(input.u64()?),
        promised_epoch: Epoch(input.u64()?),
        promised_to: NodeId::new(input.u32()?),
    };
    let _zero = input.u32()?;
    Ok(Slot::Valid(input.u64()?, hard))
}
