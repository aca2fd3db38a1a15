//! A data directory with anything in its files.

use bellwether::ident::{Boot, ClusterId, Epoch, Index, NodeId, StoreId};
use bellwether::journal::sim::SimStorage;
use bellwether::journal::{
    Hard, HardFile, Item, Journal, Owner, Record, RunsLog, RunsRecord, SEGMENT_BYTES_DEFAULT,
    Settings, Storage,
};

const SEGMENT: &str = "journal/0000000000000001";
const FILES: [&str; 5] = [SEGMENT, "hard", "runs", "snapshot", "journal/0000000000000003"];

const OWNER: Owner = Owner { cluster: ClusterId(7), store: StoreId(9) };

/// An even first byte puts the rest into one of the files as it is; an odd one damages good files:
/// each four bytes that follow say the file, the place (two bytes) and the new byte. Whatever is
/// opened once is opened a second time with the same records, and the second time nothing is torn;
/// after damage the records are the first of those that were written, none of them changed.
pub(crate) fn journal_open(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let mut storage = SimStorage::new();
    let mut written = None;
    if choice % 2 == 0 {
        storage.plant(FILES[usize::from(choice / 2) % FILES.len()], rest);
    } else {
        good_files(&mut storage);
        written = open_all(&mut storage);
        rest.chunks_exact(4).for_each(|edit| damage(&mut storage, edit));
    }
    if let Some((first, _)) = open_all(&mut storage) {
        if let Some((written, _)) = written {
            assert!(written.starts_with(&first), "{first:?} was never written");
        }
        storage.restart();
        let (second, torn) = open_all(&mut storage).expect("what was opened is opened again");
        assert_eq!(second, first);
        assert!(!torn);
    }
    let _ = HardFile::load(&mut storage);
    let _ = RunsLog::open(&mut storage, OWNER.store, &mut |_| Ok(()));
}

/// The records, and whether a tear was cut off; `None` when the journal is refused.
fn open_all(storage: &mut SimStorage) -> Option<(Vec<String>, bool)> {
    let settings = Settings { owner: OWNER, segment_bytes: SEGMENT_BYTES_DEFAULT };
    let mut found = Vec::new();
    let mut visit = |item: Item<'_>| {
        found.push(format!("{item:?}"));
        Ok(())
    };
    let (_, report) = Journal::open(storage, settings, &mut visit).ok()?;
    Some((found, report.torn.is_some()))
}

fn good_files(storage: &mut SimStorage) {
    let settings = Settings { owner: OWNER, segment_bytes: SEGMENT_BYTES_DEFAULT };
    let mut journal = Journal::create(storage, settings).expect("an empty disk takes a journal");
    let mut runs = RunsLog::create(storage, OWNER.store).expect("an empty disk takes a log");
    for index in [1, 3] {
        let record = |index: u64| Record {
            index: Index(index),
            epoch: Epoch(index),
            kind: 1,
            schema: 1,
            payload: b"payload",
        };
        let group = [record(index), record(index + 1)];
        journal.append_group(storage, &group).expect("the disk has no faults");
        let record = RunsRecord { kind: 2, schema: 1, payload: b"run" };
        runs.append_group(storage, &[record]).expect("the disk has no faults");
    }
    let hard = Hard {
        cluster: OWNER.cluster,
        store: OWNER.store,
        node: NodeId::new(1).expect("1 is not 0"),
        boot: Boot(1),
        promised_epoch: Epoch(1),
        promised_to: None,
    };
    HardFile::create(storage, &hard).expect("an empty disk takes the file");
}

/// Changes one byte, or cuts the file there if the new byte is 0xff.
fn damage(storage: &mut SimStorage, edit: &[u8]) {
    let [file, low, high, byte] = edit else { return };
    let name = FILES[usize::from(*file) % FILES.len()];
    let Some(mut image) = storage.bytes(name).map(<[u8]>::to_vec) else { return };
    let at = usize::from(u16::from_le_bytes([*low, *high])) % (image.len() + 1);
    match image.get_mut(at) {
        Some(_) if *byte == 0xff => image.truncate(at),
        Some(there) => *there = *byte,
        None => image.push(*byte),
    }
    let _ = storage.remove(name);
    storage.plant(name, &image);
}
