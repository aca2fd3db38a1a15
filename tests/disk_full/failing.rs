//! A disk that fails in other ways than by being full: the agent ends at once and says why, and
//! what it had answered is there when it starts again.

use crate::common::Agent;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Stands before the C library in the agent: while the file that `DISK_FAILS` names is there, what
/// that names first fails with the error number that comes second.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

static int fails(const char *call) {
    const char *path = getenv("DISK_FAILS");
    FILE *file = path ? fopen(path, "re") : NULL;
    if (!file) return 0;
    char name[16] = "";
    int number = 0;
    int found = fscanf(file, "%15s %d", name, &number);
    fclose(file);
    if (found != 2 || strcmp(name, call) != 0) return 0;
    errno = number;
    return 1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    if (fails("write")) return -1;
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    return real(fd, bytes, count, at);
}

int fdatasync(int fd) {
    if (fails("sync")) return -1;
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return real(fd);
}
"#;

fn compile(dir: &Path) -> String {
    let (source, shim) = (dir.join("shim.c"), dir.join("shim.so"));
    fs::write(&source, SHIM).expect("it can be written");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(&source).arg("-ldl");
    assert!(cc.status().expect("there is a compiler").success());
    shim.to_str().expect("a plain path").to_owned()
}

#[test]
fn a_disk_that_fails_ends_the_agent_and_costs_nothing_that_was_answered() {
    let home = tempfile::tempdir().expect("a directory");
    let shim = compile(home.path());
    let switch = home.path().join("fails");
    for (row, (call, errno, part)) in [
        ("write", libc::EROFS, "read-only"),
        ("write", libc::EIO, "Input/output error"),
        ("sync", libc::EIO, "Input/output error"),
        ("sync", libc::EROFS, "read-only"),
    ]
    .into_iter()
    .enumerate()
    {
        let what = format!("{call} fails with {errno}");
        let builder = Agent::builder().env("LD_PRELOAD", &shim);
        let builder = builder.env("DISK_FAILS", switch.to_str().expect("a plain path"));
        let mut agent = builder.start();
        let job =
            |name: &str| format!(r#"{{"name":"{name}","schedule":"@manually","command":"true"}}"#);
        agent.post("/v1/jobs", job("kept")).expect(201);
        let beside = home.path().join(format!("row-{row}"));
        fs::write(&beside, format!("{call} {errno}\n")).expect("it can be written");
        fs::rename(&beside, &switch).expect("it gets its name at once");
        let reply = agent.tcp().try_request("POST", "/v1/jobs", &[], Some(&job("late")));
        assert!(reply.is_err(), "{what}: {:?}", reply.map(|reply| reply.status));
        assert_eq!(agent.wait().code(), Some(1), "{what}");
        let line = agent.wait_for_log("the disk failed");
        assert!(line.contains("level=error") && line.contains(part), "{what}: {line}");
        fs::remove_file(&switch).expect("it is there");
        agent.relaunch();
        agent.wait_until_ready_again();
        agent.get("/v1/jobs/kept").expect(200);
    }
}
