//! The journal's storage over real files.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::journal::storage::{Blocks, Storage, StorageError, Stored};
use crate::rng::Rng;
use crate::sys::file::{Access, Dir, allocate};

/// The folder of segments in a data directory.
const FOLDER: &str = "journal";
/// How much is written at once to keep room where there is no other way.
const WRITE_BYTES: usize = 64 * 1024;

/// One data directory.
#[derive(Debug)]
pub(crate) struct FileStorage {
    top: Dir,
    folder: Dir,
    /// Files that are written, kept open so that an append is one system call.
    open: BTreeMap<String, File>,
}

impl FileStorage {
    /// The directory behind `top`, in which the folder is made if it isn't there.
    pub(crate) fn open(top: Dir) -> io::Result<FileStorage> {
        match top.make_dir(FOLDER) {
            Ok(()) => top.sync()?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let folder = top.open_dir(FOLDER)?;
        Ok(FileStorage { top, folder, open: BTreeMap::new() })
    }

    fn place<'a>(&self, file: &'a str) -> (&Dir, &'a str) {
        match file.strip_prefix("journal/") {
            Some(name) => (&self.folder, name),
            None => (&self.top, file),
        }
    }

    fn writable(&mut self, file: &str) -> io::Result<&File> {
        if !self.open.contains_key(file) {
            let (dir, name) = self.place(file);
            // An append must never go where a reader has been: the position is the end, always.
            let opened = dir.file(name, Access::Write)?;
            self.open.insert(file.to_owned(), opened);
        }
        self.open.get(file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Storage for FileStorage {
    fn list(&self) -> Stored<Vec<String>> {
        let mut all = names(&self.top, "").map_err(|error| failed("list", ".", &error))?;
        all.extend(names(&self.folder, "journal/").map_err(|e| failed("list", FOLDER, &e))?);
        Ok(all)
    }

    fn length(&self, file: &str) -> Stored<u64> {
        let (dir, name) = self.place(file);
        match dir.metadata(name) {
            Ok(Some(found)) => Ok(found.length),
            Ok(None) => Err(StorageError::NotFound),
            Err(error) => Err(failed("look at", file, &error)),
        }
    }

    fn read_at(&self, file: &str, offset: u64, buffer: &mut [u8]) -> Stored<usize> {
        let (dir, name) = self.place(file);
        let opened;
        let from = match self.open.get(file) {
            Some(kept) => kept,
            None => {
                opened = dir.file(name, Access::Read).map_err(|e| failed("open", file, &e))?;
                &opened
            }
        };
        fill(from, offset, buffer).map_err(|error| failed("read", file, &error))
    }

    fn create_new(&mut self, file: &str) -> Stored<()> {
        let (dir, name) = self.place(file);
        let made = dir.file(name, Access::CreateNew).map_err(|e| failed("create", file, &e))?;
        self.open.insert(file.to_owned(), made);
        Ok(())
    }

    fn append(&mut self, file: &str, bytes: &[u8]) -> Stored<()> {
        // By its name and not by what is kept open: a file that was taken away must be noticed.
        let end = self.length(file).map_err(|error| gone("write", file, error))?;
        let written = self.writable(file).and_then(|to| to.write_all_at(bytes, end));
        written.map_err(|error| failed("write", file, &error))
    }

    fn write_at(&mut self, file: &str, offset: u64, bytes: &[u8]) -> Stored<()> {
        let written = self.writable(file).and_then(|to| to.write_all_at(bytes, offset));
        written.map_err(|error| failed("write", file, &error))
    }

    fn truncate(&mut self, file: &str, length: u64) -> Stored<()> {
        let cut = self.writable(file).and_then(|to| to.set_len(length));
        cut.map_err(|error| failed("truncate", file, &error))
    }

    fn sync_data(&mut self, file: &str) -> Stored<()> {
        let synced = self.writable(file).and_then(File::sync_data);
        synced.map_err(|error| failed("sync", file, &error))
    }

    fn sync_dir_of(&mut self, file: &str) -> Stored<()> {
        let (dir, _) = self.place(file);
        dir.sync().map_err(|error| failed("sync the directory of", file, &error))
    }

    fn rename(&mut self, from: &str, to: &str) -> Stored<()> {
        let (dir, from_name) = self.place(from);
        let (_, to_name) = self.place(to);
        dir.rename(from_name, to_name).map_err(|error| failed("rename", from, &error))?;
        self.open.remove(to);
        if let Some(kept) = self.open.remove(from) {
            self.open.insert(to.to_owned(), kept);
        }
        Ok(())
    }

    fn remove(&mut self, file: &str) -> Stored<()> {
        self.open.remove(file);
        let (dir, name) = self.place(file);
        match dir.unlink(name) {
            Ok(true) => Ok(()),
            Ok(false) => Err(StorageError::NotFound),
            Err(error) => Err(failed("remove", file, &error)),
        }
    }
}

impl Blocks for FileStorage {
    fn free_bytes(&self) -> Stored<u64> {
        let space = self.top.space().map_err(|error| failed("look at", ".", &error))?;
        Ok(space.free_bytes)
    }

    fn reserve(&mut self, file: &str, bytes: u64) -> Stored<()> {
        // Not kept open: a file that is removed gives up its blocks when nobody has it any more.
        let (dir, name) = self.place(file);
        let made = dir.file(name, Access::CreateNew).map_err(|e| failed("create", file, &e))?;
        let kept = match allocate(&made, bytes) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => write_out(&made, bytes),
            kept => kept,
        };
        kept.map_err(|error| failed("reserve", file, &error))
    }

    fn reserved_bytes(&self, file: &str) -> Stored<u64> {
        let (dir, name) = self.place(file);
        match dir.metadata(name) {
            Ok(Some(found)) if !found.is_file => {
                let detail = "it is no file".to_owned();
                Err(StorageError::Other { op: "use", file: file.to_owned(), detail })
            }
            Ok(Some(found)) if found.taken_bytes >= found.length => Ok(found.length),
            Ok(Some(_)) => Ok(0),
            Ok(None) => Err(StorageError::NotFound),
            Err(error) => Err(failed("look at", file, &error)),
        }
    }
}

/// Gives `file` its blocks where a file system cannot do that but by writing them: what no file
/// system can make smaller.
fn write_out(file: &File, bytes: u64) -> io::Result<()> {
    let mut rng = Rng::new(bytes);
    let mut at = 0;
    while at < bytes {
        let mut block: Vec<u8> = std::iter::repeat_with(|| rng.next_u64().to_le_bytes())
            .take(WRITE_BYTES / 8)
            .flatten()
            .collect();
        block.truncate(usize::try_from(bytes - at).unwrap_or(WRITE_BYTES).min(WRITE_BYTES));
        file.write_all_at(&block, at)?;
        at += block.len() as u64;
    }
    file.sync_data()
}

/// A data directory that is only looked at, perhaps beside the agent that writes it. Nothing is
/// made or changed, whatever is asked for.
///
/// The file that was read last stays open, so that one which is replaced or removed meanwhile is
/// read to its end as it was.
#[derive(Debug)]
pub(crate) struct ReadStorage {
    top: Dir,
    folder: Option<Dir>,
    kept: RefCell<Option<(String, File)>>,
}

impl ReadStorage {
    /// The directory behind `top`.
    ///
    /// # Errors
    /// When its folder of segments is there and cannot be opened.
    pub(crate) fn open(top: Dir) -> io::Result<ReadStorage> {
        let folder = match top.open_dir(FOLDER) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            folder => Some(folder?),
        };
        Ok(ReadStorage { top, folder, kept: RefCell::new(None) })
    }

    fn with_file<T>(&self, file: &str, read: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        let mut kept = self.kept.borrow_mut();
        if kept.as_ref().is_none_or(|(name, _)| name != file) {
            let (dir, name) = match file.strip_prefix("journal/") {
                Some(name) => (self.folder.as_ref(), name),
                None => (Some(&self.top), file),
            };
            let dir = dir.ok_or(io::ErrorKind::NotFound)?;
            *kept = Some((file.to_owned(), dir.file(name, Access::Read)?));
        }
        match &*kept {
            Some((_, opened)) => read(opened),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Storage for ReadStorage {
    fn list(&self) -> Stored<Vec<String>> {
        let mut all = names(&self.top, "").map_err(|error| failed("list", ".", &error))?;
        if let Some(folder) = &self.folder {
            all.extend(names(folder, "journal/").map_err(|e| failed("list", FOLDER, &e))?);
        }
        Ok(all)
    }

    fn length(&self, file: &str) -> Stored<u64> {
        let found = self.with_file(file, |opened| opened.metadata().map(|found| found.len()));
        found.map_err(|error| failed("open", file, &error))
    }

    fn read_at(&self, file: &str, offset: u64, buffer: &mut [u8]) -> Stored<usize> {
        let filled = self.with_file(file, |opened| fill(opened, offset, buffer));
        filled.map_err(|error| failed("read", file, &error))
    }

    fn create_new(&mut self, _: &str) -> Stored<()> {
        Err(StorageError::ReadOnly)
    }

    fn append(&mut self, _: &str, _: &[u8]) -> Stored<()> {
        Err(StorageError::ReadOnly)
    }

    fn write_at(&mut self, _: &str, _: u64, _: &[u8]) -> Stored<()> {
        Err(StorageError::ReadOnly)
    }

    fn truncate(&mut self, _: &str, _: u64) -> Stored<()> {
        Err(StorageError::ReadOnly)
    }

    fn sync_data(&mut self, _: &str) -> Stored<()> {
        Err(StorageError::ReadOnly)
    }

    fn sync_dir_of(&mut self, _: &str) -> Stored<()> {
        Err(StorageError::ReadOnly)
    }

    fn rename(&mut self, _: &str, _: &str) -> Stored<()> {
        Err(StorageError::ReadOnly)
    }

    fn remove(&mut self, _: &str) -> Stored<()> {
        Err(StorageError::ReadOnly)
    }
}

fn names(dir: &Dir, prefix: &str) -> io::Result<Vec<String>> {
    let found = dir.list()?.into_iter().filter_map(|name| name.into_string().ok());
    Ok(found.map(|name| format!("{prefix}{name}")).collect())
}

/// Reads at `offset` until `buffer` is full or the file ends.
fn fill(from: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Names the file that is not there, where nobody asked whether it is.
fn gone(op: &'static str, file: &str, error: StorageError) -> StorageError {
    match error {
        StorageError::NotFound => {
            StorageError::Other { op, file: file.to_owned(), detail: "it was removed".to_owned() }
        }
        StorageError::NoSpace | StorageError::ReadOnly | StorageError::Other { .. } => error,
    }
}

fn failed(op: &'static str, file: &str, error: &io::Error) -> StorageError {
    match error.kind() {
        io::ErrorKind::NotFound => StorageError::NotFound,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::NoSpace,
        io::ErrorKind::ReadOnlyFilesystem => StorageError::ReadOnly,
        _ => StorageError::Other { op, file: file.to_owned(), detail: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_owns_its_blocks_however_it_is_made() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let mut disk = FileStorage::open(dir.try_clone().unwrap()).unwrap();
        for bytes in [1, 1 << 20, (1 << 20) + 4_097] {
            for by_writing in [false, true] {
                match by_writing {
                    false => disk.reserve("kept", bytes).unwrap(),
                    true => {
                        let file = dir.file("kept", Access::CreateNew).unwrap();
                        write_out(&file, bytes).unwrap();
                    }
                }
                let made = dir.metadata("kept").unwrap().unwrap();
                assert!(made.length == bytes && made.taken_bytes >= bytes, "{made:?}");
                assert_eq!(disk.reserved_bytes("kept"), Ok(bytes));
                disk.remove("kept").unwrap();
                assert_eq!(disk.reserved_bytes("kept"), Err(StorageError::NotFound));
            }
        }
        dir.file("holes", Access::CreateNew).unwrap().set_len(1 << 20).unwrap();
        assert_eq!(disk.reserved_bytes("holes"), Ok(0));
    }

    #[test]
    fn a_directory_that_is_looked_at_is_not_changed_and_read_as_it_was() {
        let home = tempfile::tempdir().unwrap();
        let dir = || Dir::open(home.path()).unwrap();
        let mut bare = ReadStorage::open(dir()).unwrap();
        assert_eq!(bare.list(), Ok(Vec::new()));
        assert_eq!(bare.length("journal/1"), Err(StorageError::NotFound));
        for refused in [
            bare.create_new("x"),
            bare.append("x", b""),
            bare.write_at("x", 0, b""),
            bare.truncate("x", 0),
            bare.sync_data("x"),
            bare.sync_dir_of("x"),
            bare.rename("x", "y"),
            bare.remove("x"),
        ] {
            assert_eq!(refused, Err(StorageError::ReadOnly));
        }
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "something was made");

        let mut files = FileStorage::open(dir()).unwrap();
        for (file, bytes) in [("journal/1", b"older"), ("journal/2", b"newer"), ("hard", b"other")]
        {
            files.create_new(file).unwrap();
            files.append(file, bytes).unwrap();
        }
        let reader = ReadStorage::open(dir()).unwrap();
        let read = |file: &str| {
            let mut bytes = [0; 8];
            reader.read_at(file, 0, &mut bytes).map(|count| bytes[..count].to_vec())
        };
        assert_eq!((reader.length("journal/1"), read("journal/1")), (Ok(5), Ok(b"older".to_vec())));
        files.rename("journal/2", "journal/1").unwrap();
        assert_eq!(read("journal/1"), Ok(b"older".to_vec()), "it was opened before");
        assert_eq!(read("journal/2"), Err(StorageError::NotFound));
        assert_eq!(read("hard"), Ok(b"other".to_vec()));
        assert_eq!(read("journal/1"), Ok(b"newer".to_vec()), "it was opened anew");
    }
}
