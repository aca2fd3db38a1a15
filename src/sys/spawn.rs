//! Starting a program in a session of its own.
//!
//! The order of steps is vixie cron's `do_command` and sudo-rs's `exec`: everything that takes
//! memory happens before fork(2), because between it and execve(2) a child may only call what is
//! safe in a signal handler (signal-safety(7)). A child that cannot go on writes the step and its
//! errno into a pipe that execve(2) closes, so the parent reads either that or the end of file.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::process::Pid;
use super::{errno, file, limits, signal};

/// What to execute, and in what surroundings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// Files to try in this order, as execvp(3) tries the directories of PATH.
    pub paths: Vec<CString>,
    /// The words, the program's own name first.
    pub words: Vec<CString>,
    /// The whole environment, `NAME=value` each.
    pub env: Vec<CString>,
    /// Where to start.
    pub directory: CString,
    /// Whether `/` will do when that directory cannot be entered.
    pub or_root: bool,
    /// Permissions that new files do not get.
    pub umask: u32,
    /// The limit on open descriptors.
    pub descriptors: limits::Limit,
}

/// The step that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Making the pipe for the report.
    Pipe,
    /// fork(2).
    Fork,
    /// setsid(2).
    Session,
    /// Standard input, output and error, and closing all others.
    Descriptors,
    /// setrlimit(2).
    Limits,
    /// chdir(2).
    Directory,
    /// execve(2), and the signal mask right before it.
    Exec,
}

/// Why a program did not start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartError {
    /// The step.
    pub step: Step,
    /// Its errno(3).
    pub errno: i32,
}

/// A child between fork(2) and execve(2), or beyond.
#[derive(Debug)]
pub struct Spawned {
    /// The child, which the caller is to reap.
    pub pid: Pid,
    /// What it says about its start.
    pub report: Report,
}

/// The reading end of a child's report; readable when [`Report::read`] has something to say.
#[derive(Debug)]
pub struct Report {
    pipe: File,
}

/// How far a child has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Not yet at execve(2).
    Pending,
    /// The program runs, or the child has been killed before it did.
    Started,
    /// It does not run; the child exits with [`FAILED_CODE`].
    Failed(StartError),
}

/// Exit code of a child that did not come to execute its program, as a shell says it.
pub const FAILED_CODE: i32 = 127;

/// Forks a child that becomes `image`, with `input` as its standard input and `output` as its
/// standard output and error. It has no other descriptor, no signal blocked or ignored, and leads
/// a session and group numbered as itself. Does not wait for the execve(2).
///
/// # Errors
/// At [`Step::Pipe`] and [`Step::Fork`]; later ones are told by the report.
pub fn spawn(
    image: &Image,
    input: BorrowedFd<'_>,
    output: BorrowedFd<'_>,
) -> Result<Spawned, StartError> {
    let prepared = prepare(image, input, output)?;
    let pid = prepared.fork()?;
    Ok(Spawned { pid, report: prepared.into_report() })
}

/// A child that is to be forked. Who has many makes all of these first and forks then: whatever
/// memory is written after a fork(2) is copied page by page, so the less lies between two of them
/// the better.
pub struct Prepared<'a> {
    plan: Plan<'a>,
    pipe: File,
    writer: OwnedFd,
}

/// Prepares what [`spawn`] does.
///
/// # Errors
/// At [`Step::Pipe`].
pub fn prepare<'a>(
    image: &'a Image,
    input: BorrowedFd<'a>,
    output: BorrowedFd<'a>,
) -> Result<Prepared<'a>, StartError> {
    let (pipe, writer) = file::pipe().map_err(|error| failed(Step::Pipe, &error))?;
    let plan = Plan {
        image,
        words: pointers(&image.words),
        env: pointers(&image.env),
        input: input.as_raw_fd(),
        output: output.as_raw_fd(),
        report: writer.as_raw_fd(),
    };
    // The standard descriptors are put in place before the others are used, so none may be among
    // them; the Rust runtime opens 0, 1 and 2 at the start of a process if they are closed.
    assert!(plan.input.min(plan.output).min(plan.report) > 2, "a standard descriptor was closed");
    Ok(Prepared { plan, pipe, writer })
}

impl Prepared<'_> {
    /// Forks the child; to be called once.
    ///
    /// # Errors
    /// At [`Step::Fork`].
    pub fn fork(&self) -> Result<Pid, StartError> {
        // No handler of the parent may run in the child, and no signal be lost before its defaults
        // are set.
        let blocked = signal::block_all().map_err(|error| failed(Step::Fork, &error))?;
        // SAFETY: the child calls nothing but `become_image`, which keeps to signal-safety(7).
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            become_image(&self.plan);
        }
        let forked = errno::check(pid);
        drop(blocked);
        match forked.map(|pid| u32::try_from(pid).ok().and_then(Pid::new)) {
            Ok(Some(pid)) => Ok(pid),
            Ok(None) => Err(StartError { step: Step::Fork, errno: libc::EIO }),
            Err(error) => Err(failed(Step::Fork, &error)),
        }
    }

    /// What the child says, once it was forked: this process's end of the pipe to it is closed, so
    /// that the pipe ends when the child's does.
    pub fn into_report(self) -> Report {
        drop(self.writer);
        Report { pipe: self.pipe }
    }
}

