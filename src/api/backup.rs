//! A backup: every job on a line of its own, as JSON, all of one moment.
//!
//! The first line says what this is and of when; the last one how many jobs there were, so that
//! what was cut short is not taken for the whole.

use serde_json::{Value, json};

use super::stream::{Items, Stream};
use super::{Answer, Call, Handled, View, shown, unavailable};
use crate::cron::civil;
use crate::http::{Body, Response};
use crate::job::{Kept, render_kept};
use crate::store::{BACKUPS_MAX, Backup, BackupStep, Job};

/// What the first and the last line of a backup say that it is.
pub(super) const FORMAT: &str = "bellwether-backup";
/// The version of its lines.
pub(super) const VERSION: u64 = 1;

/// GET of the whole.
pub(super) fn backup(call: &Call<'_>) -> Handled {
    let view = call.view;
    let Some(backup) = view.state.begin_backup() else {
        let sentence = format!("{BACKUPS_MAX} backups are being read already; try again later");
        return Err(unavailable("overloaded", &sentence));
    };
    let lines = Lines { backup, head: Some(first_line(view)), count: 0 };
    let head = Response::new(200, Body::Empty).header("Content-Type", "application/x-ndjson");
    Ok(Answer::Stream(head, Box::new(Stream::new(Items::Backup(lines), false).lines())))
}

/// The lines of a backup that are still to come.
#[derive(Debug)]
pub(super) struct Lines {
    backup: Backup,
    /// The first line, until it is out.
    head: Option<Value>,
    count: u64,
}

impl Lines {
    /// Appends the next lines to `out`, until it has `enough` bytes.
    pub(super) fn next(&mut self, view: &View<'_>, enough: usize, out: &mut Vec<u8>) -> BackupStep {
        if let Some(head) = self.head.take() {
            push_line(&head, out);
        }
        let count = &mut self.count;
        let step = self.backup.go_on(view.state, &mut |job| {
            render_kept(&job.spec, &kept(job), out);
            out.push(b'\n');
            *count += 1;
            out.len() < enough
        });
        if step == BackupStep::Done {
            push_line(&json!({ "end": FORMAT, "jobs": self.count }), out);
        }
        step
    }
}

fn push_line(value: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(value.to_string().as_bytes());
    out.push(b'\n');
}

fn first_line(view: &View<'_>) -> Value {
    json!({
        "format": FORMAT,
        "version": VERSION,
        "cluster": format!("{:016x}", view.state.servers().cluster.0),
        "index": view.state.applied().0,
        "time": civil::format_utc(view.now.wall),
    })
}

fn kept(job: &Job) -> Kept {
    Kept {
        counts: shown::counts(job),
        created_at: Some(job.created),
        updated_at: Some(job.updated),
        anchor: Some(job.anchor),
        decided_until: Some(job.decided_until),
    }
}
