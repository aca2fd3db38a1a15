//! The one snapshot: a file of opaque chunks that stands for all records up to an index.
//!
//! | at | bytes | field |
//! |---:|------:|-------|
//! |  0 | 12 | magic `bwsnapsh`, version (as in [`super::segment`]) |
//! | 12 | 4 | chain of the last record it stands for |
//! | 16 | 16 | cluster id, store id |
//! | 32 | 16 | index and epoch of that record |
//! | 48 | 8 | 0 |
//! | 56 | 4 | flags: 1 = came from a peer, and may stand in place of the log it found |
//! | 60 | 4 | CRC-32 of bytes 0–59 |
//! | 64 | … | chunks: crc (4), length (4, from 1 to [`CHUNK_MAX_BYTES`]), bytes |
//! | end | 56 | trailer: crc (4), 0 (4), chunks (8), sum of their lengths (8), digest (32) |
//!
//! The digest is the SHA-256 of what the chunks hold, one behind the other.
//!
//! Each crc is the CRC-32 of the whole file up to the end of its own chunk, with all crcs left
//! out; so the trailer's covers everything. The file is written beside the old one in steps,
//! synced, read back and verified before it takes the name.

use super::digest::Hasher;
use super::error::{Damage, OpenError};
use super::frame::{INDEX_MAX, Seam};
use super::segment::{FILE_HEADER_BYTES, FORMAT_VERSION, Owner, open_sealed, read_start, seal};
use super::storage::{Storage, StorageError, Stored, remove_if_there};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{ClusterId, DIGEST_BYTES, Digest, Epoch, Index, StoreId};

/// Longest chunk, in bytes; also the most that one step writes or verifies.
pub const CHUNK_MAX_BYTES: usize = 704 * 1024;

/// The snapshot's name.
pub(crate) const SNAPSHOT_FILE: &str = "snapshot";
/// Where it is written before it gets its name.
pub(crate) const SNAPSHOT_BESIDE: &str = "snapshot.tmp";

const MAGIC: [u8; 8] = *b"bwsnapsh";
const FLAG_PEER: u32 = 1;
const CHUNK_HEADER_BYTES: usize = 8;
const TRAILER_BYTES: usize = 24 + DIGEST_BYTES;
/// Written bytes after which a snapshot is synced on the way, so that its last sync is short.
const SYNC_EVERY_BYTES: u64 = 8 * 1024 * 1024;

/// What a snapshot stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotMeta {
    /// The last record it contains.
    pub seam: Seam,
    /// Where it is from.
    pub origin: Origin,
}

/// Where a snapshot is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Made from this journal, whose records it must match.
    Own,
    /// Sent by the leader; a log without a record that matches it is replaced by it.
    Peer,
}

/// A snapshot that is being written. After an error it is of no more use.
#[derive(Debug)]
pub(crate) struct SnapshotWriter {
    meta: SnapshotMeta,
    owner: Owner,
    crc: u32,
    length: u64,
    synced: u64,
    chunks: u64,
    payload: u64,
    hasher: Hasher,
    digest: Digest,
    verify: Option<SnapshotReader>,
}

impl SnapshotWriter {
    /// Begins anew beside the snapshot there is.
    pub(crate) fn begin(
        storage: &mut dyn Storage,
        owner: Owner,
        meta: SnapshotMeta,
    ) -> Stored<Self> {
        remove_if_there(storage, SNAPSHOT_BESIDE)?;
        storage.create_new(SNAPSHOT_BESIDE)?;
        let header = encode_header(owner, &meta);
        storage.append(SNAPSHOT_BESIDE, &header)?;
        let (crc, length) = (header_crc(&header), header.len() as u64);
        Ok(SnapshotWriter {
            meta,
            owner,
            crc,
            length,
            synced: 0,
            chunks: 0,
            payload: 0,
            hasher: Hasher::new(),
            digest: Digest::default(),
            verify: None,
        })
    }

    pub(crate) fn meta(&self) -> SnapshotMeta {
        self.meta
    }

    /// The length of the file so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The SHA-256 of what the chunks hold, once the end was begun.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// Writes one chunk.
    ///
    /// # Panics
    /// When it is empty or longer than [`CHUNK_MAX_BYTES`], or follows the end.
    pub(crate) fn chunk(&mut self, storage: &mut dyn Storage, bytes: &[u8]) -> Stored<()> {
        assert!((1..=CHUNK_MAX_BYTES).contains(&bytes.len()), "a chunk of {} bytes", bytes.len());
        assert!(self.verify.is_none(), "a chunk after the end");
        let mut body = Encoder::new();
        body.bytes(bytes);
        self.chunks += 1;
        self.payload += bytes.len() as u64;
        self.hasher.update(bytes);
        self.put(storage, body)?;
        if self.length - self.synced >= SYNC_EVERY_BYTES {
            storage.sync_data(SNAPSHOT_BESIDE)?;
            self.synced = self.length;
        }
        Ok(())
    }

