//! The records of the runs log: what a node promises itself about the runs that it was ordered to
//! start, so that it starts none twice whatever dies in between.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{Epoch, Instance, RunId};
use crate::run::order::{Process, TAIL_MAX_BYTES};
use crate::store::Ending;
use crate::time::Wall;

/// Version of the payloads, written beside the kind.
pub const SCHEMA: u16 = 1;

/// One record of the runs log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RunsRecord {
    /// Orders of a lower epoch are refused from here on.
    Epoch(Epoch),
    /// The run will be asked of this launcher, once this record is durable and not before.
    Accepted {
        /// Which.
        run: RunId,
        /// Of whom.
        instance: Instance,
    },
    /// The run has a process; nothing waits for this record.
    Spawned {
        /// Which.
        run: RunId,
        /// The launcher that holds it.
        instance: Instance,
        /// The process.
        process: Process,
        /// When it was started.
        started: Wall,
    },
    /// The run has ended; the launcher may forget it once this record is durable.
    Exited {
        /// Which.
        run: RunId,
        /// How.
        ending: Ending,
        /// The last of its output.
        tail: Vec<u8>,
    },
    /// The leader has the end, or the run surely never started: the entry is void.
    Forgotten {
        /// Which.
        run: RunId,
    },
}

impl RunsRecord {
    /// The number of its kind on disk.
    pub fn kind(&self) -> u8 {
        match self {
            RunsRecord::Epoch(_) => 1,
            RunsRecord::Accepted { .. } => 2,
            RunsRecord::Spawned { .. } => 3,
            RunsRecord::Exited { .. } => 4,
            RunsRecord::Forgotten { .. } => 5,
        }
    }

    /// Its payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        match self {
            RunsRecord::Epoch(epoch) => {
                out.u64(epoch.0);
            }
            RunsRecord::Accepted { run, instance } => {
                run.encode(&mut out);
                out.u64(instance.0);
            }
            RunsRecord::Spawned { run, instance, process, started } => {
                run.encode(&mut out);
                out.u64(instance.0);
                process.encode(&mut out);
                out.i64(started.0);
            }
            RunsRecord::Exited { run, ending, tail } => {
                run.encode(&mut out);
                ending.encode(&mut out);
                out.bytes(tail);
            }
            RunsRecord::Forgotten { run } => run.encode(&mut out),
        }
        out.into_bytes()
    }

    /// Reads the record of `kind`.
    ///
    /// # Errors
    /// When schema or kind is unknown, or the payload is not one of that kind.
    pub fn decode(kind: u8, schema: u16, payload: &[u8]) -> Result<RunsRecord, DecodeError> {
        if schema != SCHEMA {
            return Err(DecodeError::Invalid("schema"));
        }
        let mut input = Decoder::new(payload);
        let record = match kind {
            1 => RunsRecord::Epoch(Epoch(input.u64()?)),
            2 => RunsRecord::Accepted {
                run: RunId::decode(&mut input)?,
                instance: Instance(input.u64()?),
            },
            3 => RunsRecord::Spawned {
                run: RunId::decode(&mut input)?,
                instance: Instance(input.u64()?),
                process: Process::decode(&mut input)?,
                started: Wall(input.i64()?),
            },
            4 => RunsRecord::Exited {
                run: RunId::decode(&mut input)?,
                ending: Ending::decode(&mut input)?,
                tail: input.bytes()?.to_vec(),
            },
            5 => RunsRecord::Forgotten { run: RunId::decode(&mut input)? },
            _ => return Err(DecodeError::Invalid("kind")),
        };
        input.finish()?;
        match &record {
            RunsRecord::Exited { tail, .. } if tail.len() > TAIL_MAX_BYTES => {
                Err(DecodeError::Invalid("length of an output tail"))
            }
            _ => Ok(record),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{BootId, Index, NodeId};
    use crate::store::{End, Reason};

    #[test]
    fn every_record_is_read_as_it_was_written_and_no_other_length_is() {
        let run = RunId { group: Index(9), node: NodeId::new(3).unwrap(), attempt: 2 };
        let instance = Instance(77);
        let process = Process { pid: 5, start_ticks: 6, boot: BootId(7) };
        let ending = Ending::decided(End::Lost, Reason::LauncherGone, Wall(8));
        for record in [
            RunsRecord::Epoch(Epoch(4)),
            RunsRecord::Accepted { run, instance },
            RunsRecord::Spawned { run, instance, process, started: Wall(1) },
            RunsRecord::Exited { run, ending, tail: b"out".to_vec() },
            RunsRecord::Forgotten { run },
        ] {
            let (kind, bytes) = (record.kind(), record.encode());
            assert_eq!(RunsRecord::decode(kind, SCHEMA, &bytes), Ok(record));
            for end in 0..bytes.len() {
                assert!(RunsRecord::decode(kind, SCHEMA, &bytes[..end]).is_err());
            }
            let longer = [bytes.as_slice(), &[0]].concat();
            assert!(RunsRecord::decode(kind, SCHEMA, &longer).is_err());
        }
        assert!(RunsRecord::decode(6, SCHEMA, &[]).is_err());
        assert!(RunsRecord::decode(1, SCHEMA + 1, &[0; 8]).is_err());
    }
}
