//! What the validation of a job asks of the cron room.

use crate::cron::{self, Place, Zones, civil};
use crate::job::{Context, ScheduleFacts, ScheduleKind};
use crate::store::State;
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

    fn parse_time(&self, text: &str) -> Option<Wall> {
        civil::parse_rfc3339(text)
    }

    fn nodes(&self) -> usize {
        self.state.members().filter(|member| member.work).count()
    }
}