    /// Goes on with the end: the trailer and a sync first, then reading back at most
    /// [`CHUNK_MAX_BYTES`] a step, or one chunk. Returns whether all of it is verified.
    pub(crate) fn finish_step(&mut self, storage: &mut dyn Storage) -> Result<bool, OpenError> {
        let Some(reader) = &mut self.verify else {
            let mut body = Encoder::new();
            self.digest = self.hasher.clone().finish();
            body.u32(0).u64(self.chunks).u64(self.payload).raw(&self.digest);
            self.put(storage, body)?;
            storage.sync_data(SNAPSHOT_BESIDE)?;
            self.verify = Some(SnapshotReader::open(storage, SNAPSHOT_BESIDE, self.owner)?);
            return Ok(false);
        };
        let start = reader.offset;
        while reader.offset - start < CHUNK_MAX_BYTES as u64 {
            if reader.next_chunk(storage)?.is_none() {
                let same = reader.crc == self.crc && reader.meta == self.meta;
                let what = "it is not what was written";
                let damage = Damage { file: SNAPSHOT_BESIDE.to_owned(), offset: 0, what };
                return if same { Ok(true) } else { Err(damage.into()) };
            }
        }
        Ok(false)
    }

    fn put(&mut self, storage: &mut dyn Storage, body: Encoder) -> Stored<()> {
        let body = body.into_bytes();
        self.crc = continued(self.crc, &body);
        let mut frame = Encoder::new();
        frame.u32(self.crc).raw(&body);
        let frame = frame.into_bytes();
        storage.append(SNAPSHOT_BESIDE, &frame)?;
        self.length += frame.len() as u64;
        Ok(())
    }
}

/// Reads a snapshot chunk by chunk and verifies each; it holds at most one.
#[derive(Debug)]
pub struct SnapshotReader {
    file: &'static str,
    meta: SnapshotMeta,
    length: u64,
    offset: u64,
    crc: u32,
    chunks: u64,
    payload: u64,
    ended: Option<Digest>,
    buffer: Vec<u8>,
}

impl SnapshotReader {
    /// Reads the header of `file`, which must be `owner`'s.
    ///
    /// # Errors
    /// An [`OpenError`], here as in [`Self::next_chunk`].
    pub(crate) fn open(
        storage: &dyn Storage,
        file: &'static str,
        owner: Owner,
    ) -> Result<Self, OpenError> {
        let length = storage.length(file)?;
        let (header, read) = read_start(storage, file)?;
        let header = header.get(..read).unwrap_or_default();
        let input = open_sealed(file, header, MAGIC)?;
        let (found, meta) = decode_header(input).map_err(|_| Damage {
            file: file.to_owned(),
            offset: 12,
            what: "its header is wrong",
        })?;
        if found != owner {
            return Err(OpenError::Foreign { file: file.to_owned() });
        }
        let (offset, crc) = (header.len() as u64, header_crc(header));
        let (chunks, payload, ended, buffer) = (0, 0, None, Vec::new());
        Ok(SnapshotReader { file, meta, length, offset, crc, chunks, payload, ended, buffer })
    }

    /// What the snapshot stands for.
    pub fn meta(&self) -> SnapshotMeta {
        self.meta
    }

    /// Where the next chunk begins, in bytes.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The SHA-256 of what the chunks hold, as the trailer says; once that was read.
    pub fn digest(&self) -> Option<Digest> {
        self.ended
    }

