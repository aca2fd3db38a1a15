//! The bytes of what is said in sessions.
//!
//! A word of a session is the body of a frame between nodes, whose header names its kind and its
//! epoch; here is what follows. What is read is hostile: what no node says is refused, and what is
//! accepted is written to the same bytes again. The node drives it.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::order::{Program, SpawnOrder, TAIL_MAX_BYTES, VARIABLES_MAX, WORDS_MAX};
use super::session::{Said, Word};
use super::worker::{Order, Report};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{Epoch, RunId, check_name};
use crate::store::{Ending, Member};
use crate::time::{Mono, Wall};

/// The kinds of the words of a session.
pub const KINDS: RangeInclusive<u8> = GREETING..=OVER;

/// Most bytes of a registration: as much as a node can tell of itself by gossip.
pub const MEMBER_MAX_BYTES: usize = 544;
/// Longest reason for the end of a session, in bytes.
pub const OVER_MAX_BYTES: usize = 4 * 1024;

const GREETING: u8 = 16;
const REPORT: u8 = 17;
const BEAT: u8 = 18;
const WELCOME: u8 = 19;
const ORDER: u8 = 20;
const QUESTION: u8 = 21;
const SETTLE: u8 = 22;
const OVER: u8 = 23;

impl Word {
    /// The number of its kind, one of [`KINDS`].
    pub fn kind(&self) -> u8 {
        match &self.said {
            Said::Greeting(_) => GREETING,
            Said::Report(..) => REPORT,
            Said::Beat(..) => BEAT,
            Said::Welcome(..) => WELCOME,
            Said::Order(_) => ORDER,
            Said::Question(_) => QUESTION,
            Said::Settle(_) => SETTLE,
            Said::Over(_) => OVER,
        }
    }

    /// Says what of it no other node would take.
    ///
    /// # Errors
    /// What it is, as a noun.
    pub fn check(&self) -> Result<(), &'static str> {
        match &self.said {
            Said::Greeting(member) => check_member(member),
            Said::Report(_, Report::Ended(_, tail)) if tail.len() > TAIL_MAX_BYTES => {
                Err("length of an output tail")
            }
            Said::Order(order) if order.epoch != self.epoch => Err("epoch of an order"),
            Said::Order(order) => check_order(&order.spawn),
            Said::Over(Some(why)) if why.len() > OVER_MAX_BYTES => Err("length of a reason"),
            Said::Beat(_, beat) | Said::Welcome(_, beat) => match u64::try_from(beat.as_nanos()) {
                Ok(_) => Ok(()),
                Err(_) => Err("time between beats"),
            },
            Said::Report(..) | Said::Question(_) | Said::Settle(_) | Said::Over(_) => Ok(()),
        }
    }

    /// Writes what [`Word::decode`] reads, if [`Word::check`] finds nothing.
    pub fn encode(&self, out: &mut Encoder) {
        out.u64(self.session).u64(self.number);
        match &self.said {
            Said::Greeting(member) => member.encode(out),
            Said::Report(run, report) => {
                run.encode(out);
                report.encode(out);
            }
            Said::Beat(sent, beat) | Said::Welcome(sent, beat) => {
                out.u64(sent.0).u64(u64::try_from(beat.as_nanos()).unwrap_or(u64::MAX));
            }
            Said::Order(order) => {
                out.u64(order.deadline.0);
                order.spawn.encode(out);
            }
            Said::Question(run) | Said::Settle(run) => run.encode(out),
            Said::Over(why) => {
                out.option(why.as_deref(), |out, why| {
                    out.str(why);
                });
            }
        }
    }

    /// Reads a word of that kind and epoch.
    ///
    /// # Errors
    /// When the kind is none of [`KINDS`], the bytes are too few, or [`Word::check`] finds
    /// something.
    pub fn decode(kind: u8, epoch: Epoch, input: &mut Decoder<'_>) -> Result<Word, DecodeError> {
        let (session, number) = (input.u64()?, input.u64()?);
        let said = match kind {
            GREETING => Said::Greeting(Box::new(Member::decode(input)?)),
            REPORT => Said::Report(RunId::decode(input)?, Report::decode(input)?),
            BEAT => Said::Beat(Mono(input.u64()?), Duration::from_nanos(input.u64()?)),
            WELCOME => Said::Welcome(Mono(input.u64()?), Duration::from_nanos(input.u64()?)),
            ORDER => {
                let deadline = Mono(input.u64()?);
                let spawn = SpawnOrder::decode(input)?;
                Said::Order(Box::new(Order { epoch, deadline, spawn }))
            }
            QUESTION => Said::Question(RunId::decode(input)?),
            SETTLE => Said::Settle(RunId::decode(input)?),
            OVER => Said::Over(input.option(|input| input.str().map(str::to_owned))?),
            _ => return Err(DecodeError::Invalid("kind")),
        };
        let word = Word { epoch, session, number, said };
        word.check().map_err(DecodeError::Invalid)?;
        Ok(word)
    }
}

impl Report {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Report::NeverStarted => {
                out.u8(0);
            }
            Report::Starting => {
                out.u8(1);
            }
            Report::Running(since) => {
                out.u8(2).i64(since.0);
            }
            Report::Ended(ending, tail) => {
                ending.encode(out.u8(3));
                out.bytes(tail);
            }
        }
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Report, DecodeError> {
        Ok(match input.u8()? {
            0 => Report::NeverStarted,
            1 => Report::Starting,
            2 => Report::Running(Wall(input.i64()?)),
            3 => Report::Ended(Ending::decode(input)?, input.bytes()?.to_vec()),
            _ => return Err(DecodeError::Invalid("report")),
        })
    }
}

/// A registration goes into the journal, so it is held to what can be told of it everywhere.
fn check_member(member: &Member) -> Result<(), &'static str> {
    let mut out = Encoder::new();
    member.encode(&mut out);
    if out.len() > MEMBER_MAX_BYTES {
        return Err("length of a registration");
    }
    if check_name(&member.name).is_err() {
        return Err("name of a node");
    }
    if member.address.contains(char::is_control) {
        return Err("address of a node");
    }
    match member.tags.is_sorted_by(|(a, _), (b, _)| a < b) {
        true => Ok(()),
        false => Err("list of tags"),
    }
}

/// What is wrong with single texts the launcher sees, which refuses the order.
fn check_order(order: &SpawnOrder) -> Result<(), &'static str> {
    let words = match &order.program {
        Program::Words(words) => words.len(),
        Program::Shell(_) => 1,
    };
    if words > WORDS_MAX || order.env.len() > VARIABLES_MAX {
        return Err("length of an order");
    }
    match order.tail_max_bytes as usize <= TAIL_MAX_BYTES {
        true => Ok(()),
        false => Err("length of an output tail"),
    }
}
