//! All fires of a stretch of time, found by walking through it, and the comparison with what an
//! implementation says.

use super::days::{DAY, text};
use super::schedule::Cron;
use super::tzif::Shifts;

/// The walk begins so much before the stretch, to know which local times have been before.
const RUN_UP: i64 = 2 * DAY;

/// A schedule, prepared for many questions.
struct Table {
    second: [bool; 60],
    minute: [bool; 60],
    hour: [bool; 24],
    first_day: i64,
    day: Vec<bool>,
}

impl Table {
    /// For local times from `first` to `last`.
    fn new(cron: &Cron, first: i64, last: i64) -> Table {
        let first_day = first.div_euclid(DAY);
        let days = first_day as usize..=last.div_euclid(DAY) as usize;
        Table {
            second: std::array::from_fn(|value| cron.matches_second(value as u32)),
            minute: std::array::from_fn(|value| cron.matches_minute(value as u32)),
            hour: std::array::from_fn(|value| cron.matches_hour(value as u32)),
            first_day,
            day: crate::days::days()[days].iter().map(|day| cron.matches_day(day)).collect(),
        }
    }

    fn matches(&self, local: i64) -> bool {
        let second = (local % DAY) as usize;
        self.second[second % 60]
            && self.minute[second / 60 % 60]
            && self.hour[second / 3600]
            && self.day[(local / DAY - self.first_day) as usize]
    }
}

/// All fires of `cron` from `first` to `last`, both included.
///
/// Wild hours: whatever instant shows a local time that matches. Fixed hours: each local time is
/// due at the first instant that shows it or, if it is skipped, at the first that shows a later
/// one; so an instant answers for all local times up to its own that none before it has shown.
///
/// Goes in steps of a second, or of a minute where neither the schedule nor the zone needs finer.
pub(crate) fn fires(cron: &Cron, zone: &Shifts, first: i64, last: i64) -> Vec<i64> {
    let start = (first - RUN_UP).div_euclid(60) * 60;
    let whole = |at: i64| at % 60 == 0 && zone.offset(at) % 60 == 0;
    let mut shifts = zone.instants().filter(|at| (start..=last).contains(at));
    let step = if cron.second.is_none() && whole(start) && shifts.all(whole) { 60 } else { 1 };
    let table = Table::new(cron, start - 2 * DAY, last + 2 * DAY);
    let wild = cron.is_wild();
    let shifts: Vec<i64> = zone.instants().filter(|at| (start..=last).contains(at)).collect();
    let mut shifts = shifts.iter().peekable();
    let mut offset = zone.offset(start);
    let mut shown = start + offset - step;
    let mut found = Vec::new();
    let mut at = start;
    while at <= last {
        if shifts.next_if(|&&shift| shift <= at).is_some() {
            offset = zone.offset(at);
        }
        let local = at + offset;
        let due = if wild {
            table.matches(local)
        } else {
            let mut due = false;
            while shown < local {
                shown += step;
                due |= table.matches(shown);
            }
            due
        };
        if due && at >= first {
            found.push(at);
        }
        at += step;
    }
    found
}

/// Asks `next_after` for all fires from `first` to `last` one after the other, and once more after
/// each of `probes`.
///
/// # Errors
/// The first answer that is not in `expected`'s order.
pub(crate) fn compare(
    expected: &[i64],
    first: i64,
    last: i64,
    probes: &[i64],
    next_after: &dyn Fn(i64) -> Option<i64>,
) -> Result<(), String> {
    let is_right = |after: i64, answer: Option<i64>| match expected
        .get(expected.partition_point(|&fire| fire <= after))
    {
        Some(&fire) if answer == Some(fire) => Ok(()),
        None if answer.is_none_or(|answer| answer > last) => Ok(()),
        wanted => {
            let wanted = wanted.map_or_else(|| format!("later than {}", text(last)), |w| text(*w));
            let got = answer.map_or_else(|| "never".to_owned(), text);
            Err(format!("after {} UTC: {got}, should be {wanted}", text(after)))
        }
    };
    let mut after = first - 1;
    loop {
        let answer = next_after(after);
        is_right(after, answer)?;
        match answer {
            Some(fire) if fire <= last => after = fire,
            _ => break,
        }
    }
    probes.iter().try_for_each(|&probe| is_right(probe, next_after(probe)))
}

#[test]
fn the_comparison_sees_a_fire_moved_lost_or_invented() {
    let fires = [100, 200, 300, 400];
    let honest = |after: i64| fires.iter().copied().find(|&fire| fire > after);
    let expect = |right: bool, why: &str, next_after: &dyn Fn(i64) -> Option<i64>| {
        let result = compare(&fires, 50, 450, &[150, 300], next_after);
        assert_eq!(result.is_ok(), right, "{why}: {result:?}");
    };
    expect(true, "honest", &honest);
    expect(false, "one further", &|after| honest(after).and_then(honest));
    expect(false, "a second late", &|after| honest(after).map(|fire| fire + 1));
    expect(false, "one lost", &|after| honest(if after == 200 { 300 } else { after }));
    expect(false, "the last lost", &|after| honest(after).filter(|&fire| fire < 400));
    expect(false, "one invented", &|after| if after == 200 { Some(250) } else { honest(after) });
    expect(false, "one more at the end", &|after| honest(after).or((after < 430).then_some(430)));
    expect(false, "not later", &|after| if after == 200 { Some(200) } else { honest(after) });
    expect(false, "a wrong probe", &|after| honest(if after == 150 { 250 } else { after }));
    expect(true, "after the end", &|after| honest(after).or(Some(1_000)));
}
