//! The command line of the real program, where something is wrong: exit codes, exact words, and
//! outputs that nobody reads.
#![allow(clippy::expect_used, reason = "what fails here fails the test")]

use std::fs;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program with nothing in its environment.
fn program(line: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    command.args(line).env_clear().stdin(Stdio::null());
    // Where a build with coverage leaves its counts.
    if let Some(path) = std::env::var_os("LLVM_PROFILE_FILE") {
        command.env("LLVM_PROFILE_FILE", path);
    }
    command
}

fn output(command: &mut Command) -> Output {
    command.output().expect("the program can be started")
}

/// Expects an exit code, and all that is said on standard output and standard error.
#[track_caller]
fn check(command: &mut Command, code: i32, out: &str, err: &str) {
    let got = output(command);
    assert_eq!(String::from_utf8_lossy(&got.stderr), err, "{command:?}");
    assert_eq!(String::from_utf8_lossy(&got.stdout), out, "{command:?}");
    assert_eq!(got.status.code(), Some(code), "{command:?}");
}

const VERSION: &str = concat!("bellwether ", env!("CARGO_PKG_VERSION"), "\n");

const OPEN: &str = "\
bellwether: --http-addr: 0.0.0.0:8080 can be reached from other hosts, and nothing tells who may \
call; this would work:
    --http-addr 127.0.0.1:8080
        to serve this host only, or
    --anonymous write
        in addition, to let anyone change and run jobs
  Files of tokens, which tell callers apart, come in a later version.
See: bellwether help agent
";

#[test]
fn a_wrong_command_line_ends_with_2_and_says_what_and_where_to_look() {
    for (line, err) in [
        (
            &[][..],
            "bellwether: a verb is missing; the verbs are agent, launcher, next, check-config, \
             journal, reset, completion, version, help\nSee: bellwether help\n",
        ),
        (
            &["agnet"],
            "bellwether: \"agnet\" is not a verb; did you mean agent?\nSee: bellwether help\n",
        ),
        (
            &["agent", "--max-running", "x"],
            "bellwether: --max-running: \"x\" is not a whole number (1-10000)\n\
             See: bellwether help agent\n",
        ),
        (
            &["agent", "--max-running=0", "--log-level=loud", "--join", "10.0.0.1"],
            "bellwether: --log-level: \"loud\" is none of error, warn, info, debug\n\
             bellwether: --max-running: \"0\" is out of range (1-10000)\n\
             bellwether: --join: is refused: this version runs one node; clustering is not \
             available yet\nSee: bellwether help agent\n",
        ),
        (
            &["agent", "-node", "alpha"],
            "bellwether: \"-node\" is not an option; options are written with two dashes, as in \
             --node-name\nSee: bellwether help agent\n",
        ),
        (
            &["agent", "--config", "/nowhere/x.conf"],
            "bellwether: /nowhere/x.conf: cannot be read: No such file or directory (os error 2)\n\
             See: bellwether help agent\n",
        ),
        (&["agent", "--http-addr", "0.0.0.0:8080"], OPEN),
        (&["launcher"], "bellwether: --data-dir: must be given\nSee: bellwether help launcher\n"),
        (
            &["version", "2"],
            "bellwether: nothing may follow version, but \"2\" does\nSee: bellwether help\n",
        ),
    ] {
        check(&mut program(line), 2, "", err);
    }
}

#[test]
fn a_wrong_start_makes_no_data_directory() {
    let home = tempfile::tempdir().expect("a directory can be made");
    let mut command = program(&["agent", "--data-dir", "data", "--max-running", "0"]);
    assert_eq!(output(command.current_dir(home.path())).status.code(), Some(2));
    assert_eq!(fs::read_dir(home.path()).expect("it is there").count(), 0);
}

#[test]
fn version_and_help_are_on_standard_output() {
    for line in [&["version"], &["--version"], &["-V"]] {
        check(&mut program(line), 0, VERSION, "");
    }
    for (line, start) in [
        (&["help"][..], "Usage: bellwether VERB"),
        (&["--help"], "Usage: bellwether VERB"),
        (&["-h"], "Usage: bellwether VERB"),
        (&["help", "agent"], "Usage: bellwether agent"),
        (&["agent", "--help"], "Usage: bellwether agent"),
        (&["launcher", "-h"], "Usage: bellwether launcher"),
        (&["help", "check-config"], "Usage: bellwether check-config"),
    ] {
        let got = output(&mut program(line));
        assert!(got.status.success() && got.stderr.is_empty(), "{line:?}");
        assert!(String::from_utf8_lossy(&got.stdout).starts_with(start), "{line:?}");
    }
}

/// Writes `text` into a file of `home` and gives its path.
fn file(home: &Path, name: &str, text: &str) -> String {
    let path = home.join(name);
    fs::write(&path, text).expect("a file can be written");
    path.to_str().expect("a path of this test is UTF-8").to_owned()
}

