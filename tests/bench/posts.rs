//! How many changes a second are made durable, beside bare writes to the same disk.
//!
//! Two more rows are for disks whose fdatasync takes longer than this one's, for the agent and for
//! the bare loop: what the aims are met on should be known, not only whether they are here.
//!
//! One thread keeps all connections busy and does next to nothing for a request, because it takes
//! its processor time from the agent's machine; how much that was, and what others took, is said.

use super::numbers::Spread;
use crate::common::{Agent, Client as Api, Pid};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long each of the two is measured at a time. They take turns, because disks have moods.
const SLICE: Duration = Duration::from_millis(750);
const SLICES: usize = 4;
/// About what the record of a job takes in the journal.
const RECORD_BYTES: usize = 512;
/// Digits of the number that makes each request another one.
const DIGITS: usize = 8;

/// What the requests change.
#[derive(Clone, Copy, Debug)]
enum Jobs {
    /// Each connection has a job of its own, and changes it over and over.
    Kept,
    /// Every request creates another.
    New,
}

/// How much longer an fdatasync takes than the disk's own, in milliseconds.
const LONGER_MS: [u64; 3] = [0, 1, 4];

/// Measures what is asked for with so many requests under way at any time, so many times, on this
/// disk and on slower ones, and prints what was found.
pub(crate) fn measure_all(dir: &Path, runs: usize) {
    let shim = compile(dir);
    for longer_ms in LONGER_MS {
        let disk = Slower { shim: shim.clone(), longer: Duration::from_millis(longer_ms) };
        measure(&disk, 1, Jobs::Kept, "0.8", runs);
        measure(&disk, 256, Jobs::Kept, "20", runs);
        if longer_ms == 0 {
            measure(&disk, 256, Jobs::New, "20", runs);
        }
    }
}

/// A disk that is slower than the real one.
struct Slower {
    /// What makes it slower for the agent.
    shim: PathBuf,
    longer: Duration,
}

fn compile(dir: &Path) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/slow.c");
    let to = dir.join("bench-slow.so");
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let mut command = Command::new(cc);
    command.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&to).arg(&from).arg("-ldl");
    assert!(
        command.status().is_ok_and(|status| status.success()),
        "{} is compiled",
        from.display()
    );
    to
}

fn measure(disk: &Slower, outstanding: usize, jobs: Jobs, aim: &str, runs: usize) {
    let longer = disk.longer;
    println!(
        "\nPOST /v1/jobs, {outstanding} outstanding, jobs: {jobs:?}, sync longer by {longer:?}"
    );
    println!("run   POST/s   bare write+fdatasync/s   busy processors: agent, client, others");
    let mut ratios = Vec::new();
    for number in 1..=runs {
        let agent = disk.agent();
        let mut client = Client::connect(&agent, outstanding, jobs);
        let (mut posts, mut bare, mut used) = (Rate::default(), Rate::default(), [0.0; 3]);
        bare.add(|| disk.write_bare(&agent));
        for _ in 0..SLICES {
            let before = Times::now(agent.pid());
            posts.add(|| client.run());
            let spent = Times::now(agent.pid()).since(before);
            used = std::array::from_fn(|at| used[at] + spent[at]);
            bare.add(|| disk.write_bare(&agent));
        }
        let [ours, its, others] = used.map(|seconds| seconds / posts.seconds);
        let (posts, bare) = (posts.per_second(), bare.per_second());
        println!("{number} {posts:10.0} {bare:10.0} {ours:37.2} {its:7.2} {others:7.2}");
        ratios.push(posts / bare);
    }
    println!("POST/s / bare:  {} (aim {aim})", Spread::of(ratios));
}

/// How often something was done, and in what time.
#[derive(Default)]
struct Rate {
    count: usize,
    seconds: f64,
}

impl Rate {
    fn add(&mut self, slice: impl FnOnce() -> usize) {
        let start = Instant::now();
        self.count += slice();
        self.seconds += start.elapsed().as_secs_f64();
    }

    fn per_second(&self) -> f64 {
        self.count as f64 / self.seconds
    }
}

impl Slower {
    fn agent(&self) -> Agent {
        if self.longer.is_zero() {
            return Agent::start();
        }
        let shim = self.shim.to_str().expect("a plain path");
        let longer = self.longer.as_micros().to_string();
        Agent::builder().env("LD_PRELOAD", shim).env("SLOW_SYNC_US", &longer).start()
    }

    fn write_bare(&self, agent: &Agent) -> usize {
        let mut file = File::create(agent.home().join("bare")).expect("a file can be made");
        let record = [b'x'; RECORD_BYTES];
        // Nothing ever comes, and the kernel lets it wait as exactly as the agent's thread.
        let (_sender, nothing) = mpsc::channel::<()>();
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < SLICE {
            file.write_all(&record).and_then(|()| file.sync_data()).expect("the disk takes it");
            if !self.longer.is_zero() {
                let _ = nothing.recv_timeout(self.longer);
            }
            count += 1;
        }
        count
    }
}

