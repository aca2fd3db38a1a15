//! The runs log of one node: the file `runs`, in the frames of the journal, replicated nowhere.
//!
//! It has a sequence of its own and one file, which is written anew with what is still of use
//! when the room above asks. What a record means, and which are of use, it does not know. Torn
//! ends are cut by the journal's rule; a missing or damaged file is an error for the caller to
//! report, because a run whose `Accepted` was lost could start twice.

use super::error::{OpenError, Poison, WriteError};
use super::frame::{GROUP_MAX_BYTES, PAYLOAD_MAX_BYTES, RECORD_HEADER_BYTES, Record, Seam};
use super::inspect::{Ended, Part, Tear, judge, scan_log};
use super::recovery::Torn;
use super::segment::{FILE_HEADER_BYTES, Owner, encode_header, read_header, rewrite};
use super::storage::{Storage, StorageError, Stored, remove_if_there, replace};
use super::writer::Appender;
use crate::ident::{ClusterId, Epoch, Index, StoreId};
use std::ops::ControlFlow;

/// The file's name.
pub(crate) const RUNS_FILE: &str = "runs";

const RUNS_BESIDE: &str = "runs.tmp";
const TORN_FILE: &str = "torn-runs";
const MAGIC: [u8; 8] = *b"bwrunlog";

/// A record of the runs log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunsRecord<'a> {
    /// What it is, to the rooms above.
    pub kind: u8,
    /// Version of the payload's layout.
    pub schema: u16,
    /// At most [`PAYLOAD_MAX_BYTES`].
    pub payload: &'a [u8],
}

/// Takes the records in order; an error ends the walk, as with [`super::Visit`].
pub type RunsVisit<'v> = dyn FnMut(RunsRecord<'_>) -> Result<(), String> + 'v;

/// The open runs log.
#[derive(Debug)]
pub struct RunsLog {
    owner: Owner,
    appender: Appender,
    poison: Poison,
}

impl RunsLog {
    /// Makes an empty runs log for the data directory `store`.
    ///
    /// # Errors
    /// [`OpenError::Exists`] when there is one, else [`OpenError::Storage`].
    pub fn create(storage: &mut dyn Storage, store: StoreId) -> Result<Self, OpenError> {
        match storage.length(RUNS_FILE) {
            Err(StorageError::NotFound) => {}
            Ok(_) => return Err(OpenError::Exists { file: RUNS_FILE.to_owned() }),
            Err(error) => return Err(error.into()),
        }
        let owner = owner_of(store);
        let appender = write_anew(storage, owner, Seam::default(), &[])?;
        Ok(RunsLog { owner, appender, poison: Poison::default() })
    }

    /// Verifies the file, hands its records to `visit`, cuts a torn end, and makes the rest
    /// durable; nothing that was handed on counts before this returns, and nothing is changed when
    /// `visit` cannot read a record.
    ///
    /// # Errors
    /// [`OpenError::Missing`] when there is no such file; the others as they say.
    pub fn open(
        storage: &mut dyn Storage,
        store: StoreId,
        visit: &mut RunsVisit<'_>,
    ) -> Result<(Self, Option<Torn>), OpenError> {
        let owner = owner_of(store);
        let mut walk = Walk::default();
        walk.walk(storage, owner, visit)?;
        remove_if_there(storage, RUNS_BESIDE)?;
        let keep = |tear: Tear| {
            let (file, name) = (RUNS_FILE.to_owned(), TORN_FILE.to_owned());
            tear.keep(storage, file, name, walk.seam.next())
        };
        let torn = walk.tear.map(keep).transpose()?;
        rewrite(storage, RUNS_FILE, RUNS_BESIDE, walk.length, None)?;
        let appender = Appender::new(RUNS_FILE.to_owned(), walk.length, walk.seam);
        Ok((RunsLog { owner, appender, poison: Poison::default() }, torn))
    }

    /// Verifies the file and hands its records to `visit`, up to the first damage if there is any;
    /// changes nothing.
    pub fn inspect(storage: &dyn Storage, store: StoreId, visit: &mut RunsVisit<'_>) -> Part {
        let mut walk = Walk::default();
        let wrong = walk.walk(storage, owner_of(store), visit).err();
        let indexes = (walk.records > 0)
            .then(|| (Index(walk.seam.index.0 - walk.records + 1), walk.seam.index));
        Part {
            file: RUNS_FILE.to_owned(),
            bytes: storage.length(RUNS_FILE).unwrap_or(0),
            records: walk.records,
            indexes,
            epochs: None,
            torn: walk.tear.map(|tear| tear.offset),
            wrong,
        }
    }

