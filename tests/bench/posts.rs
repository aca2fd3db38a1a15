//! How many changes a second are made durable, beside bare writes to the same disk.

use super::numbers::Spread;
use crate::common::Agent;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long each of the two is measured.
const WATCH: Duration = Duration::from_secs(3);
/// About what the record of a job takes in the journal.
const RECORD_BYTES: usize = 512;

/// Measures with so many connections, so many times, and prints what was found.
pub(crate) fn measure(connections: usize, runs: usize) {
    println!("\nPOST /v1/jobs over {connections} connections, each of one job over and over");
    println!("run   POST/s   bare write+fdatasync/s");
    let mut ratios = Vec::new();
    for number in 1..=runs {
        let agent = Agent::start();
        let bare_before = bare(&agent);
        let posts = posts(&agent, connections);
        // Both before and after, because disks have moods.
        let bare = (bare_before + bare(&agent)) / 2.0;
        println!("{number} {posts:10.0} {bare:10.0}");
        ratios.push(posts / bare);
    }
    println!("POST/s / bare:  {}", Spread::of(ratios));
}

fn bare(agent: &Agent) -> f64 {
    let mut file = File::create(agent.home().join("bare")).expect("a file can be made");
    let record = [b'x'; RECORD_BYTES];
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < WATCH {
        file.write_all(&record).and_then(|()| file.sync_data()).expect("the disk takes it");
        count += 1;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

fn posts(agent: &Agent, connections: usize) -> f64 {
    let count = AtomicUsize::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..connections {
            let (client, count) = (agent.tcp(), &count);
            scope.spawn(move || {
                let mut connection = client.connect().expect("the agent listens");
                let request = request(number);
                while start.elapsed() < WATCH {
                    connection.send(request.as_bytes()).expect("the agent reads");
                    let reply = connection.reply("POST").expect("the agent answers");
                    assert!(matches!(reply.status, 200 | 201), "{}", reply.text());
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    count.into_inner() as f64 / start.elapsed().as_secs_f64()
}

fn request(number: usize) -> String {
    let body = format!(r#"{{"name":"job{number}","schedule":"0 0 0 1 7 *","command":"true"}}"#);
    format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
