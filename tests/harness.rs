//! The tests' own tools are tested first: no agent leaves a process behind, however the test ends.
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use common::{Agent, Client, DEADLINE, alive, leftovers, wait_until};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

/// A stand-in for an agent with all that is hard to find again: a child, a grandchild in a session
/// of its own, and a daemon that forked twice, has an empty environment and another working
/// directory, and ignores every polite signal. Each writes its process number into `$1`.
const TREE: &str = r#"
    polite="trap '' TERM HUP INT;"
    wait="while :; do read x < $1/never; done"
    mkfifo $1/never
    sh -c "echo \$\$ > $1/child; $wait" &
    setsid sh -c "$polite echo \$\$ > $1/session; $wait" &
    (cd / && setsid env -i /bin/sh -c "$polite (echo \$\$ >$1/outer;
        exec /bin/sh -c 'echo \$\$ > $1/daemon; $wait') & exit" &)
    echo "$$" > $1/agent
    read x < $1/never
"#;
const TREE_NAMES: [&str; 4] = ["agent", "child", "session", "daemon"];

#[test]
fn dropping_an_agent_kills_everything_it_started() {
    let agent = Agent::builder().stand_in(TREE).launch();
    let (pids, id) = (tree_pids(agent.data_dir()), agent.id());
    assert!(pids.iter().all(|&pid| agent.owns(pid)), "{pids:?}");
    assert_eq!(agent.pid(), pids[0]);
    assert!(!leftovers(&id).is_empty());
    drop(agent);
    assert_eq!(leftovers(&id), [""; 0]);
    assert!(pids.iter().all(|&pid| !alive(pid)), "{pids:?}");
}

#[test]
fn what_a_killed_agent_leaves_is_killed_with_the_agent_that_follows() {
    let mut agent = Agent::builder().stand_in(TREE).launch();
    let mut pids = tree_pids(agent.data_dir());
    agent.kill9();
    assert!(!alive(pids[0]) && pids[1..].iter().all(|&pid| alive(pid) && agent.owns(pid)));
    fs::remove_file(agent.data_dir().join("never")).expect("the pipe is there");
    for name in TREE_NAMES {
        fs::remove_file(agent.data_dir().join(name)).expect("the number is there");
    }
    agent.relaunch();
    pids.extend(tree_pids(agent.data_dir()));
    drop(agent);
    assert!(pids.iter().all(|&pid| !alive(pid)), "{pids:?}");
}

#[test]
fn a_failing_test_leaves_nothing_behind() {
    let failed = thread::spawn(|| {
        let agent = Agent::builder().stand_in(TREE).launch();
        tree_pids(agent.data_dir());
        std::panic::panic_any(agent.id());
    });
    let id = *failed.join().expect_err("it panics").downcast::<String>().expect("the id");
    assert_eq!(leftovers(&id), [""; 0]);
}