#[test]
fn check_config_says_ok_or_all_that_is_wrong() {
    let home = tempfile::tempdir().expect("a directory can be made");
    let good = file(home.path(), "good", "# nothing but\nnode-name = alpha\nserver = true\n");
    check(&mut program(&["check-config", &good]), 0, &format!("{good}: OK\n"), "");

    let odd = file(home.path(), "odd", "ui = true\nhttp-addr = :80\n");
    let err = format!(
        "bellwether: warning: {odd}:1:6: ui: has no effect: this version has no dashboard yet\n\
         bellwether: warning: {odd}:2:13: http-addr: listens on 127.0.0.1:80 only, because \
         anonymous is not set; write 127.0.0.1:80 to say so\n"
    );
    check(&mut program(&["check-config", &odd]), 0, &format!("{odd}: OK\n"), &err);

    let text = "node_name = a\n\n  tag = a=1, b # half\nmax-running = 1\nmax-running = 2\n";
    let bad = file(home.path(), "bad", text);
    let err = format!(
        "bellwether: {bad}:1:1: \"node_name\" is not a setting; did you mean node-name?\n\
         bellwether: {bad}:3:14: tag: \"b\" has no \"=\"; write KEY=VALUE\n\
         bellwether: {bad}:5:1: max-running: is given again, after line 4\n\
         See: bellwether help agent\n"
    );
    check(&mut program(&["check-config", &bad]), 2, "", &err);
    check(&mut program(&["agent", "--config", &bad]), 2, "", &err);
    check(program(&["agent"]).env("BELLWETHER_CONFIG", &bad), 2, "", &err);

    // The environment is the agent's, not the file's.
    let mut command = program(&["check-config", &good]);
    check(command.env("BELLWETHER_MAX_RUNNING", "x"), 0, &format!("{good}: OK\n"), "");
}

#[test]
fn a_wrong_value_is_named_by_its_place_and_the_strongest_comes_first() {
    let home = tempfile::tempdir().expect("a directory can be made");
    let bad = file(home.path(), "bad", "\nmax-running = c\n");
    let err = format!(
        "bellwether: --max-running: \"a\" is not a whole number (1-10000)\n\
         bellwether: BELLWETHER_MAX_RUNNING: \"b\" is not a whole number (1-10000)\n\
         bellwether: {bad}:2:15: max-running: \"c\" is not a whole number (1-10000)\n\
         See: bellwether help agent\n"
    );
    let mut command = program(&["agent", "--config", &bad, "--max-running", "a"]);
    check(command.env("BELLWETHER_MAX_RUNNING", "b"), 2, "", &err);
}

#[test]
fn an_output_that_nobody_reads_is_no_panic() {
    for (line, code) in [
        (&["help", "agent"][..], 0),
        (&["version"], 0),
        (&["completion", "bash"], 0),
        (&["agnet"], 2),
        (&["agent", "--max-running", "x"], 2),
    ] {
        // Both ends of both pipes are closed before the program writes.
        let (out, err) = (closed_pipe(), closed_pipe());
        let status = program(line).stdout(out).stderr(err).status();
        assert_eq!(status.expect("it starts").code(), Some(code), "{line:?}: closed pipes");

        // The shell starts it without the descriptors themselves.
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "exec \"$0\" \"$@\" >&- 2>&-", env!("CARGO_BIN_EXE_bellwether")]);
        let status = shell.args(line).env_clear().status();
        assert_eq!(status.expect("it starts").code(), Some(code), "{line:?}: no descriptors");
    }
}

#[test]
fn a_full_disk_is_told_on_standard_error() {
    let full = || File::options().write(true).open("/dev/full").expect("Linux has /dev/full");
    let err =
        "bellwether: cannot write to standard output: No space left on device (os error 28)\n";
    check(program(&["version"]).stdout(full()), 1, "", err);
    let status = program(&["agnet"]).stderr(full()).status();
    assert_eq!(status.expect("it starts").code(), Some(2));
}

fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    drop(reader);
    writer.into()
}

#[test]
fn bash_completes_verbs_options_and_values() {
    let script = r#"
        source <("$0" completion bash) || exit 9
        COMP_WORDS=(bellwether "$@") COMP_CWORD=$#
        _bellwether && printf '%s\n' "${COMPREPLY[@]}"
    "#;
    for (words, completed) in [
        (&["che"][..], "check-config\n"),
        (&["agent", "--max"], "--max-running\n--max-connections\n"),
        (&["agent", "--anonymous", "r"], "read\nrun\n"),
        (&["launcher", "--i"], "--idle-exit\n"),
        (&["help", "nex"], "next\n"),
        (&["version", ""], "\n"),
    ] {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", script, env!("CARGO_BIN_EXE_bellwether")]).args(words);
        check(&mut bash, 0, completed, "");
    }
}
