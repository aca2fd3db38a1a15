//! A disk in memory that loses what a disk may lose: for tests and for the cluster simulator.
//!
//! Each file has a *durable* image and a list of writes that are not yet in it; together they are
//! the *live* image, which is what every read sees. Syncing a file moves its writes over; syncing
//! a folder does the same for names. A [crash](SimStorage::crash) keeps of the rest what its
//! [`Survival`] says, down to single sectors. Steps (calls that change something) are counted,
//! and a [`Fault`] can be set for any one. Model: redb's `tests/crash_consistency.rs`.

use super::storage::{Blocks, Storage, StorageError, Stored};
use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// What a disk writes as a whole, in bytes.
pub const SECTOR_BYTES: u64 = 512;

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The power fails during the step, and every later one fails until [`SimStorage::crash`].
    Crash,
    /// An I/O error without effect; of a sync, one that loses the writes it was for while reads
    /// still see them.
    Error,
    /// A write ends halfway with an I/O error; other steps fail as with [`Fault::Error`].
    ShortError,
    /// No space; nothing of the step was done.
    NoSpace,
    /// No space; half of the write was done.
    ShortNoSpace,
}

/// What of the unsynced writes and names is found after a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Survival {
    /// None.
    Nothing,
    /// All.
    Everything,
    /// All writes, but no names.
    Writes,
    /// All names, but no writes.
    Names,
    /// Of each sector and each name, what a seed decides.
    Some(u64),
}

/// The disk.
#[derive(Clone, Debug, Default)]
pub struct SimStorage {
    files: Vec<SimFile>,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    names: Vec<NameChange>,
    steps: u64,
    syncs: u64,
    fault: Option<(u64, Fault)>,
    dead: bool,
    capacity: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct SimFile {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(String, usize),
    Unlink(String),
    Rename(String, String, usize),
}

impl SimStorage {
    /// An empty disk without faults or limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many changing calls were made so far; the first is step 0.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How many of them were syncs of a file.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    /// Lets `fault` happen at the given step, once.
    pub fn set_fault(&mut self, step: u64, fault: Fault) {
        self.fault = Some((step, fault));
    }

    /// Limits the sum of all files' lengths, in bytes; `None` for no limit. A write beyond it
    /// is done in part and answered with [`StorageError::NoSpace`].
    pub fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }

    /// Whether a [`Fault::Crash`] has happened since the last [`Self::crash`].
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// What is found when the power is back; no fault is set then.
    pub fn crash(&mut self, survival: Survival) {
        let mut rng = Rng::new(match survival {
            Survival::Some(seed) => seed,
            _ => 0,
        });
        let mut keep = |name: bool| match survival {
            Survival::Nothing => false,
            Survival::Everything => true,
            Survival::Writes => !name,
            Survival::Names => name,
            Survival::Some(_) => rng.chance(1, 2),
        };
        for file in &mut self.files {
            for change in std::mem::take(&mut file.pending) {
                change.apply(&mut file.durable, &mut || keep(false));
            }
            file.live = file.durable.clone();
        }
        for change in std::mem::take(&mut self.names) {
            if keep(true) {
                change.apply(&mut self.durable);
            }
        }
        self.live = self.durable.clone();
        self.drop_nameless_files();
        self.fault = None;
        self.dead = false;
    }

    /// What is found when only the process has ended: all that the page cache holds.
    pub fn restart(&mut self) {
        self.fault = None;
        self.dead = false;
    }

    /// Whether all that was changed is durable, so that a crash would lose nothing.
    pub fn is_settled(&self) -> bool {
        self.names.is_empty() && self.live.values().all(|&id| self.files[id].pending.is_empty())
    }

    /// The live bytes of `file`.
    pub fn bytes(&self, file: &str) -> Option<&[u8]> {
        self.find(file).ok().map(|id| self.files[id].live.as_slice())
    }

    /// Puts a file there, durably; for damaging one, and for directories made up by a test.
    pub fn plant(&mut self, file: &str, bytes: &[u8]) {
        let image = bytes.to_vec();
        let planted = SimFile { live: image.clone(), durable: image, pending: Vec::new() };
        let id = self.live.get(file).copied().unwrap_or(self.files.len());
        match self.files.get_mut(id) {
            Some(there) => *there = planted,
            None => self.files.push(planted),
        }
        self.live.insert(file.to_owned(), id);
        self.durable.insert(file.to_owned(), id);
    }

