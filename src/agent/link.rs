//! The connection to the launcher: kept, or made anew, starting a launcher where there is none.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

use crate::launcher;
use crate::launcher::protocol::{self, EventReader};
use crate::run::order::{LauncherCommand, LauncherEvent};
use crate::sys::file::Dir;
use crate::sys::process::{self, Pid};
use crate::time::Mono;

/// First and longest wait before another try to connect.
const RETRY_MIN: Duration = Duration::from_millis(2);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// How long a launcher that was started has to listen before another one is started.
const START_WAIT: Duration = Duration::from_secs(5);
/// Most bytes read in one turn, so that a launcher with much to say starves nobody.
const READ_MAX_BYTES: usize = 1024 * 1024;
/// Most bytes that wait to be sent; a launcher that takes nothing beyond that is dropped, and its
/// successor, or itself, is told what matters.
const BACKLOG_MAX_BYTES: usize = 64 * 1024 * 1024;

/// The agent's side of the link.
#[derive(Debug)]
pub(super) struct Link {
    dir: Dir,
    path: PathBuf,
    token: Token,
    stream: Option<UnixStream>,
    reader: EventReader,
    out: Vec<u8>,
    sent: usize,
    retry_at: Option<Mono>,
    retry_wait: Duration,
    started: Option<(Pid, Mono)>,
    /// When another launcher may be started at the earliest, and how long after that the next.
    start_at: Mono,
    start_wait: Duration,
}

impl Link {
    /// A link to the launcher of the data directory, which is tried at the first call of
    /// [`Link::tend`].
    pub(super) fn new(dir: Dir, path: PathBuf, token: Token) -> Link {
        Link {
            dir,
            path,
            token,
            stream: None,
            reader: EventReader::default(),
            out: Vec::new(),
            sent: 0,
            retry_at: Some(Mono(0)),
            retry_wait: RETRY_MIN,
            started: None,
            start_at: Mono(0),
            start_wait: RETRY_MIN,
        }
    }

