//! Starting a program in a session of its own.
//!
//! The order of steps is vixie cron's `do_command` and sudo-rs's `exec`: everything that takes
//! memory happens before the child is made. A child that cannot go on writes the step and its errno
//! into a pipe that execve(2) closes, so the parent reads either that or the end of file.
//!
//! The child shares its parent's memory until its execve(2), as that of a posix_spawn(3) does:
//! copying the memory, page after page on both sides, and giving the copy back took longer than all
//! else that is done for a start. Unlike that of a posix_spawn(3) it runs beside its parent, who
//! does not wait for it, because a chdir(2) or an execve(2) on a dead network file system never
//! returns. So it runs on a stack of its own, reads nothing that its parent may change, writes to
//! that stack alone, and makes its system calls itself ([`direct`]).

use std::ffi::{CString, c_int, c_void};
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;

use super::process::Pid;
use super::{direct, errno, file, limits, signal};

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
    /// The signals that this process treats in its own way, to be given back their default actions.
    pub signals: signal::Changed,
}

/// The step that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Making the pipe for the report.
    Pipe,
    /// Making the child, clone(2).
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

/// A child on its way to execve(2), or beyond.
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
    said: Option<StartError>,
    /// What the child uses, until it surely does no more: given back at the end of the pipe, and
    /// never when the report is dropped before.
    plan: Option<NonNull<Plan>>,
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

/// Starts a child that becomes `image`, with `input` as its standard input and `output` as its
/// standard output and error. It has no other descriptor, no signal blocked or ignored, and leads
/// a session and group numbered as itself. Does not wait for the execve(2).
///
/// # Errors
/// At [`Step::Pipe`] and [`Step::Fork`]; later ones are told by the report.
pub fn spawn(
    image: Image,
    input: BorrowedFd<'_>,
    output: BorrowedFd<'_>,
) -> Result<Spawned, StartError> {
    // This process's copy of the writing end is closed at the end of this function, so that the
    // pipe ends when the child's does; and before another child could inherit it.
    let (pipe, writer) = file::pipe().map_err(|error| failed(Step::Pipe, &error))?;
    let plan = Plan::new(image, [input, output, writer.as_fd()]);
    let plan = NonNull::from(Box::leak(Box::new(plan)));
    let shares_memory = direct::LEAVES_ERRNO;
    match start(plan, shares_memory) {
        Ok(pid) => Ok(Spawned { pid, report: Report { pipe, said: None, plan: Some(plan) } }),
        Err(error) => {
            // SAFETY: it was leaked above, and there is no child that uses it.
            drop(unsafe { Box::from_raw(plan.as_ptr()) });
            Err(failed(Step::Fork, &error))
        }
    }
}

/// Makes the child, which has a copy of this memory unless it shares it.
fn start(plan: NonNull<Plan>, shares_memory: bool) -> io::Result<Pid> {
    // No handler of the parent may run in the child, and no signal be lost before its defaults
    // are set.
    let _blocked = signal::block_all()?;
    // SAFETY: it is nobody else's before the child begins.
    let stack = unsafe { &mut (*plan.as_ptr()).stack }.as_mut_ptr_range().end;
    let flags = if shares_memory { libc::CLONE_VM | libc::SIGCHLD } else { libc::SIGCHLD };
    // SAFETY: the child runs `child` on a stack that, like all else in the plan, stays where it is
    // until the child has left this memory; it only reads the rest of the plan, and writes nowhere
    // else.
    let pid = unsafe { libc::clone(child, stack.cast(), flags, plan.as_ptr().cast::<c_void>()) };
    let pid = errno::check(pid)?;
    let pid = u32::try_from(pid).ok().and_then(Pid::new);
    pid.ok_or_else(|| io::Error::from_raw_os_error(libc::EIO))
}