    fn drop_nameless_files(&mut self) {
        let mut files = Vec::new();
        for id in self.live.values_mut() {
            files.push(std::mem::take(&mut self.files[*id]));
            *id = files.len() - 1;
        }
        self.files = files;
        self.durable = self.live.clone();
    }

    fn find(&self, file: &str) -> Stored<usize> {
        self.live.get(file).copied().ok_or(StorageError::NotFound)
    }

    /// Counts a step and says which fault strikes it.
    fn step(&mut self, op: &'static str, file: &str) -> Stored<Option<Fault>> {
        if self.dead {
            return Err(failure(op, file));
        }
        let step = self.steps;
        self.steps += 1;
        let fault = self.fault.take_if(|&mut (at, _)| at == step).map(|(_, fault)| fault);
        self.dead = fault == Some(Fault::Crash);
        Ok(fault)
    }

    /// Ends a step that was done, or was overtaken by a crash.
    fn done(&self, op: &'static str, file: &str) -> Stored<()> {
        if self.dead { Err(failure(op, file)) } else { Ok(()) }
    }

    fn write(&mut self, op: &'static str, file: &str, at: Option<u64>, bytes: &[u8]) -> Stored<()> {
        let id = self.find(file)?;
        let fault = self.step(op, file)?;
        let half = bytes.len() / 2;
        let room = self.room(id, at, bytes.len());
        let (count, verdict) = match fault {
            None if room < bytes.len() => (room, Err(StorageError::NoSpace)),
            None | Some(Fault::Crash) => (bytes.len(), self.done(op, file)),
            Some(Fault::Error) => (0, Err(failure(op, file))),
            Some(Fault::ShortError) => (half, Err(failure(op, file))),
            Some(Fault::NoSpace) => (0, Err(StorageError::NoSpace)),
            Some(Fault::ShortNoSpace) => (half, Err(StorageError::NoSpace)),
        };
        let file = &mut self.files[id];
        let at = at.unwrap_or(file.live.len() as u64);
        let change = Change::Write(at, bytes[..count].to_vec());
        change.apply(&mut file.live, &mut || true);
        file.pending.push(change);
        verdict
    }

    fn room(&self, id: usize, at: Option<u64>, wanted: usize) -> usize {
        let overwritten = at.map_or(0, |at| self.files[id].live.len().saturating_sub(at as usize));
        wanted.min(self.free().saturating_add(overwritten))
    }

    /// What is left of the capacity. What was removed takes its room until that is durable.
    fn free(&self) -> usize {
        let Some(capacity) = self.capacity else { return usize::MAX };
        let named: BTreeSet<usize> =
            self.live.values().chain(self.durable.values()).copied().collect();
        let used: usize = named.iter().map(|&id| self.files[id].live.len()).sum();
        (capacity as usize).saturating_sub(used)
    }

    /// How many bytes all files have.
    pub fn used_bytes(&self) -> u64 {
        self.live.values().map(|&id| self.files[id].live.len() as u64).sum()
    }

    /// A step on names or lengths: done whole or not at all.
    fn whole(
        &mut self,
        op: &'static str,
        file: &str,
        act: impl FnOnce(&mut Self) -> Stored<()>,
    ) -> Stored<()> {
        match self.step(op, file)? {
            None | Some(Fault::Crash) => {
                act(self)?;
                self.done(op, file)
            }
            Some(Fault::Error | Fault::ShortError) => Err(failure(op, file)),
            Some(Fault::NoSpace | Fault::ShortNoSpace) => Err(StorageError::NoSpace),
        }
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.live);
        self.names.push(change);
    }
}

impl Storage for SimStorage {
    fn list(&self) -> Stored<Vec<String>> {
        Ok(self.live.keys().cloned().collect())
    }

    fn length(&self, file: &str) -> Stored<u64> {
        Ok(self.files[self.find(file)?].live.len() as u64)
    }