    /// Connects if it is time to. What went wrong is for the log, and is tried again.
    pub(super) fn tend(&mut self, registry: &Registry, now: Mono) -> Result<(), String> {
        if self.stream.is_some() || self.retry_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        self.retry_at = Some(now + self.retry_wait);
        self.retry_wait = (self.retry_wait * 2).min(RETRY_MAX);
        match launcher::connect(&self.dir) {
            Ok(stream) => self.connected(stream, registry),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                self.start(now)
            }
            Err(error) => Err(format!("cannot connect to the launcher: {error}")),
        }
    }

    /// When [`Link::tend`] must be called at the latest.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        if self.stream.is_some() { None } else { self.retry_at }
    }

    /// Queues a command; without a connection it is dropped.
    pub(super) fn send(&mut self, command: &LauncherCommand) -> Result<(), String> {
        if self.stream.is_none() {
            return Ok(());
        }
        protocol::encode_command(command, &mut self.out).map_err(|error| error.to_string())
    }

    /// Sends what is queued, as far as the launcher takes it. `Gone` when the connection ended.
    pub(super) fn flush(&mut self) -> Option<LauncherEvent> {
        while self.sent < self.out.len() {
            let stream = self.stream.as_mut()?;
            match stream.write(&self.out[self.sent..]) {
                Ok(0) => return self.gone(),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.out.len() - self.sent > BACKLOG_MAX_BYTES {
                        return self.gone();
                    }
                    self.out.drain(..self.sent);
                    self.sent = 0;
                    return None;
                }
                Err(_) => return self.gone(),
            }
        }
        self.out.clear();
        self.sent = 0;
        self.out.shrink_to(64 * 1024);
        None
    }

    /// Reads what the launcher has said, at most so much; true when there may be more.
    pub(super) fn read(&mut self, events: &mut Vec<LauncherEvent>) -> Result<bool, String> {
        let mut buffer = [0; 64 * 1024];
        let mut taken = 0;
        while taken < READ_MAX_BYTES {
            let Some(stream) = self.stream.as_mut() else { return Ok(false) };
            match stream.read(&mut buffer) {
                Ok(0) => {
                    events.extend(self.gone());
                    return Ok(false);
                }
                Ok(count) => {
                    taken += count;
                    self.reader.push(&buffer[..count]);
                    if let Err(error) = self.take(events) {
                        events.extend(self.gone());
                        return Err(format!("the launcher does not speak as agreed: {error}"));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(_) => {
                    events.extend(self.gone());
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// A child has ended: reaps it if it is the launcher that was started here.
    pub(super) fn child_ended(&mut self) {
        if let Some((pid, _)) = self.started {
            if !matches!(process::reap(pid), Ok(None)) {
                self.started = None;
            }
        }
    }

    fn take(&mut self, events: &mut Vec<LauncherEvent>) -> Result<(), protocol::ProtocolError> {
        while let Some(event) = self.reader.next()? {
            if matches!(event, LauncherEvent::Welcome { .. }) {
                // The next loss is news, and no reason to wait.
                (self.retry_at, self.retry_wait) = (Some(Mono(0)), RETRY_MIN);
                (self.start_at, self.start_wait) = (Mono(0), RETRY_MIN);
            }
            events.push(event);
        }
        Ok(())
    }

    fn connected(
        &mut self,
        stream: std::os::unix::net::UnixStream,
        registry: &Registry,
    ) -> Result<(), String> {
        let mut stream = UnixStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry
            .register(&mut stream, self.token, interest)
            .map_err(|error| format!("cannot wait for the launcher: {error}"))?;
        self.stream = Some(stream);
        self.reader = EventReader::default();
        self.out.clear();
        self.sent = 0;
        protocol::encode_hello(&mut self.out);
        Ok(())
    }

    fn start(&mut self, now: Mono) -> Result<(), String> {
        let waiting = self.started.is_some_and(|(_, since)| now.since(since) < START_WAIT);
        if waiting || now < self.start_at {
            return Ok(());
        }
        self.start_at = now + self.start_wait;
        self.start_wait = (self.start_wait * 2).min(RETRY_MAX);
        let exe = std::path::Path::new("/proc/self/exe");
        match launcher::start(exe, &self.path) {
            Ok(pid) => {
                self.started = Some((pid, now));
                self.retry_wait = RETRY_MIN;
                Ok(())
            }
            Err(error) => Err(format!("cannot start a launcher: {error:?}")),
        }
    }

    fn gone(&mut self) -> Option<LauncherEvent> {
        self.stream = None;
        self.out.clear();
        self.sent = 0;
        // After a welcome the next try is due at once; who hangs up before it is given a pause.
        Some(LauncherEvent::Gone)
    }
}

#[cfg(test)]
mod tests {
    use mio::Poll;

    use super::*;
    use crate::sys::unix_socket;

    /// A link to whatever is in a new directory.
    fn link() -> (Link, Dir, tempfile::TempDir) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("data");
        let dir = Dir::create(&path).unwrap();
        (Link::new(dir.try_clone().unwrap(), path, Token(0)), dir, temp)
    }

    fn at(ms: u64) -> Mono {
        Mono(1_000_000_000 + ms * 1_000_000)
    }

    /// A launcher of another version, which stays for as long as it has runs, hangs up at once.
    #[test]
    fn a_launcher_that_hangs_up_is_not_asked_again_without_a_pause() {
        let (mut link, dir, _temp) = link();
        let listener = unix_socket::bind(&dir, "launcher.sock").unwrap();
        let poll = Poll::new().unwrap();
        let (mut now, mut asked) = (at(0), 0);
        while now < at(10_000) && asked < 1_000 {
            link.tend(poll.registry(), now).unwrap();
            if link.stream.is_some() {
                asked += 1;
                drop(listener.accept().unwrap());
                let mut events = Vec::new();
                assert_eq!(link.read(&mut events), Ok(false));
                assert_eq!(events, [LauncherEvent::Gone]);
            }
            now = now.max(link.poll_timeout().unwrap());
        }
        assert!(asked <= 20, "{asked} times in {} s", now.since(at(0)).as_secs());
    }

    /// The one that holds the lock has lost its socket: every other one ends when it has begun.
    #[test]
    fn launchers_that_end_at_once_are_not_started_without_a_pause() {
        let (mut link, _dir, _temp) = link();
        let poll = Poll::new().unwrap();
        let (mut now, mut started) = (at(0), 0);
        while now < at(10_000) && started < 100 {
            // The program is this test's, which knows no such argument and ends.
            link.tend(poll.registry(), now).unwrap();
            if link.started.is_some_and(|(_, since)| since == now) {
                started += 1;
                while link.started.is_some() {
                    link.child_ended();
                    std::thread::yield_now();
                }
            }
            now = now.max(link.poll_timeout().unwrap());
        }
        assert!(started > 1, "it is tried again");
        assert!(started <= 20, "{started} times in {} s", now.since(at(0)).as_secs());
    }
}