impl Report {
    /// How far the child has come; does not wait.
    pub fn read(&mut self) -> Progress {
        let mut bytes = [0; REPORT_BYTES];
        match errno::retry(|| self.pipe.read(&mut bytes)) {
            Ok(0) => Progress::Started,
            // Eight bytes go through a pipe whole.
            Ok(_) => Progress::Failed(decode_report(bytes)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Progress::Pending,
            Err(error) => Progress::Failed(failed(Step::Pipe, &error)),
        }
    }

    /// Waits until the child has started or failed: for a program's own start, not for a loop.
    ///
    /// # Errors
    /// What the child says.
    pub fn wait(mut self) -> Result<(), StartError> {
        loop {
            match self.read() {
                Progress::Started => return Ok(()),
                Progress::Failed(error) => return Err(error),
                Progress::Pending => {
                    let hour = std::time::Duration::from_secs(3_600);
                    file::wait_readable(self.pipe.as_fd(), hour)
                        .map_err(|error| failed(Step::Pipe, &error))?;
                }
            }
        }
    }
}

impl AsFd for Report {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// All that a child needs, in memory that was taken before fork(2).
struct Plan<'a> {
    image: &'a Image,
    words: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    input: RawFd,
    output: RawFd,
    report: RawFd,
}

fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Where the report's writing end is moved to, so that all above it can be closed in one call.
const REPORT_FD: RawFd = 3;
const REPORT_BYTES: usize = 8;

/// The child's part. Takes no memory and no lock, and never returns.
fn become_image(plan: &Plan<'_>) -> ! {
    let mut report = plan.report;
    let error = match arrange(plan, &mut report) {
        Err(error) => error,
        Ok(()) => StartError { step: Step::Exec, errno: execute(plan) },
    };
    let bytes = encode_report(error);
    // SAFETY: reads `bytes.len()` bytes from `bytes`. If it fails, the exit code still tells.
    unsafe { libc::write(report, bytes.as_ptr().cast(), bytes.len()) };
    // SAFETY: ends the child without running what the parent has registered for its own end.
    unsafe { libc::_exit(FAILED_CODE) }
}

fn arrange(plan: &Plan<'_>, report: &mut RawFd) -> Result<(), StartError> {
    let at = |step| move |_| StartError { step, errno: errno::last() };
    // SAFETY: takes nothing.
    errno::check(unsafe { libc::setsid() }).map_err(at(Step::Session))?;
    for (from, to) in [(plan.input, 0), (plan.output, 1), (plan.output, 2)] {
        // SAFETY: takes numbers only; this process owns all its descriptors now.
        errno::check(unsafe { libc::dup2(from, to) }).map_err(at(Step::Descriptors))?;
    }
    if *report != REPORT_FD {
        // SAFETY: as above.
        errno::check(unsafe { libc::dup3(*report, REPORT_FD, libc::O_CLOEXEC) })
            .map_err(at(Step::Descriptors))?;
        *report = REPORT_FD;
    }
    close_above(REPORT_FD);
    // SAFETY: takes a number only, never fails.
    unsafe { libc::umask(plan.image.umask) };
    limits::set_descriptors(plan.image.descriptors).map_err(at(Step::Limits))?;
    change_directory(&plan.image.directory, plan.image.or_root)
        .map_err(|errno| StartError { step: Step::Directory, errno })?;
    signal::set_defaults();
    signal::unblock_all().map_err(at(Step::Exec))
}

fn close_above(last: RawFd) {
    // SAFETY: takes numbers only; no descriptor above is used any more.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, last + 1, libc::c_uint::MAX, 0) };
    if answer == 0 {
        return;
    }
    // Before Linux 5.9, or under a filter that does not know the call.
    let limit = limits::descriptors().map_or(limits::DESCRIPTORS_MAX, |limit| limit.soft);
    for fd in last + 1..RawFd::try_from(limit).unwrap_or(RawFd::MAX) {
        // SAFETY: as above; closing what is not open is harmless.
        unsafe { libc::close(fd) };
    }
}

fn change_directory(directory: &CStr, or_root: bool) -> Result<(), i32> {
    // SAFETY: reads a text that ends with NUL.
    if unsafe { libc::chdir(directory.as_ptr()) } == 0 {
        return Ok(());
    }
    let error = errno::last();
    // SAFETY: as above.
    if or_root && unsafe { libc::chdir(c"/".as_ptr()) } == 0 { Ok(()) } else { Err(error) }
}

/// Tries the paths in turn; returns the errno that tells most when none can be executed.
fn execute(plan: &Plan<'_>) -> i32 {
    let mut result = libc::ENOENT;
    for path in &plan.image.paths {
        let (words, env) = (plan.words.as_ptr(), plan.env.as_ptr());
        // SAFETY: all three are arrays or texts that end with NUL, alive in this process's copy.
        unsafe { libc::execve(path.as_ptr(), words, env) };
        match errno::last() {
            // Not in this directory.
            libc::ENOENT | libc::ENOTDIR => {}
            // There, but not for us: say so unless a later directory has a better one.
            libc::EACCES => result = libc::EACCES,
            error => return error,
        }
    }
    result
}

fn failed(step: Step, error: &io::Error) -> StartError {
    StartError { step, errno: error.raw_os_error().unwrap_or(libc::EIO) }
}

const STEPS: [Step; 7] = [
    Step::Pipe,
    Step::Fork,
    Step::Session,
    Step::Descriptors,
    Step::Limits,
    Step::Directory,
    Step::Exec,
];

fn encode_report(error: StartError) -> [u8; REPORT_BYTES] {
    let [a, b, c, d] = error.errno.to_ne_bytes();
    [error.step as u8, 0, 0, 0, a, b, c, d]
}

fn decode_report(bytes: [u8; REPORT_BYTES]) -> StartError {
    let [step, _, _, _, a, b, c, d] = bytes;
    let step = STEPS.get(usize::from(step)).copied().unwrap_or(Step::Exec);
    StartError { step, errno: i32::from_ne_bytes([a, b, c, d]) }
}

/// Runs `body` in a forked copy of this process and returns its exit code: 0 when it returned, 101
/// when it panicked, minus a signal's number. For tests of what belongs to a whole process.
#[cfg(test)]
pub(crate) fn in_fork(body: impl FnOnce()) -> i32 {
    let pid = fork_running(body);
    let mut status = 0;
    // SAFETY: the kernel writes one number into `status`.
    let found = unsafe { libc::waitpid(pid.raw(), &raw mut status, 0) };
    assert_eq!(found, pid.raw());
    if libc::WIFSIGNALED(status) { -libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

/// Runs `body` in a forked copy of this process, which gets SIGKILL when the calling thread ends.
#[cfg(test)]
pub(crate) fn fork_running(body: impl FnOnce()) -> Pid {
    // SAFETY: glibc makes its allocator usable in the child; the body uses no other lock that a
    // thread of the parent may have held, and the child leaves by _exit.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: takes numbers only.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        close_above(2);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        // SAFETY: ends the copy without running the harness's own end.
        unsafe { libc::_exit(if done.is_ok() { 0 } else { 101 }) }
    }
    Pid::new(u32::try_from(pid).unwrap()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        for step in STEPS {
            let error = StartError { step, errno: 13 };
            assert_eq!(decode_report(encode_report(error)), error);
        }
    }

    fn image(words: &[&str], paths: &[&str]) -> Image {
        let texts = |list: &[&str]| list.iter().map(|text| CString::new(*text).unwrap()).collect();
        Image {
            paths: texts(paths),
            words: texts(words),
            env: texts(&["A=1"]),
            directory: c"/".into(),
            or_root: false,
            umask: 0o022,
            descriptors: limits::original_descriptors().unwrap(),
        }
    }

    fn run(image: &Image) -> Result<String, StartError> {
        let (mut reader, writer) = file::pipe().unwrap();
        let null = File::open("/dev/null").unwrap();
        let spawned = spawn(image, null.as_fd(), writer.as_fd())?;
        drop(writer);
        let started = spawned.report.wait();
        let mut text = Vec::new();
        loop {
            file::wait_readable(reader.as_fd(), std::time::Duration::from_secs(10)).unwrap();
            match reader.read_to_end(&mut text) {
                Ok(_) => break,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        let mut status = 0;
        // SAFETY: the kernel writes one number into `status`.
        unsafe { libc::waitpid(spawned.pid.raw(), &raw mut status, 0) };
        started.map(|()| String::from_utf8(text).unwrap())
    }

    #[test]
    fn steps_that_fail_are_told_apart() {
        let env = image(&["env"], &["/nowhere/env", "/bin/env", "/usr/bin/env"]);
        assert_eq!(run(&env), Ok("A=1\n".into()), "the next directory is tried");
        let file = tempfile::NamedTempFile::new().unwrap();
        let plain = file.path().to_str().unwrap();
        for (paths, directory, or_root, wanted) in [
            (&["/nowhere/env"][..], c"/", false, Err((Step::Exec, libc::ENOENT))),
            (&[plain, "/nowhere/x"][..], c"/", false, Err((Step::Exec, libc::EACCES))),
            (&["/bin/env"][..], c"/nowhere", false, Err((Step::Directory, libc::ENOENT))),
            (&["/bin/env"][..], c"/dev/null", false, Err((Step::Directory, libc::ENOTDIR))),
            (&["/bin/env"][..], c"/nowhere", true, Ok("A=1\n")),
        ] {
            let image = Image { directory: directory.into(), or_root, ..image(&["env"], paths) };
            let wanted =
                wanted.map(String::from).map_err(|(step, errno)| StartError { step, errno });
            assert_eq!(run(&image), wanted, "{paths:?} {directory:?}");
        }
    }
}
