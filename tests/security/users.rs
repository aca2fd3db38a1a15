//! Other users of the machine, over TCP and the Unix socket.

use crate::common::{Agent, Client, DEADLINE, NOBODY, as_user, is_root, say, wait_until};
use crate::{Route, jobs, routes, with_job};
use serde_json::json;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

const SENTENCE: &str = "this address serves root and the user that the agent runs as";

/// Does `what` as another user; without root says that it can't, and does nothing.
fn as_nobody(what: impl FnOnce() + Send) {
    if is_root() {
        as_user(NOBODY, what);
    } else {
        say("not run as root: what another user gets was NOT checked");
    }
}

#[test]
fn another_user_gets_401_on_every_route_that_is_not_open() {
    let agent = Agent::start();
    let before = with_job(&agent);
    let tcp = agent.tcp();
    let routes = routes();
    assert!(routes.iter().any(|route| route.role.is_none()));
    as_nobody(|| {
        for Route { method, path, role } in &routes {
            let path = path.replace('*', "quiet");
            for method in [method.as_str(), "HEAD"] {
                if method == "HEAD" && path == "/v1/leave" {
                    continue;
                }
                let reply = tcp.request(method, &path, Some("{}"));
                if method == "HEAD" && !matches!(reply.status, 200 | 401 | 405) {
                    panic!("HEAD {path} gives {}", reply.status);
                }
                if method == "HEAD" {
                    continue;
                }
                match role {
                    None => assert_eq!(reply.status, 200, "{path} is open"),
                    Some(_) => {
                        assert_eq!(reply.status, 401, "{method} {path}: {}", reply.text());
                        let error = reply.json()["error"].as_str().expect("a sentence").to_owned();
                        assert!(error.starts_with(SENTENCE), "{error}");
                        assert_eq!(reply.json()["code"], json!("unauthorized"));
                        assert!(reply.header("www-authenticate").is_some());
                        assert!(!reply.text().contains("quiet"), "{method} {path} tells of jobs");
                    }
                }
            }
        }
        // Nobody is talked into another role.
        for header in [
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Real-IP", "127.0.0.1"),
            ("Forwarded", "for=127.0.0.1;by=root"),
            ("X-Remote-User", "root"),
            ("Authorization", "Bearer root"),
            ("Authorization", "Basic cm9vdDo="),
            ("X-HTTP-Method-Override", "GET"),
            ("Cookie", "role=admin"),
        ] {
            let reply = tcp.try_request("DELETE", "/v1/jobs/quiet", &[header], None);
            assert_eq!(reply.expect("a reply").status, 401, "{header:?}");
        }
        // What is open tells nobody's names.
        for path in ["/health", "/ready", "/ready?pretty"] {
            let text = tcp.get(path).expect(200).text();
            assert!(!text.contains("quiet") && !text.contains('/'), "{text}");
        }
    });
    assert_eq!(jobs(&agent), before);
    for Route { method, path, role: _ } in routes.iter().filter(|route| route.path != "/v1/leave") {
        let reply = tcp.request(method, &path.replace('*', "no-such-job"), Some(""));
        assert!(
            !matches!(reply.status, 401 | 403 | 405 | 421),
            "{method} {path}: {}",
            reply.status
        );
    }
    assert_eq!(jobs(&agent), before);
}

#[test]
fn anybody_gets_the_role_that_was_opened_and_the_owner_keeps_admin() {
    let names = ["read", "run", "write", "admin"];
    for (has, name) in names.into_iter().enumerate() {
        let agent = Agent::builder().flag("--anonymous", name).start();
        let before = with_job(&agent);
        let tcp = agent.tcp();
        let ready = tcp.get("/ready").expect(200).json();
        assert!(ready["warnings"].to_string().contains("anonymous"), "{ready}");
        as_nobody(|| {
            for route in routes().iter().filter(|route| route.path != "/v1/leave" || has < 3) {
                let needs = route.role.as_deref().unwrap_or("read");
                let needs = names.iter().position(|name| *name == needs).expect("a role");
                let (method, path) = (&route.method, route.path_for("no-such-job"));
                let reply = tcp.request(method, &path, Some(""));
                assert_eq!(reply.status == 403, has < needs, "{name}: {method} {path}");
                assert_ne!(reply.status, 401, "{name}: {method} {path}");
                if has < needs {
                    let sentence = format!("this needs the role {}; you have {name}", names[needs]);
                    assert_eq!(reply.json()["error"], json!(sentence));
                }
            }
        });
        assert_eq!(jobs(&agent), before);
        let owner = tcp.delete("/v1/jobs/quiet", "");
        assert_eq!(owner.status, 200, "the owner, where anybody has {name}: {}", owner.text());
    }
}