    fn read_at(&self, file: &str, offset: u64, buffer: &mut [u8]) -> Stored<usize> {
        let bytes = &self.files[self.find(file)?].live;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn create_new(&mut self, file: &str) -> Stored<()> {
        if self.live.contains_key(file) {
            let detail = "it exists".to_owned();
            return Err(StorageError::Other { op: "create", file: file.to_owned(), detail });
        }
        self.whole("create", file, |disk| {
            disk.files.push(SimFile::default());
            disk.change_name(NameChange::Link(file.to_owned(), disk.files.len() - 1));
            Ok(())
        })
    }

    fn append(&mut self, file: &str, bytes: &[u8]) -> Stored<()> {
        self.write("append to", file, None, bytes)
    }

    fn write_at(&mut self, file: &str, offset: u64, bytes: &[u8]) -> Stored<()> {
        self.write("write", file, Some(offset), bytes)
    }

    fn truncate(&mut self, file: &str, length: u64) -> Stored<()> {
        let id = self.find(file)?;
        self.whole("truncate", file, |disk| {
            disk.files[id].live.resize(length as usize, 0);
            disk.files[id].pending.push(Change::Truncate(length));
            Ok(())
        })
    }

    fn sync_data(&mut self, file: &str) -> Stored<()> {
        let id = self.find(file)?;
        let fault = self.step("sync", file)?;
        self.syncs += 1;
        match fault {
            None => {
                let file = &mut self.files[id];
                for change in file.pending.drain(..) {
                    change.apply(&mut file.durable, &mut || true);
                }
                Ok(())
            }
            Some(Fault::Crash) => Err(failure("sync", file)),
            Some(Fault::Error | Fault::ShortError) => {
                self.files[id].pending.clear();
                Err(failure("sync", file))
            }
            Some(Fault::NoSpace | Fault::ShortNoSpace) => {
                self.files[id].pending.clear();
                Err(StorageError::NoSpace)
            }
        }
    }

    fn sync_dir_of(&mut self, file: &str) -> Stored<()> {
        match self.step("sync the folder of", file)? {
            None => {
                let here = |change: &NameChange| folder(change.name()) == folder(file);
                let (now, later) = std::mem::take(&mut self.names).into_iter().partition(here);
                self.names = later;
                let now: Vec<NameChange> = now;
                now.iter().for_each(|change| change.apply(&mut self.durable));
                Ok(())
            }
            Some(Fault::NoSpace | Fault::ShortNoSpace) => Err(StorageError::NoSpace),
            Some(Fault::Crash | Fault::Error | Fault::ShortError) => {
                Err(failure("sync the folder of", file))
            }
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> Stored<()> {
        let id = self.find(from)?;
        self.whole("rename", from, |disk| {
            disk.change_name(NameChange::Rename(from.to_owned(), to.to_owned(), id));
            Ok(())
        })
    }

    fn remove(&mut self, file: &str) -> Stored<()> {
        self.find(file)?;
        self.whole("remove", file, |disk| {
            disk.change_name(NameChange::Unlink(file.to_owned()));
            Ok(())
        })
    }
}

impl Blocks for SimStorage {
    fn free_bytes(&self) -> Stored<u64> {
        Ok(self.free() as u64)
    }

    fn reserve(&mut self, file: &str, bytes: u64) -> Stored<()> {
        self.create_new(file)?;
        let id = self.find(file)?;
        if self.free() < bytes as usize {
            return Err(StorageError::NoSpace);
        }
        self.whole("reserve", file, |disk| {
            disk.files[id].live.resize(bytes as usize, 0);
            disk.files[id].pending.push(Change::Truncate(bytes));
            Ok(())
        })
    }

    fn reserved_bytes(&self, file: &str) -> Stored<u64> {
        self.length(file)
    }
}

impl Change {
    /// Does the change to `image`, each part if `keep` says so.
    fn apply(&self, image: &mut Vec<u8>, keep: &mut dyn FnMut() -> bool) {
        match self {
            Change::Truncate(length) => {
                if keep() {
                    image.resize(*length as usize, 0);
                }
            }
            Change::Write(offset, bytes) => {
                let (mut at, mut rest) = (*offset, bytes.as_slice());
                while !rest.is_empty() {
                    let room = (SECTOR_BYTES - at % SECTOR_BYTES) as usize;
                    let (sector, later) = rest.split_at(room.min(rest.len()));
                    if keep() {
                        let end = at as usize + sector.len();
                        image.resize(image.len().max(end), 0);
                        image[at as usize..end].copy_from_slice(sector);
                    }
                    at += sector.len() as u64;
                    rest = later;
                }
            }
        }
    }
}

impl NameChange {
    fn name(&self) -> &str {
        match self {
            NameChange::Link(name, _)
            | NameChange::Unlink(name)
            | NameChange::Rename(name, _, _) => name,
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Link(name, id) => {
                names.insert(name.clone(), *id);
            }
            NameChange::Unlink(name) => {
                names.remove(name);
            }
            NameChange::Rename(from, to, id) => {
                names.remove(from);
                names.insert(to.clone(), *id);
            }
        }
    }
}

fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn failure(op: &'static str, file: &str) -> StorageError {
    StorageError::Other { op, file: file.to_owned(), detail: "I/O error".to_owned() }
}