impl Report {
    /// How far the child has come; does not wait.
    pub fn read(&mut self) -> Progress {
        loop {
            let mut bytes = [0; REPORT_BYTES];
            match errno::retry(|| self.pipe.read(&mut bytes)) {
                Ok(0) => break,
                // Eight bytes go through a pipe whole. The end of the child follows.
                Ok(_) => self.said = Some(decode_report(bytes)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Progress::Pending;
                }
                Err(error) => return Progress::Failed(failed(Step::Pipe, &error)),
            }
        }
        if let Some(plan) = self.plan.take() {
            // SAFETY: `spawn` has leaked it for this report alone. A child leaves its memory before
            // its descriptors are closed, in execve(2) and at its end, so it uses this no more.
            drop(unsafe { Box::from_raw(plan.as_ptr()) });
        }
        self.said.map_or(Progress::Started, Progress::Failed)
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

/// All that a child needs and all that it writes to, in memory that was taken before it is made.
#[derive(Debug)]
struct Plan {
    image: Image,
    words: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    paths: Vec<*const libc::c_char>,
    input: RawFd,
    output: RawFd,
    report: RawFd,
    stack: Box<[MaybeUninit<StackLine>]>,
}

impl Plan {
    /// A plan with these descriptors as input, output and where to report.
    fn new(image: Image, descriptors: [BorrowedFd<'_>; 3]) -> Plan {
        let [input, output, report] = descriptors.map(|fd| fd.as_raw_fd());
        // The standard descriptors are put in place before the others are used, so none may be
        // among them; the Rust runtime opens 0, 1 and 2 at the start of a process if they are
        // closed.
        assert!(input.min(output).min(report) > 2, "a standard descriptor was closed");
        Plan {
            words: pointers(&image.words),
            env: pointers(&image.env),
            paths: pointers(&image.paths),
            image,
            input,
            output,
            report,
            stack: Box::new_uninit_slice(STACK_BYTES / size_of::<StackLine>()),
        }
    }
}

/// The stack of a child until its execve(2), twice what its few calls take without optimization. A
/// page and no more, because a thousand children at once touch a thousand of these.
const STACK_BYTES: usize = 4 * 1024;

/// The stack pointer is a multiple of its size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, align(16))]
struct StackLine([u8; 16]);

/// Pointers to `texts` and a null pointer behind.
fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Where the report's writing end is moved to, so that all above it can be closed in one call.
const REPORT_FD: RawFd = 3;
const REPORT_BYTES: usize = 8;

/// The child's part. Takes no memory and no lock, makes no call of the C library, does not panic
/// and never returns.
extern "C" fn child(plan: *mut c_void) -> c_int {
    // SAFETY: `start` gives its plan, which stays as long as this process uses it.
    let plan = unsafe { &*plan.cast::<Plan>() };
    let mut report = plan.report;
    let error = match arrange(plan, &mut report) {
        Err(error) => error,
        Ok(()) => StartError { step: Step::Exec, errno: execute(plan) },
    };
    let bytes = encode_report(error);
    // SAFETY: reads `bytes.len()` bytes from `bytes`. If it fails, the exit code still tells.
    let _ = unsafe {
        number_call(libc::SYS_write, report, bytes.as_ptr().expose_provenance(), bytes.len())
    };
    loop {
        // SAFETY: ends the child, and returns never.
        let _ = unsafe { number_call(libc::SYS_exit_group, FAILED_CODE, 0, 0) };
    }
}

/// A system call whose first argument is a number.
///
/// # Safety
/// That of [`direct::call`].
unsafe fn number_call(
    call: libc::c_long,
    first: c_int,
    second: usize,
    third: usize,
) -> Result<usize, i32> {
    // SAFETY: the caller's promise is the same.
    unsafe { direct::call(call, [first as usize, second, third, 0, 0]) }
}

fn arrange(plan: &Plan, report: &mut RawFd) -> Result<(), StartError> {
    let at = |step| move |errno| StartError { step, errno };
    let image = &plan.image;
    // SAFETY: takes nothing.
    unsafe { direct::call(libc::SYS_setsid, [0; 5]) }.map_err(at(Step::Session))?;
    for (from, to) in [(plan.input, 0), (plan.output, 1), (plan.output, 2)] {
        // SAFETY: takes numbers only; this process owns all its descriptors now.
        unsafe { number_call(libc::SYS_dup3, from, to, 0) }.map_err(at(Step::Descriptors))?;
    }
    if *report != REPORT_FD {
        let (to, flags) = (REPORT_FD as usize, libc::O_CLOEXEC as usize);
        // SAFETY: as above.
        unsafe { number_call(libc::SYS_dup3, *report, to, flags) }
            .map_err(at(Step::Descriptors))?;
        *report = REPORT_FD;
    }
    close_above(REPORT_FD);
    // SAFETY: takes a number only, never fails.
    let _ = unsafe { direct::call(libc::SYS_umask, [image.umask as usize, 0, 0, 0, 0]) };
    limits::set_directly(image.descriptors).map_err(at(Step::Limits))?;
    change_directory(image).map_err(at(Step::Directory))?;
    image.signals.set_defaults().map_err(at(Step::Exec))
}

fn close_above(last: RawFd) {
    let (first, every) = (last + 1, libc::c_uint::MAX as usize);
    // SAFETY: takes numbers only; no descriptor above is used any more.
    if unsafe { number_call(libc::SYS_close_range, first, every, 0) }.is_ok() {
        return;
    }
    // Before Linux 5.9, or under a filter that does not know the call.
    let limit = limits::soft_directly().unwrap_or(limits::DESCRIPTORS_MAX);
    for fd in first..RawFd::try_from(limit).unwrap_or(RawFd::MAX) {
        // SAFETY: as above; closing what is not open is harmless.
        let _ = unsafe { number_call(libc::SYS_close, fd, 0, 0) };
    }
}

fn change_directory(image: &Image) -> Result<(), i32> {
    let change_to = |directory: &std::ffi::CStr| {
        // SAFETY: reads a text that ends with NUL.
        unsafe {
            direct::call(libc::SYS_chdir, [directory.as_ptr().expose_provenance(), 0, 0, 0, 0])
        }
        .map(drop)
    };
    let changed = change_to(&image.directory);
    if changed.is_err() && image.or_root { change_to(c"/").or(changed) } else { changed }
}

/// Tries the paths in turn; returns the errno that tells most when none can be executed.
fn execute(plan: &Plan) -> i32 {
    let mut result = libc::ENOENT;
    for path in plan.paths.iter().take_while(|path| !path.is_null()) {
        let args = [
            path.expose_provenance(),
            plan.words.as_ptr().expose_provenance(),
            plan.env.as_ptr().expose_provenance(),
            0,
            0,
        ];
        // SAFETY: all three are arrays or texts that end with NUL, in a plan that stays.
        match unsafe { direct::call(libc::SYS_execve, args) } {
            // Not in this directory.
            Err(libc::ENOENT | libc::ENOTDIR) => {}
            // There, but not for us: say so unless a later directory has a better one.
            Err(libc::EACCES) => result = libc::EACCES,
            Err(error) => return error,
            Ok(_) => return libc::EIO,
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
            signals: signal::Changed::now(),
        }
    }

    fn run(image: &Image) -> Result<String, StartError> {
        let (mut reader, writer) = file::pipe().unwrap();
        let null = File::open("/dev/null").unwrap();
        let spawned = spawn(image.clone(), null.as_fd(), writer.as_fd())?;
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
        reap(spawned.pid);
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

    fn reap(pid: Pid) {
        let mut status = 0;
        // SAFETY: the kernel writes one number into `status`.
        let found = unsafe { libc::waitpid(pid.raw(), &raw mut status, 0) };
        assert_eq!(found, pid.raw());
    }

    /// It has no page behind it that would catch one that takes more.
    #[test]
    fn a_child_leaves_a_quarter_of_its_stack_and_can_do_with_a_copy_of_it() {
        const UNTOUCHED: StackLine = StackLine([0xa5; 16]);
        let missing = Err(StartError { step: Step::Exec, errno: libc::ENOENT });
        for (path, shares_memory, wanted) in [
            ("/bin/true", true, Ok(())),
            ("/nowhere/true", true, missing),
            ("/bin/true", false, Ok(())),
            ("/nowhere/true", false, missing),
        ] {
            let (pipe, writer) = file::pipe().unwrap();
            let null = File::open("/dev/null").unwrap();
            let descriptors = [null.as_fd(), writer.as_fd(), writer.as_fd()];
            let mut plan = Box::new(Plan::new(image(&["true"], &[path]), descriptors));
            plan.stack.fill(MaybeUninit::new(UNTOUCHED));
            let plan = NonNull::from(Box::leak(plan));
            let pid = start(plan, shares_memory).unwrap();
            drop(writer);
            let report = Report { pipe, said: None, plan: None };
            assert_eq!(report.wait(), wanted, "{path} {shares_memory}");
            reap(pid);
            // SAFETY: it was leaked above, and its child is gone.
            let plan = unsafe { Box::from_raw(plan.as_ptr()) };
            // SAFETY: all of it was filled above.
            let is_untouched = |line: &&MaybeUninit<_>| unsafe { line.assume_init() } == UNTOUCHED;
            let left = plan.stack.iter().take_while(is_untouched).count() * size_of::<StackLine>();
            // Where to begin, and with what, is written there before the child is made.
            let has_run_here = left < STACK_BYTES - 64;
            assert_eq!(has_run_here, shares_memory, "{path} {shares_memory}: {left} bytes left");
            assert!(left > STACK_BYTES / 4, "{path} {shares_memory}: {left} bytes left");
        }
    }

    /// As on a file system whose server is gone. Here it is a lease on the program, which must be
    /// given back before anybody else may open it.
    #[test]
    fn a_child_that_does_not_come_to_its_program_holds_up_nobody() {
        /// Of asm-generic/fcntl.h.
        const F_SETSIG: c_int = 10;
        let temp = tempfile::tempdir().unwrap();
        let program = temp.path().join("true");
        // In a process of its own: a lease is refused while anybody else has the file open, as a
        // child has that another thread makes at that moment.
        let code = in_fork(|| {
            std::fs::copy("/bin/true", &program).unwrap();
            let leased = File::open(&program).unwrap();
            let set = |what, value: c_int| {
                // SAFETY: takes numbers only.
                errno::check(unsafe { libc::fcntl(leased.as_raw_fd(), what, value) }).unwrap();
            };
            // Who asks for the lease is told of by a signal that nobody minds.
            set(F_SETSIG, libc::SIGURG);
            set(libc::F_SETLEASE, libc::F_WRLCK);
            let null = File::open("/dev/null").unwrap();
            let held = image(&["true"], &[program.to_str().unwrap()]);
            let mut held = spawn(held, null.as_fd(), null.as_fd()).unwrap();
            let free = image(&["true"], &["/bin/true"]);
            let free = spawn(free, null.as_fd(), null.as_fd()).unwrap();
            assert_eq!(free.report.wait(), Ok(()), "another one starts meanwhile");
            reap(free.pid);
            assert_eq!(held.report.read(), Progress::Pending);
            set(libc::F_SETLEASE, libc::F_UNLCK);
            assert_eq!(held.report.wait(), Ok(()));
            reap(held.pid);
        });
        assert_eq!(code, 0);
    }
}
