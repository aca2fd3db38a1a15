//! What the validation of a job asks of the cron room.

use crate::cron::{self, Place, Zones, civil};
use crate::job::{Context, ScheduleFacts, ScheduleKind};
use crate::store::{ChainError, State, check_chains};
use crate::time::{Second, Wall};

/// Answers for the [`Context`] of a job.
#[derive(Clone, Copy)]
pub struct JobContext<'a> {
    /// Time zones.
    pub zones: &'a dyn Zones,
    /// The zone of a job that names none.
    pub default_zone: &'a str,
    /// From when a schedule must fire, or a warning says that it never does.
    pub now: Second,
    /// The registry, for how many nodes may run jobs.
    pub state: &'a State,
    /// Whether parents are part of what is restored, and checked with all of it.
    pub restores: bool,
}

impl Context for JobContext<'_> {
    fn check_schedule(
        &self,
        schedule: &str,
        timezone: &str,
        name: &str,
    ) -> Result<ScheduleFacts, String> {
        let expression = cron::parse(schedule).map_err(|error| error.to_string())?;
        let zone_name = expression.zone.as_deref().unwrap_or(timezone);
        let zone = self
            .zones
            .zone(zone_name)
            .ok_or_else(|| format!("the time zone \"{zone_name}\" is not known here"))?;
        let schedule = &expression.schedule;
        let kind = match (schedule.is_manual(), schedule.is_every(), schedule.is_once()) {
            (true, _, _) => ScheduleKind::Manual,
            (_, true, _) => ScheduleKind::Every,
            (_, _, true) => ScheduleKind::Once,
            (false, false, false) => ScheduleKind::Calendar,
        };
        let mut warnings: Vec<String> =
            expression.warnings.iter().map(|warning| format!("schedule: {warning}")).collect();
        let place = Place { zone: &zone, name, anchor: self.now };
        if !schedule.is_manual() && schedule.next_after(self.now, &place).is_none() {
            warnings.push("schedule: it never fires from now on".into());
        }
        Ok(ScheduleFacts { zone: expression.zone, kind, warnings })
    }

    fn zone_known(&self, name: &str) -> bool {
        self.zones.zone(name).is_some()
    }

    fn default_zone(&self) -> &str {
        self.default_zone
    }

    fn check_parent(&self, name: &str, parent: &str) -> Result<(), String> {
        if name == parent {
            return Err("a job can't run after itself; name another".into());
        }
        if self.restores {
            return Ok(());
        }
        let parent_of = |of: &str| match of == name {
            true => Some(parent),
            false => self.state.job_named(of).map(|job| &*job.timing.parent),
        };
        check_chains([name].into_iter(), &parent_of).map_err(|error| chain_clause(&error, parent))
    }

    fn parse_time(&self, text: &str) -> Option<Wall> {
        civil::parse_rfc3339(text)
    }

    fn nodes(&self) -> usize {
        self.state.members().filter(|member| member.work).count()
    }
}

/// What is wrong with a job that names `parent`.
fn chain_clause(error: &ChainError, parent: &str) -> String {
    match error {
        ChainError::Missing(..) => {
            format!("there is no job named \"{parent}\"; create that first")
        }
        ChainError::Cycle(name) => {
            format!("\"{parent}\" runs after \"{name}\" already, so neither would start")
        }
    }
}