#[test]
fn another_user_does_not_reach_the_unix_socket() {
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path().join("data");
    open_to_all(home.path());
    let agent = Agent::builder().data_dir(&dir).start();
    let before = with_job(&agent);
    let unix = agent.unix();
    as_nobody(|| {
        let refused = unix.connect().err().expect("the directory is closed");
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        fs::read_dir(&dir).expect_err("the directory is closed");
    });
    // Somebody has opened the directory; the socket itself is closed as well.
    open_to_all(&dir);
    as_nobody(|| {
        let refused = unix.connect().err().expect("the socket is closed");
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    });
    // And the socket: then it is the agent that asks who is there.
    fs::set_permissions(dir.join("api.sock"), fs::Permissions::from_mode(0o666)).expect("ours");
    as_nobody(|| {
        for Route { method, path, role } in &routes() {
            let reply = unix.request(method, &path.replace('*', "quiet"), Some("{}"));
            let wanted = if role.is_some() { 403 } else { 200 };
            assert_eq!(reply.status, wanted, "{method} {path}: {}", reply.text());
            if role.is_some() {
                let sentence = "this socket serves root and the user that the agent runs as";
                assert_eq!(reply.json()["error"], json!(sentence));
            }
        }
    });
    assert_eq!(jobs(&agent), before);
}

#[test]
fn an_agent_without_privileges_serves_its_own_user_and_root() {
    if !is_root() {
        say("not run as root: an agent was NOT run as another user");
        let agent = Agent::start();
        agent.get("/v1/jobs").expect(200);
        return check_closed_to_all(agent.pid(), "the agent");
    }
    let home = tempfile::tempdir().expect("a directory");
    open_to_all(home.path());
    let program = home.path().join("bellwether");
    fs::copy(env!("CARGO_BIN_EXE_bellwether"), &program).expect("the program");
    let dir = home.path().join("data");
    fs::create_dir(&dir).expect("a directory");
    chown(&dir, Some(NOBODY), Some(NOBODY)).expect("root gives it away");
    let script = format!("exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \"$@\"");
    let agent = Agent::builder().program(&program).through(&script).data_dir(&dir).start();
    let tcp = agent.tcp();
    let job = json!({"name": "who", "schedule": "@manually", "command": "id -u"});
    as_user(NOBODY, || tcp.post("/v1/jobs?runoncreate", job).expect(201));
    wait_until(DEADLINE, "the run has ended", || {
        let runs = tcp.get("/v1/jobs/who/executions").expect(200).json();
        (runs[0]["output"] == json!(format!("{NOBODY}\n"))).then_some(())
    });
    agent.unix().get("/v1/jobs").expect(200);
    as_user(NOBODY, || agent.unix().get("/v1/jobs").expect(200));
    as_user(NOBODY - 1, || {
        tcp.get("/v1/jobs").expect(401);
        tcp.get("/health").expect(200);
        let unix = Client::Unix(dir.join("api.sock"));
        assert!(unix.connect().is_err() || unix.get("/v1/jobs").status == 403);
    });
    check_closed_to_all(agent.pid(), "the agent");
    check_closed_to_all(agent.launcher_pid(), "the launcher");
}

/// No user but root can look into the process, not even its own; nor is its memory ever written to
/// a core file.
#[track_caller]
fn check_closed_to_all(pid: libc::pid_t, who: &str) {
    let environ = format!("/proc/{pid}/environ");
    let owner = fs::metadata(&environ).expect("it runs").uid();
    assert_eq!(owner, 0, "{who} is open to user {owner}, with all that it holds in memory");
    let read = || fs::read(&environ).map(|bytes| bytes.len());
    let read = if is_root() { as_user(NOBODY, read) } else { read() };
    assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::PermissionDenied), "{who}");
}

fn open_to_all(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("it is ours");
}