#[test]
fn a_killed_test_program_leaves_nothing_behind() {
    const VICTIM: &str = "BELLWETHER_HARNESS_VICTIM";
    const NAME: &str = "a_killed_test_program_leaves_nothing_behind";
    if let Some(dir) = std::env::var_os(VICTIM) {
        let _agent = Agent::builder().stand_in(TREE).data_dir(dir).launch();
        loop {
            thread::park();
        }
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut victim = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", NAME, "--nocapture"])
        .env(VICTIM, dir.path())
        .env("TMPDIR", dir.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("this program runs");
    let pids = tree_pids(dir.path());
    victim.kill().expect("it runs");
    victim.wait().expect("it was started here");
    wait_until(DEADLINE, "the tree is gone", || pids.iter().all(|&pid| !alive(pid)).then_some(()));
}

#[test]
fn an_agent_is_stopped_killed_and_started_again_over_the_same_data() {
    let script = r#"
        trap 'echo "msg=\"stopped\""; exit 3' TERM
        echo "start" >> $1/starts
        echo "$$ started with $BELLWETHER_TEST $EXTRA $2"
        mkfifo $1/never 2>/dev/null
        while :; do read x < $1/never; done
    "#;
    let builder = Agent::builder().stand_in(script).env("EXTRA", "more").args(["flag"]);
    let mut agent = builder.launch();
    let line = agent.wait_for_log("started");
    assert_eq!(line, format!("{} started with {} more flag", agent.pid(), agent.id()));
    assert!(agent.is_running());
    let status = agent.stop();
    assert_eq!(status.code(), Some(3), "{status:?}");
    assert!(!agent.is_running());
    agent.relaunch();
    agent.wait_for_log("started");
    agent.kill9();
    assert_eq!(agent.wait().signal(), Some(libc::SIGKILL));
    let starts = fs::read_to_string(agent.data_dir().join("starts")).expect("it was written");
    assert_eq!(starts, "start\nstart\n");
    assert!(agent.log().contains(r#"msg="stopped""#));
}

#[test]
fn an_agent_is_ready_when_it_says_so_over_http() {
    let replies = ["HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\n{}", "HTTP/1.1 200 OK\r\n\r\n"];
    let (client, server) = serve(&replies);
    let Client::Tcp(address) = client else { panic!("it serves TCP") };
    let script = format!(
        r#"echo 'level=info msg="listening" http={address} socket=none'
           mkfifo $1/never; read x < $1/never"#
    );
    let agent = Agent::builder().stand_in(&script).start();
    let asked = server.join().expect("two requests came");
    assert!(asked.iter().all(|request| request.starts_with("GET /ready HTTP/1.1\r\n")));
    drop(agent);
}

#[test]
#[should_panic = "the agent has ended"]
fn an_agent_that_ends_before_it_is_ready_fails_the_test_at_once() {
    Agent::builder().stand_in(r#"echo 'msg="listening" http=127.0.0.1:1'; exit 4"#).start();
}

#[test]
#[should_panic = "no line with"]
fn an_agent_that_ends_before_it_listens_fails_the_test_at_once() {
    Agent::builder().stand_in("exit 4").start();
}

#[test]
fn the_launcher_is_found_by_its_file_and_killed_alone() {
    let script = r#"
        mkfifo $1/never
        setsid sh -c "sh -c 'echo \$\$ > $1/job; read x < $1/never' &
            echo \$\$ > $1/launcher.pid; read x < $1/never" &
        read x < $1/never
    "#;
    let mut agent = Agent::builder().stand_in(script).launch();
    let launcher = agent.launcher_pid();
    let job = pid_in(&agent.data_dir().join("job"));
    agent.kill9_launcher();
    assert!(!alive(launcher) && alive(job) && agent.is_running() && agent.owns(job));
}

#[test]
fn the_client_reads_every_kind_of_body() {
    for (reply, status, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more", 200, "hello"),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, "until the end"),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ("HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", 404, "no"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n",
            200,
            "abc0123456789",
        ),
    ] {
        let (client, server) = serve(&[reply]);
        let got = client.post("/v1/jobs", r#"{"a":1}"#);
        assert_eq!((got.status, got.text().as_str()), (status, body), "{reply}");
        let sent = server.join().expect("one request came");
        assert!(sent[0].starts_with("POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n"), "{sent:?}");
        assert!(sent[0].ends_with("Content-Length: 7\r\n\r\n{\"a\":1}"), "{sent:?}");
    }
}

#[test]
fn the_client_reports_replies_that_are_cut_off() {
    for reply in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
    ] {
        let (client, _server) = serve(&[reply]);
        let got = client.try_request("GET", "/", &[], None);
        assert!(got.is_err(), "{reply:?} gives {got:?}");
    }
}

#[test]
fn raw_bytes_go_out_as_they_are_and_come_back_whole() {
    let (client, server) = serve(&["HTTP/1.1 400 Bad Request\r\n\r\n"]);
    assert_eq!(client.raw(b"GET /half"), b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_eq!(server.join().expect("half a request came"), ["GET /half"]);
}

#[test]
fn a_connection_over_a_unix_socket_takes_several_requests() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("api.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut asked = String::new();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 20")
            .expect("sent");
        stream.write_all(b"1 Created\r\nX-Y: z\r\nContent-Length: 1\r\n\r\n2rest").expect("sent");
        stream.read_to_string(&mut asked).expect("the requests end");
        asked
    });
    let mut connection = Client::Unix(path).connect().expect("it listens");
    connection.send(b"one,").expect("it reads");
    connection.send(b"two").expect("it reads");
    assert_eq!(connection.reply("GET").expect("a reply").text(), "1");
    let second = connection.reply("GET").expect("a reply").expect(201);
    assert_eq!((second.text().as_str(), second.header("x-y")), ("2", Some("z")));
    connection.finish().expect("it is open");
    assert_eq!(server.join().expect("it ends"), "one,two");
    assert_eq!(connection.rest().expect("it closed"), b"rest");
}

/// Answers one connection with each of `replies` in turn; the thread returns what was asked.
fn serve(replies: &[&str]) -> (Client, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let replies: Vec<String> = replies.iter().map(|&reply| reply.to_owned()).collect();
    let server = thread::spawn(move || {
        let answer = |reply: &String| {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 4096];
            let count = stream.read(&mut request).expect("a request");
            stream.write_all(reply.as_bytes()).expect("the reply is taken");
            String::from_utf8_lossy(&request[..count]).into_owned()
        };
        replies.iter().map(answer).collect()
    });
    (Client::Tcp(address), server)
}

/// The process numbers of [`TREE`], in the order of its names.
fn tree_pids(dir: &Path) -> Vec<libc::pid_t> {
    TREE_NAMES.iter().map(|name| pid_in(&dir.join(name))).collect()
}

fn pid_in(file: &Path) -> libc::pid_t {
    let what = format!("{} holds a number", file.display());
    wait_until(DEADLINE, &what, || fs::read_to_string(file).ok()?.strip_suffix('\n')?.parse().ok())
}