/// Processor time of the agent, of this process and of the machine, in ticks.
#[derive(Clone, Copy)]
struct Times([u64; 3]);

impl Times {
    fn now(agent: Pid) -> Times {
        let machine = fs::read_to_string("/proc/stat").expect("/proc is mounted");
        // User, nice, system; then idle and waiting, which are none; interrupts, and what the host
        // gave to others.
        let numbers = machine.split_whitespace().skip(1).take(8);
        let numbers: Vec<u64> = numbers.filter_map(|number| number.parse().ok()).collect();
        let busy = numbers.iter().sum::<u64>() - numbers[3] - numbers[4];
        Times([process_ticks(&agent.to_string()), process_ticks("self"), busy])
    }

    /// Seconds of the agent, of this process and of all others since `before`.
    fn since(self, before: Times) -> [f64; 3] {
        // A tick of these files is a hundredth of a second on every Linux.
        let [agent, client, busy]: [f64; 3] =
            std::array::from_fn(|at| (self.0[at] - before.0[at]) as f64 / 100.0);
        [agent, client, (busy - agent - client).max(0.0)]
    }
}

fn process_ticks(pid: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, rest) = stat.rsplit_once(") ").expect("a name in parentheses");
    // utime and stime, the 14th and 15th field of proc_pid_stat(5); the state is the third.
    rest.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

struct Client {
    poll: Poll,
    events: Events,
    conns: Vec<Conn>,
    next_number: usize,
}

struct Conn {
    stream: TcpStream,
    request: Vec<u8>,
    /// Where the number stands in it.
    number_at: usize,
    answer: Vec<u8>,
}

impl Client {
    fn connect(agent: &Agent, connections: usize, jobs: Jobs) -> Client {
        let poll = Poll::new().expect("a poll can be made");
        let Api::Tcp(address) = agent.tcp() else { panic!("an address is asked for") };
        let connect = |number: usize| {
            let stream = std::net::TcpStream::connect(address).expect("the agent listens");
            stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).expect("it is");
            let mut stream = TcpStream::from_std(stream);
            let registered =
                poll.registry().register(&mut stream, Token(number), Interest::READABLE);
            registered.expect("it can be waited for");
            let request = request(number, jobs);
            let number_at = request.windows(DIGITS).rposition(|part| part == [b'#'; DIGITS]);
            let number_at = number_at.expect("a request has a place for a number");
            Conn { stream, request, number_at, answer: Vec::new() }
        };
        let conns = (0..connections).map(connect).collect();
        Client { poll, events: Events::with_capacity(1_024), conns, next_number: 0 }
    }

    /// Keeps every connection busy for a slice, and takes the last answers. Returns how many there
    /// were.
    fn run(&mut self) -> usize {
        let start = Instant::now();
        let (mut asked, mut answered) = (0, 0);
        for at in 0..self.conns.len() {
            self.ask(at);
            asked += 1;
        }
        while answered < asked {
            self.poll.poll(&mut self.events, None).expect("it can wait");
            let go_on = start.elapsed() < SLICE;
            let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
            for at in ready {
                if self.conns[at].take_answer() {
                    answered += 1;
                    if go_on {
                        self.ask(at);
                        asked += 1;
                    }
                }
            }
        }
        answered
    }

    fn ask(&mut self, at: usize) {
        self.next_number += 1;
        let conn = &mut self.conns[at];
        let number = format!("{:0DIGITS$}", self.next_number);
        conn.request[conn.number_at..][..DIGITS].copy_from_slice(number.as_bytes());
        let written = conn.stream.write(&conn.request).expect("the agent reads");
        assert_eq!(written, conn.request.len(), "one request always fits into a socket");
    }
}

impl Conn {
    /// Reads what is there; true when that completes an answer.
    fn take_answer(&mut self) -> bool {
        let mut buffer = [0; 4_096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the agent has closed a connection"),
                Ok(count) => self.answer.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("no answer: {error}"),
            }
            if is_complete(&self.answer) {
                self.answer.clear();
                return true;
            }
        }
    }
}

fn is_complete(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|part| part == b"\r\n\r\n") else { return false };
    let text = std::str::from_utf8(answer).expect("an answer is text");
    assert!(text.starts_with("HTTP/1.1 201 "), "{text}");
    let (name, lines) = ("content-length: ", text[..head].split("\r\n"));
    let length = lines.skip(1).find_map(|line| {
        let (key, value) = line.split_at_checked(name.len())?;
        key.eq_ignore_ascii_case(name).then(|| value.parse::<usize>().ok())?
    });
    answer.len() == head + 4 + length.expect("an answer has a length")
}

fn request(connection: usize, jobs: Jobs) -> Vec<u8> {
    let place = "#".repeat(DIGITS);
    let (name, note) = match jobs {
        Jobs::Kept => (format!("job{connection}"), place),
        Jobs::New => (format!("job{place}"), "new".to_owned()),
    };
    let body =
        format!(r#"{{"name":"{name}","schedule":"0 0 0 1 7 *","command":"true","note":"{note}"}}"#);
    let request = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    request.into_bytes()
}
