//! A small file system in memory, in a mount namespace of its own, which an agent's data directory
//! is on. It goes when the last process in its namespace has ended.

use crate::common::{Agent, Builder, is_root, say};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// Mounts the file system on `$1` with the options `$2`, then mounts it anew with those that it
/// reads, and says how that went.
const HOLDER: &str = r#"
mount -t tmpfs -o "$2" bellwether-test "$1" && echo mounted || exit 1
while read -r options; do
    # Not with the options that it has: numbers of users mean others in a namespace.
    mount --options-mode ignore -o "remount,$options" "$1" 2>/dev/null &&
        echo mounted || echo refused
done"#;

/// What the test fills the disk with.
const FILLER: &str = "filler";

pub(crate) struct SmallDisk {
    dir: TempDir,
    holder: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl SmallDisk {
    /// A disk of so many KiB; `None`, which is said aloud, where no namespace can be made. That is
    /// a failure where all tests must run.
    pub(crate) fn new(kib: u64) -> Option<SmallDisk> {
        match SmallDisk::mount(kib) {
            Ok(disk) => Some(disk),
            Err(error) => {
                let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
                assert!(!ci, "no small disk can be mounted here: {error}");
                say(&format!("NOT RUN, no small disk can be mounted here: {error}"));
                None
            }
        }
    }

    fn mount(kib: u64) -> io::Result<SmallDisk> {
        let dir = tempfile::Builder::new().prefix("bellwether-disk-").tempdir()?;
        let mut command = Command::new("unshare");
        command.args(if is_root() { &["-m"][..] } else { &["-Urm"][..] });
        command.args(["/bin/sh", "-c", HOLDER, "holder"]).arg(dir.path());
        command.arg(format!("size={kib}k,mode=700"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn()?;
        let (orders, answers) = (holder.stdin.take(), holder.stdout.take());
        let answers = BufReader::new(answers.expect("it is a pipe"));
        let mut disk = SmallDisk { dir, holder, orders, answers };
        if disk.answer()? { Ok(disk) } else { Err(io::Error::other("mount was refused")) }
    }

    fn answer(&mut self) -> io::Result<bool> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line == "mounted\n")
    }

    /// An agent on this disk.
    pub(crate) fn agent(&self) -> Builder {
        let how = if is_root() { "" } else { "--user --preserve-credentials" };
        let pid = self.holder.id();
        let script = format!(r#"exec nsenter {how} --mount --target {pid} -- "$@""#);
        Agent::builder().data_dir(self.dir.path()).through(&script)
    }

    /// Where this test finds what the agent calls `name` in its data directory.
    pub(crate) fn inside(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        let dir = self.dir.path().strip_prefix("/").expect("an absolute path");
        root.join(dir).join(name)
    }

    /// Writes until there is no room for another byte.
    pub(crate) fn fill(&self) {
        let mut file = self.filler();
        for size in [64 * 1024, 4 * 1024, 1] {
            loop {
                match file.write_all(&vec![b'x'; size]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => panic!("cannot fill the disk: {error}"),
                }
            }
        }
    }

    /// Takes so many bytes.
    pub(crate) fn take(&self, bytes: usize) {
        self.filler().write_all(&vec![b'x'; bytes]).expect("there is room for them");
    }

    fn filler(&self) -> File {
        let file = OpenOptions::new().append(true).create(true).open(self.inside(FILLER));
        file.expect("it can be opened")
    }

    /// Removes what was written to fill the disk.
    pub(crate) fn free(&self) {
        fs::remove_file(self.inside(FILLER)).expect("it is there");
    }

    /// Whether there is a ballast; it must have that size then, all of it real.
    pub(crate) fn has_ballast(&self, size: &str) -> bool {
        let Ok(found) = fs::metadata(self.inside("ballast")) else { return false };
        let mib: u64 = size.trim_end_matches("MiB").parse().expect("MiB");
        let whole = found.len() == mib << 20 && found.blocks() * 512 >= found.len();
        // It is looked at while it may be being made.
        whole
    }

    /// The bytes of the journal and the runs log, by name.
    pub(crate) fn journal(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = fs::read_dir(self.inside("journal")).expect("it is there");
        let mut paths: Vec<PathBuf> = folder.map(|entry| entry.expect("an entry").path()).collect();
        paths.push(self.inside("runs"));
        paths.sort();
        let read = |path: &Path| fs::read(path).expect("it can be read");
        paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
    }

    /// Mounts the disk anew with `options`. Returns whether the kernel did.
    pub(crate) fn remount(&mut self, options: &str) -> bool {
        let orders = self.orders.as_mut().expect("it is open");
        writeln!(orders, "{options}").expect("it is sent");
        self.answer().expect("it answers")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.orders.take());
        let _ = self.holder.wait();
    }
}
