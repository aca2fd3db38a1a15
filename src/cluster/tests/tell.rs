//! What happens in a world as a conversation that people can read. A message that says to the same
//! server what the last of its kind has said, word for word, is left out.

use super::super::*;
use super::checks::show;
use super::network::Letter;
use super::world::{MS, World};

/// Tells a line, if somebody listens.
macro_rules! tell {
    ($world:expr, $($what:tt)*) => {
        if $world.told.is_some() {
            let line = format!($($what)*);
            $world.say(&line);
        }
    };
}
pub(super) use tell;

impl World {
    pub(super) fn say(&mut self, line: &str) {
        let ms = self.now / MS;
        if let Some(told) = &mut self.told {
            let line = line.replace("0000000", "n");
            told.push(format!("{:>4}.{:03} {line}", ms / 1_000, ms % 1_000));
        }
    }

    /// A remark between the lines.
    pub(super) fn remark(&mut self, remark: &str) {
        if let Some(told) = &mut self.told {
            told.push(format!("\n# {remark}"));
        }
    }
}

/// Tells of a letter, unless its writer has just said the same.
pub(super) fn overheard(world: &mut World, (from, to, envelope): &Letter, lost: bool) {
    if world.told.is_none() {
        return;
    }
    let (kind, text) = in_words(envelope);
    let text = if lost { format!("{text} (lost)") } else { text };
    let Some(up) = world.up(*from) else { return };
    let before = up.said.insert((*to, kind), text.clone());
    if before.as_ref() != Some(&text) {
        world.say(&format!("{from} → {to}  {text}"));
    }
}

/// The kind of the message, and what it says.
fn in_words(envelope: &Envelope) -> (u8, String) {
    let epoch = envelope.epoch.0;
    match &envelope.message {
        Message::Append(append) => {
            let (prev, commit) = (show(append.prev), append.commit.0);
            let ends = (append.records.first(), append.records.last());
            let records = match ends {
                (Some(first), Some(last)) if first.index < last.index => {
                    format!(" {} to {}", show(first.place()), show(last.place()))
                }
                (Some(first), _) => format!(" {}", show(first.place())),
                (None, _) => String::new(),
            };
            let what = format!("append in {epoch}, behind {prev}:{records}; committed {commit}");
            (if records.is_empty() { 0 } else { 9 }, what)
        }
        Message::Ack { matched, .. } => (1, format!("ack in {epoch}: to {}", matched.0)),
        Message::Probe { tail, .. } => (2, format!("probe: my journal ends at {}", show(*tail))),
        Message::ProbeAnswer { promised, log_ok, sticky, outranks, .. } => {
            let follows = match (log_ok, sticky) {
                (_, true) => "I hear a leader",
                (true, false) => "I would follow",
                (false, false) => "my journal has more",
            };
            let outranks = if *outranks { ", I rank higher" } else { "" };
            (3, format!("answer: {follows}{outranks}; promised {}", promised.0))
        }
        Message::Candidacy { tail, transfer_of } => {
            let handed =
                transfer_of.map_or(String::new(), |of| format!(", handed over by {}", of.0));
            (4, format!("candidacy for {epoch}: my journal ends at {}{handed}", show(*tail)))
        }
        Message::Vote { granted: true, .. } => (5, format!("vote for {epoch}: yes")),
        Message::Vote { granted: false, promised } => {
            (5, format!("vote for {epoch}: no, promised {}", promised.0))
        }
        Message::Conflict { prev, found, first } => {
            let (found, first) = (show(*found), first.0);
            (6, format!("conflict at {} in {epoch}: {found} here, from {first} on", prev.0))
        }
        Message::Stale { promised } => {
            (7, format!("epoch {epoch} is over: promised {}", promised.0))
        }
        Message::Transfer => (8, format!("lead after {epoch}")),
    }
}