    /// The next chunk, or `None` behind the last, when the trailer has been verified too. When
    /// another snapshot has taken the name meanwhile, this says damaged; compare
    /// [`super::Journal::snapshot`] with [`Self::meta`] and begin again.
    ///
    /// # Errors
    /// [`OpenError::Damaged`] with the place, or [`OpenError::Storage`]. What was handed out
    /// before is then of no worth.
    pub fn next_chunk(&mut self, storage: &dyn Storage) -> Result<Option<&[u8]>, OpenError> {
        if self.ended.is_some() {
            return Ok(None);
        }
        let mut head = [0; CHUNK_HEADER_BYTES];
        if self.read(storage, self.offset, &mut head)? < head.len() {
            return Err(self.damage("it ends inside a chunk"));
        }
        let [crc, length] = [0, 4].map(|at| le_u32(&head, at));
        let body_bytes = match length as usize {
            0 => TRAILER_BYTES - CHUNK_HEADER_BYTES,
            bytes if bytes <= CHUNK_MAX_BYTES => bytes,
            _ => return Err(self.damage("a chunk is longer than any that is written")),
        };
        let mut body = std::mem::take(&mut self.buffer);
        body.resize(body_bytes, 0);
        let read = self.read(storage, self.offset + head.len() as u64, &mut body)?;
        self.buffer = body;
        if read < body_bytes {
            return Err(self.damage("it ends inside a chunk"));
        }
        let sum = continued(continued(self.crc, &head[4..]), &self.buffer);
        if sum != crc {
            return Err(self.damage("the checksum of a chunk is wrong"));
        }
        self.crc = sum;
        if length == 0 {
            return self.end();
        }
        self.offset += (CHUNK_HEADER_BYTES + body_bytes) as u64;
        self.chunks += 1;
        self.payload += u64::from(length);
        Ok(Some(&self.buffer))
    }

    fn end(&mut self) -> Result<Option<&[u8]>, OpenError> {
        let mut input = Decoder::new(&self.buffer);
        if (input.u64(), input.u64()) != (Ok(self.chunks), Ok(self.payload)) {
            return Err(self.damage("chunks are missing before its end"));
        }
        let digest = input.raw(DIGEST_BYTES).ok().and_then(|bytes| bytes.try_into().ok());
        self.offset += TRAILER_BYTES as u64;
        if self.offset != self.length {
            return Err(self.damage("bytes follow its end"));
        }
        self.ended = digest;
        Ok(None)
    }

    fn read(&self, storage: &dyn Storage, at: u64, buffer: &mut [u8]) -> Result<usize, OpenError> {
        Ok(storage.read_at(self.file, at, buffer)?)
    }

    fn damage(&self, what: &'static str) -> OpenError {
        Damage { file: self.file.to_owned(), offset: self.offset, what }.into()
    }
}

/// What to tell a caller about an error while a snapshot is written: whether the disk failed it,
/// or the bytes did.
pub(crate) enum Setback {
    /// The disk.
    Disk(StorageError),
    /// What was read back.
    Bytes(Damage),
}

impl From<OpenError> for Setback {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Storage(error) => Setback::Disk(error),
            OpenError::Damaged(damage) => Setback::Bytes(damage),
            OpenError::Missing { .. }
            | OpenError::Exists { .. }
            | OpenError::Unread { .. }
            | OpenError::Newer { .. }
            | OpenError::Foreign { .. } => Setback::Bytes(Damage {
                file: SNAPSHOT_BESIDE.to_owned(),
                offset: 0,
                what: "its header is not what was written",
            }),
        }
    }
}

fn encode_header(owner: Owner, meta: &SnapshotMeta) -> Vec<u8> {
    let mut out = Encoder::new();
    out.raw(&MAGIC).u32(FORMAT_VERSION).u32(meta.seam.chain);
    out.u64(owner.cluster.0).u64(owner.store.0);
    out.u64(meta.seam.index.0).u64(meta.seam.epoch.0).u64(0);
    out.u32(match meta.origin {
        Origin::Own => 0,
        Origin::Peer => FLAG_PEER,
    });
    let header = seal(out);
    assert!(header.len() == FILE_HEADER_BYTES, "the first chunk follows the header");
    header
}

fn decode_header(mut input: Decoder<'_>) -> Result<(Owner, SnapshotMeta), DecodeError> {
    let chain = input.u32()?;
    let owner = Owner { cluster: ClusterId(input.u64()?), store: StoreId(input.u64()?) };
    let seam = Seam { index: Index(input.u64()?), epoch: Epoch(input.u64()?), chain };
    if seam.index.0 > INDEX_MAX {
        return Err(DecodeError::Invalid("index"));
    }
    let _zero = input.u64()?;
    let origin = match input.u32()? {
        0 => Origin::Own,
        FLAG_PEER => Origin::Peer,
        _ => return Err(DecodeError::Invalid("flag")),
    };
    input.finish()?;
    Ok((owner, SnapshotMeta { seam, origin }))
}

fn header_crc(header: &[u8]) -> u32 {
    crc32fast::hash(header.get(..FILE_HEADER_BYTES - 4).unwrap_or_default())
}

fn continued(crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc);
    hasher.update(bytes);
    hasher.finalize()
}

fn le_u32(bytes: &[u8; CHUNK_HEADER_BYTES], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}