    /// Makes `records` durable, all or none: one write, one sync.
    ///
    /// # Errors
    /// A [`WriteError`]; after [`WriteError::NoSpace`] it may be tried again.
    ///
    /// # Panics
    /// When there are none, or they are over a limit.
    pub fn append_group(
        &mut self,
        storage: &mut dyn Storage,
        records: &[RunsRecord<'_>],
    ) -> Result<(), WriteError> {
        let records = numbered(self.appender.seam(), records);
        self.appender.append(storage, &mut self.poison, &records).map(|_| ())
    }

    /// Replaces the file by one that holds `live` alone, in that order.
    ///
    /// # Errors
    /// A [`WriteError`]; after [`WriteError::NoSpace`] the old file still counts.
    ///
    /// # Panics
    /// When a record is over a limit.
    pub fn compact(
        &mut self,
        storage: &mut dyn Storage,
        live: &[RunsRecord<'_>],
    ) -> Result<(), WriteError> {
        self.poison.check()?;
        match write_anew(storage, self.owner, self.appender.seam(), live) {
            Ok(appender) => self.appender = appender,
            Err(error) => {
                let error = self.poison.judge(error);
                if error == WriteError::NoSpace {
                    let removed = remove_if_there(storage, RUNS_BESIDE);
                    removed.map_err(|error| self.poison.fail(error))?;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// The length of the file, in bytes.
    pub fn bytes(&self) -> u64 {
        self.appender.length()
    }
}

/// A walk over the file, and what it has found so far.
#[derive(Default)]
struct Walk {
    seam: Seam,
    length: u64,
    records: u64,
    tear: Option<Tear>,
}

impl Walk {
    fn walk(
        &mut self,
        storage: &dyn Storage,
        owner: Owner,
        visit: &mut RunsVisit<'_>,
    ) -> Result<(), OpenError> {
        self.seam = match read_header(storage, RUNS_FILE, MAGIC, owner) {
            Err(OpenError::Storage(StorageError::NotFound)) => {
                return Err(OpenError::Missing { file: RUNS_FILE });
            }
            header => header?,
        };
        self.length = FILE_HEADER_BYTES as u64;
        let mut refused = None;
        let ended = scan_log(storage, RUNS_FILE, self.seam, &mut |group| {
            let mut offset = self.length;
            for record in group.records() {
                let Record { kind, schema, payload, .. } = record;
                if let Err(what) = visit(RunsRecord { kind, schema, payload }) {
                    let file = RUNS_FILE.to_owned();
                    refused = Some(OpenError::Unread { file, offset, what });
                    return ControlFlow::Break(());
                }
                offset += record.frame_bytes() as u64;
                self.records += 1;
                self.seam.index = record.index;
            }
            self.seam = group.seam;
            self.length = offset;
            ControlFlow::Continue(())
        })?;
        match ended {
            Ended::Whole | Ended::Stopped => refused.map_or(Ok(()), Err),
            Ended::Bad { start, bad } if bad.tear => {
                self.tear = Some(judge(storage, RUNS_FILE, start, self.seam.next(), bad)?);
                Ok(())
            }
            Ended::Bad { bad, .. } => Err(bad.damage(RUNS_FILE).into()),
        }
    }
}

fn owner_of(store: StoreId) -> Owner {
    Owner { cluster: ClusterId(0), store }
}

fn numbered<'a>(seam: Seam, records: &[RunsRecord<'a>]) -> Vec<Record<'a>> {
    let indexes = seam.next().0..;
    let number = |(index, &RunsRecord { kind, schema, payload }): (u64, &RunsRecord<'a>)| Record {
        index: Index(index),
        epoch: Epoch(0),
        kind,
        schema,
        payload,
    };
    indexes.zip(records).map(number).collect()
}

/// Writes a whole file that continues the sequence behind `before`, in groups no larger than
/// any other.
fn write_anew(
    storage: &mut dyn Storage,
    owner: Owner,
    before: Seam,
    live: &[RunsRecord<'_>],
) -> Stored<Appender> {
    let header = encode_header(MAGIC, owner, before);
    let (mut seam, mut length) = (before, header.len() as u64);
    replace(storage, RUNS_BESIDE, RUNS_FILE, &mut |storage| {
        storage.append(RUNS_BESIDE, &header)?;
        let mut buffer = Vec::new();
        for group in groups(live) {
            buffer.clear();
            seam = super::frame::encode_group(&mut buffer, seam, &numbered(seam, group));
            storage.append(RUNS_BESIDE, &buffer)?;
            length += buffer.len() as u64;
        }
        Ok(())
    })?;
    Ok(Appender::new(RUNS_FILE.to_owned(), length, seam))
}

/// Splits `live` so that each part fits a group.
fn groups<'r, 'a>(live: &'r [RunsRecord<'a>]) -> impl Iterator<Item = &'r [RunsRecord<'a>]> {
    let mut bytes = 0;
    live.chunk_by(move |_, next| {
        bytes += next.payload.len() + RECORD_HEADER_BYTES;
        let fits = bytes <= GROUP_MAX_BYTES - PAYLOAD_MAX_BYTES - RECORD_HEADER_BYTES;
        if !fits {
            bytes = 0;
        }
        fits
    })
}
