//! Zones that need no file of the system.

use bellwether::cron::Zone;

/// A zone with this POSIX rule for all time, as a TZif file of version 2 says it (RFC 9636).
pub(crate) fn zone(rule: &str) -> Zone {
    let header = |types: u8, letters: u8| {
        let mut bytes = b"TZif2".to_vec();
        bytes.extend([0; 15]);
        for count in [0, 0, 0, 0, types, letters] {
            bytes.extend([0, 0, 0, count]);
        }
        bytes
    };
    let local_type = [0, 0, 0, 0, 0, 0];
    let mut bytes = Vec::new();
    for _version in 1..=2 {
        bytes.extend(header(1, 4));
        bytes.extend(local_type);
        bytes.extend(b"XXX\0");
    }
    bytes.extend(format!("\n{rule}\n").bytes());
    Zone::from_tzif("Test/Made", &bytes).expect("the rule is valid")
}

/// Rules with shifts of an hour each way, of half an hour, at midnight, of most of a day, and none.
pub(crate) const RULES: [&str; 6] = [
    "UTC0",
    "CET-1CEST,M3.5.0,M10.5.0/3",
    "EST5EDT,M3.2.0,M11.1.0",
    "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
    "EET-2EEST,M4.5.5/0,M10.5.4/24",
    "<-10>10<+13>-13,J90/0,J300/0",
];
