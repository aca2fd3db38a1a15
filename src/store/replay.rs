//! From what a walk over a journal hands on to a state and the records behind it.

use super::{Entry, SnapshotError, SnapshotLoader, State};
use crate::journal::{Item, SnapshotMeta};

/// Reads the pieces of a journal, in the order of [`Item`]. Each error is a clause that says what
/// the bytes have or do, for [`crate::journal::Visit`].
#[derive(Debug, Default)]
pub struct Replay {
    loading: Option<(SnapshotMeta, SnapshotLoader)>,
    state: State,
}

impl Replay {
    /// Begins with the state before any record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a piece, and gives the record if it is one. A snapshot becomes the state at its end.
    ///
    /// # Errors
    /// When it is none that this version writes.
    pub fn take(&mut self, item: Item<'_>) -> Result<Option<Entry>, String> {
        match item {
            Item::Snapshot(meta) => self.loading = Some((meta, SnapshotLoader::new())),
            Item::SnapshotChunk(bytes) => {
                let loaded = self.loading.as_mut().map(|(_, loader)| loader.chunk(bytes));
                loaded.unwrap_or(Ok(())).map_err(|error| clause(&error))?;
            }
            Item::SnapshotEnd => {
                let Some((meta, loader)) = self.loading.take() else { return Ok(None) };
                let state = loader.finish().map_err(|error| clause(&error))?;
                if (state.applied(), state.epoch()) != (meta.seam.index, meta.seam.epoch) {
                    return Err("has another index or epoch inside than outside".to_owned());
                }
                self.state = state;
            }
            Item::Record(raw) => {
                let entry = Entry::decode(raw.index, raw.epoch, raw.kind, raw.schema, raw.payload);
                return entry.map(Some).map_err(|error| error.to_string());
            }
        }
        Ok(None)
    }

    /// Applies a record that [`Self::take`] gave, unless the snapshot stands for it.
    ///
    /// # Errors
    /// For a record behind a gap.
    pub fn apply(&mut self, entry: Entry) -> Result<(), String> {
        let next = self.state.applied().0 + 1;
        if entry.index.0 > next || (entry.index.0 == next && entry.epoch < self.state.epoch()) {
            return Err("does not continue the state".to_owned());
        }
        if entry.index.0 == next {
            self.state.apply(entry);
        }
        Ok(())
    }

    /// The state so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state.
    pub fn into_state(self) -> State {
        self.state
    }
}

fn clause(error: &SnapshotError) -> String {
    match error {
        SnapshotError::Bytes(error) => error.to_string(),
        SnapshotError::Order(what) => format!("has {what}"),
    }
}
