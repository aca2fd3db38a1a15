//! Job definitions from strangers.

use super::zones::{RULES, zone};
use bellwether::cron::{civil, parse};
use bellwether::job::spec::SPEC_MAX_BYTES;
use bellwether::job::{Context, Mode, ScheduleFacts, Spec, read};
use bellwether::time::Wall;

/// Any body is a job or gets a sentence fit for a terminal; a job's stored form is the same job,
/// and what a job shows of itself is read again in both modes.
pub(crate) fn job_read(bytes: &[u8]) {
    let _ = Spec::from_bytes(bytes);
    for mode in [Mode::Replace, Mode::Merge] {
        let parsed = match read(bytes, None, mode, None, &Rules) {
            Ok(parsed) => parsed,
            Err(refusal) => {
                assert!(!refusal.sentence.is_empty());
                assert!(!refusal.sentence.contains(char::is_control), "{:?}", refusal.sentence);
                continue;
            }
        };
        assert!(parsed.canonical.len() <= SPEC_MAX_BYTES);
        let stored = Spec::from_bytes(&parsed.canonical).expect("a stored job is read again");
        assert_eq!(stored, parsed.spec);
        assert_eq!(stored.to_bytes(), parsed.canonical);
        let again = read(bytes, Some(&stored), mode, None, &Rules).expect("the same job again");
        assert_eq!(again.spec, parsed.spec);
    }
}

/// What a job needs to know, from the real parser and two zones.
struct Rules;

impl Context for Rules {
    fn check_schedule(&self, text: &str, _: &str, _: &str) -> Result<ScheduleFacts, String> {
        let expression = parse(text).map_err(|wrong| wrong.to_string())?;
        Ok(ScheduleFacts { zone: expression.zone, ..ScheduleFacts::default() })
    }

    fn check_parent(&self, _: &str, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn zone_known(&self, name: &str) -> bool {
        ["UTC", zone(RULES[1]).name()].contains(&name)
    }

    fn default_zone(&self) -> &str {
        "UTC"
    }

    fn parse_time(&self, text: &str) -> Option<Wall> {
        civil::parse_rfc3339(text)
    }
}
