//! The API of the real program: the contract of the old clients, over both of its sockets.
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use common::{Agent, Client, Connection, DEADLINE, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;

/// A key, and whether a value may stand there.
type Key = (&'static str, fn(&Value) -> bool);

/// The keys of the job object that clients of the first era read, and what each holds.
const JOB_KEYS: [Key; 12] = [
    ("name", Value::is_string),
    ("schedule", Value::is_string),
    ("command", Value::is_string),
    ("shell", Value::is_boolean),
    ("owner", Value::is_string),
    ("owner_email", Value::is_string),
    ("success_count", Value::is_u64),
    ("error_count", Value::is_u64),
    ("last_success", is_time_or_null),
    ("last_error", is_time_or_null),
    ("disabled", Value::is_boolean),
    ("tags", Value::is_object),
];
const MEMBER_KEYS: [Key; 11] = [
    ("Name", Value::is_string),
    ("Addr", Value::is_string),
    ("Port", Value::is_u64),
    ("Tags", Value::is_object),
    ("Status", Value::is_u64),
    ("ProtocolMin", Value::is_u64),
    ("ProtocolMax", Value::is_u64),
    ("ProtocolCur", Value::is_u64),
    ("DelegateMin", Value::is_u64),
    ("DelegateMax", Value::is_u64),
    ("DelegateCur", Value::is_u64),
];
const EXECUTION_KEYS: [Key; 6] = [
    ("job_name", Value::is_string),
    ("started_at", is_time),
    ("finished_at", is_time),
    ("success", Value::is_boolean),
    ("output", Value::is_string),
    ("node_name", Value::is_string),
];
/// What an open execution has as `finished_at`; clients of both eras test for this text.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() >= 20 && text.ends_with('Z'))
}

fn is_time_or_null(value: &Value) -> bool {
    value.is_null() || is_time(value)
}

#[track_caller]
fn check_keys(object: &Value, keys: &[Key]) {
    for (key, is_right) in keys {
        let value = object.get(key).unwrap_or_else(|| panic!("no {key} in {object}"));
        assert!(is_right(value), "{key} is {value}");
    }
}

/// A job that never fires by itself.
fn job(name: &str, command: &str) -> Value {
    json!({ "name": name, "schedule": "@manually", "command": command, "shell": true })
}

/// Waits until the job has `count` executions that ended, and returns them.
fn ended(client: &Client, job: &str, count: usize) -> Vec<Value> {
    wait_until(DEADLINE, "the runs have ended", || {
        let all = client.get(&format!("/v1/jobs/{job}/executions")).expect(200).json();
        let all = all.as_array().expect("an array").clone();
        let open = all.iter().any(|one| one["finished_at"] == ZERO_TIME);
        (all.len() >= count && !open).then_some(all)
    })
}

/// Waits until the file holds at least so many lines.
fn wait_for_lines(file: &Path, count: usize) -> Vec<String> {
    wait_until(DEADLINE, "the job has written", || {
        let lines: Vec<String> = fs::read_to_string(file).ok()?.lines().map(Into::into).collect();
        (lines.len() >= count).then_some(lines)
    })
}

// ---- the contract ----

#[test]
fn the_contract_of_the_first_clients_holds_over_tcp_and_unix_socket() {
    let agent = Agent::start();
    for client in [agent.tcp(), agent.unix()] {
        seed_contract(&client);
    }
}

fn seed_contract(client: &Client) {
    let status = client.get("/v1").expect(200).json();
    assert!(["agent", "serf", "tags"].iter().all(|key| status[key].is_object()), "{status}");
    assert_eq!(client.get("/v1/jobs").expect(200).json(), json!([]));

    let old = json!({
        "name": "cron_job", "schedule": "@every 2h", "command": "/bin/echo hello",
        "shell": false, "owner": "Jane", "owner_email": "jane@example.com", "disabled": false,
        "success_count": 0, "error_count": 0, "last_success": ZERO_TIME, "last_error": ZERO_TIME,
        "tags": { "none": "such" }, "run_as_user": "",
    });
    let made = client.post("/v1/jobs", &old).expect(201);
    check_keys(&made.json(), &JOB_KEYS);
    assert_eq!(made.header("content-type"), Some("application/json; charset=utf-8"));
    assert!(made.header("x-whom").is_some());
    let changed = client.patch("/v1/jobs", json!({ "name": "cron_job", "tags": null }));
    assert_eq!(changed.expect(201).json()["owner"], "Jane");

    let list = client.get("/v1/jobs").expect(200);
    assert_eq!(
        (list.json().as_array().map(Vec::len), list.header("x-total-count")),
        (Some(1), Some("1"))
    );
    check_keys(&list.json()[0], &JOB_KEYS);
    check_keys(&client.get("/v1/jobs/cron_job").expect(200).json(), &JOB_KEYS);

    assert_eq!(client.get("/v1/executions/cron_job").expect(200).json(), json!([]));
    let run = client.request("POST", "/v1/jobs/cron_job", None).expect(200);
    check_keys(&run.json(), &JOB_KEYS);
    let group: u64 = run.header("x-execution-group").expect("a group").parse().expect("a number");
    let executions = ended(client, "cron_job", 1);
    check_keys(&executions[0], &EXECUTION_KEYS);
    assert_eq!(executions[0]["group"], group);
    assert_eq!(
        (&executions[0]["success"], &executions[0]["output"]),
        (&true.into(), &"hello\n".into())
    );
    assert_eq!(client.get("/v1/executions/cron_job").expect(200).json(), json!(executions));
    assert_eq!(client.get("/v1/jobs/cron_job").json()["success_count"], 1);

    check_keys(&client.get("/v1/leader").expect(200).json(), &MEMBER_KEYS);
    check_keys(&client.get("/v1/members").expect(200).json()[0], &MEMBER_KEYS);
    let gone = client.delete("/v1/jobs/cron_job", "").expect(200);
    check_keys(&gone.json(), &JOB_KEYS);
    for (method, path) in [
        ("GET", "/v1/jobs/cron_job"),
        ("DELETE", "/v1/jobs/cron_job"),
        ("POST", "/v1/jobs/cron_job"),
        ("GET", "/v1/executions/cron_job"),
    ] {
        let missing = client.request(method, path, None).expect(404);
        assert!(missing.json()["error"].is_string());
    }
    let pretty = client.get("/v1/jobs?pretty=true").expect(200);
    assert_eq!(pretty.text(), "[]\n");
}

#[test]
fn clients_of_the_later_era_find_what_they_call() {
    let agent = Agent::start();
    let client = agent.tcp();
    // As a provider of infrastructure sends it: texts for everything in executor_config, and
    // keys of its own there.
    let body = json!({
        "name": "tf", "displayname": "Terraform", "schedule": "0 0 3 * * *", "timezone": "UTC",
        "executor": "shell", "concurrency": "forbid", "retries": 0, "processors": {},
        "metadata": { "by": "tf" }, "tags": {}, "owner": "", "owner_email": "", "parent_job": "",
        "ephemeral": false, "expires_at": null, "disabled": false,
        "executor_config": { "command": "echo $A $B", "shell": "true", "env": "A=1,B=2",
            "cwd": "/", "timeout": "10s", "mem_limit_kb": "1024", "project": "p",
            "allowed_exitcodes": "0" },
    });
    let made = client.post("/v1/jobs?runoncreate=true", &body).expect(201);
    assert_eq!(made.header("location"), Some("/v1/jobs/tf"));
    let stored = client.get("/v1/jobs/tf").expect(200).json();
    for key in ["command", "shell", "env", "cwd", "timeout", "mem_limit_kb", "project"] {
        assert_eq!(stored["executor_config"][key], body["executor_config"][key], "{key}");
    }
    assert_eq!((&stored["id"], &stored["command"]), (&"tf".into(), &"echo $A $B".into()));
    assert_eq!(ended(&client, "tf", 1)[0]["output"], "1 2\n", "it was run on creation");

    // The dashboard edits by PUT of the whole object and reads pages with counts.
    let mut edited = stored.clone();
    edited["displayname"] = "Other".into();
    client.put("/v1/jobs/tf", &edited).expect(201);
    let page = client.get("/v1/jobs?_start=0&_end=10&_sort=name&_order=ASC&q=Oth").expect(200);
    assert_eq!(page.header("x-total-count"), Some("1"));
    for (path, key) in [("toggle", true), ("toggle", false)] {
        let toggled = client.request("POST", &format!("/v1/jobs/tf/{path}"), None).expect(200);
        assert_eq!(toggled.json()["disabled"], key);
    }
    client.request("POST", "/v1/jobs/tf/run", None).expect(200);
    let executions = ended(&client, "tf", 2);
    let id = executions[0]["id"].as_str().expect("an id");
    client.get(&format!("/v1/jobs/tf/executions/{id}?output_size_limit=1")).expect(200);
    let filtered = client.get("/v1/jobs?metadata[by]=tf&status=success&disabled=false");
    assert_eq!(filtered.expect(200).json()[0]["name"], "tf");
    assert_eq!(client.get("/v1/isleader").expect(200).json(), "I am a leader");
    assert_eq!(client.get("/v1/busy").expect(200).json(), json!([]));
    assert_eq!(client.get("/health").expect(200).json(), json!({ "status": "healthy" }));
    client.delete("/v1/jobs/tf", "").expect(200);
}

#[test]
fn a_got_job_is_posted_back_unchanged_across_a_restart() {
    let mut agent = Agent::start();
    let mut body = job("a", "echo \"\u{2603} \\\\ $X\" | cat");
    body["executor_config"] = json!({ "env": "X=1", "other": "kept" });
    agent.post("/v1/jobs", &body).expect(201);
    agent.post("/v1/jobs/a/run", "").expect(200);
    ended(&agent.tcp(), "a", 1);
    let first = agent.get("/v1/jobs/a").expect(200).json();
    let posted = agent.post("/v1/jobs", &first).expect(201);
    assert_eq!(posted.header("x-ignored-keys"), None);
    agent.restart();
    let mut after = agent.get("/v1/jobs/a").expect(200).json();
    assert!(after["version"].as_u64() > first["version"].as_u64(), "each write is a version");
    for key in ["version", "updated_at"] {
        after[key] = first[key].clone();
    }
    assert_eq!(after, first);
}

// ---- many at once ----

#[test]
fn concurrent_changes_lose_nothing() {
    let agent = Agent::start();
    let client = agent.tcp();
    client.post("/v1/jobs", job("shared", "true")).expect(201);
    let threads: Vec<_> = (0..16)
        .map(|number| {
            let client = if number % 2 == 0 { agent.tcp() } else { agent.unix() };
            thread::spawn(move || change_much(&client, number))
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread fails");
    }
    let shared = client.get("/v1/jobs/shared").expect(200).json();
    let metadata = shared["metadata"].as_object().expect("an object");
    let wanted =
        (0..16).flat_map(|number| (0..ROUNDS).map(move |round| format!("t{number}r{round}")));
    let missing: Vec<String> = wanted.filter(|key| !metadata.contains_key(key)).collect();
    assert_eq!(missing, [""; 0], "each merge sees those before it");
    let list = client.get("/v1/jobs").expect(200).json();
    let names: BTreeSet<&str> = list
        .as_array()
        .expect("an array")
        .iter()
        .map(|job| job["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names.len(), 1 + 16 + usize::from(names.contains("contended")));
}

/// How often each client of [`change_much`] goes round; an object holds 64 texts at most.
const ROUNDS: usize = 4;

/// One client's share: merges into a job that all change, makes jobs of its own and deletes some,
/// and quarrels about one more with the others.
fn change_much(client: &Client, number: usize) {
    for round in 0..ROUNDS {
        let key = format!("t{number}r{round}");
        let merged = client.patch("/v1/jobs/shared", json!({ "metadata": { &key: "x" } }));
        assert_eq!(merged.expect(201).json()["metadata"][&key], "x");
        let name = format!("own-{number}-{}", round % 2);
        client.post("/v1/jobs", job(&name, "true")).expect(201);
        client.get(&format!("/v1/jobs/{name}")).expect(200);
        if round % 2 == 1 {
            client.delete(&format!("/v1/jobs/{name}"), "").expect(200);
            client.get(&format!("/v1/jobs/{name}")).expect(404);
        }
        let made = client.put("/v1/jobs/contended", job("contended", "true"));
        made.expect(201);
        let deleted = client.delete("/v1/jobs/contended", "");
        assert!(matches!(deleted.status, 200 | 404), "{}", deleted.text());
    }
}

#[test]
fn of_many_changes_for_one_version_one_is_made() {
    let agent = Agent::start();
    agent.post("/v1/jobs", job("a", "true")).expect(201);
    let tag = agent.get("/v1/jobs/a").header("etag").expect("a tag").to_owned();
    let threads: Vec<_> = (0..16)
        .map(|number| {
            let (client, tag) = (agent.tcp(), tag.clone());
            thread::spawn(move || {
                let body = json!({ "owner": number.to_string() }).to_string();
                let headers = [("If-Match", tag.as_str())];
                let reply = client.try_request("PATCH", "/v1/jobs/a", &headers, Some(&body));
                reply.expect("an answer").status
            })
        })
        .collect();
    let mut statuses: Vec<u16> =
        threads.into_iter().map(|thread| thread.join().expect("no thread fails")).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [&[201][..], &[412; 15]].concat());
}

#[test]
fn a_key_makes_one_run_of_many_requests_even_across_a_kill() {
    let mut agent = Agent::start();
    let file = agent.home().join("ran");
    agent.post("/v1/jobs", job("a", &format!("echo x >> {}", file.display()))).expect(201);
    let headers = [("Idempotency-Key", "once")];
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let client = agent.tcp();
            thread::spawn(move || {
                let reply = client.try_request("POST", "/v1/jobs/a/run", &headers, None);
                let reply = reply.expect("an answer").expect(200);
                reply.header("x-execution-group").expect("a group").to_owned()
            })
        })
        .collect();
    let groups: BTreeSet<String> =
        threads.into_iter().map(|thread| thread.join().expect("no thread fails")).collect();
    assert_eq!(groups.len(), 1, "{groups:?}");
    wait_for_lines(&file, 1);
    agent.kill9();
    agent.restart();
    let again = agent.tcp().try_request("POST", "/v1/jobs/a/run", &headers, None);
    let again = again.expect("an answer").expect(200);
    assert_eq!(again.header("x-execution-group"), groups.first().map(String::as_str));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    ended(&agent.tcp(), "a", 1);
    assert_eq!(fs::read_to_string(&file).expect("it ran"), "x\n");
}

// ---- connections ----

#[test]
fn a_hundred_requests_in_one_write_are_answered_in_order() {
    let agent = Agent::start();
    for client in [agent.tcp(), agent.unix()] {
        let mut connection = client.connect().expect("the agent listens");
        let mut text = String::new();
        for number in 0..100 {
            let body = job(&format!("p{number:02}"), "true").to_string();
            let request = match number % 4 {
                0 => with_body("POST", "/v1/jobs", &body),
                1 => format!("GET /v1/jobs/p{:02} HTTP/1.1\r\nHost: localhost\r\n\r\n", number - 1),
                2 => format!(
                    "DELETE /v1/jobs/p{:02} HTTP/1.1\r\nHost: localhost\r\n\r\n",
                    number - 2
                ),
                _ => "GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            };
            text.push_str(&request);
        }
        connection.send(text.as_bytes()).expect("they are taken");
        for number in 0..100 {
            let reply = connection.reply("GET").expect("an answer");
            let wanted = if number % 4 == 0 { 201 } else { 200 };
            let reply = reply.expect(wanted);
            let name = format!("p{:02}", number - number % 4);
            match number % 4 {
                3 => assert_eq!(reply.json(), json!([])),
                _ => assert_eq!(reply.json()["name"], *name),
            }
        }
    }
}

fn with_body(method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn bodies_come_in_chunks_or_when_they_are_asked_for() {
    let agent = Agent::start();
    let body = job("a", "true").to_string();
    let (one, two) = body.split_at(10);
    let chunked = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x};x=y\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\nTrailer: x\r\n\r\n",
        one.len(),
        two.len()
    );
    let mut connection = agent.tcp().connect().expect("the agent listens");
    connection.send(chunked.as_bytes()).expect("it is taken");
    connection.reply("POST").expect("an answer").expect(201);

    // On the same connection: the head alone, and the body only after the interim answer.
    let head = format!(
        "PUT /v1/jobs/a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send(head.as_bytes()).expect("it is taken");
    let mut raw = agent.tcp().connect().expect("the agent listens");
    raw.send(head.as_bytes()).expect("it is taken");
    raw.finish().expect("the half is closed");
    let interim = String::from_utf8_lossy(&raw.rest().expect("the agent closes")).into_owned();
    assert!(interim.starts_with("HTTP/1.1 100 Continue\r\n\r\n"), "{interim}");
    connection.send(body.as_bytes()).expect("it is taken");
    connection.reply("PUT").expect("an answer").expect(201);

    let reply =
        String::from_utf8_lossy(&agent.raw(b"GET /v1/jobs HTTP/1.0\r\nHost: localhost\r\n\r\n"))
            .into_owned();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(!reply.to_ascii_lowercase().contains("transfer-encoding"), "{reply}");
    let (_, list) = reply.split_once("\r\n\r\n").expect("a body");
    let list: Value = serde_json::from_str(list).expect("JSON until the end");
    assert_eq!(list[0]["name"], "a");
}

// ---- runs ----

#[test]
fn what_overlaps_is_refused_and_a_disabled_job_runs_by_hand() {
    let agent = Agent::start();
    let gate = agent.home().join("gate");
    let mut body = job("a", &format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display()));
    body["concurrency"] = "forbid".into();
    body["disabled"] = true.into();
    agent.post("/v1/jobs", &body).expect(201);
    let group = agent.post("/v1/jobs/a", "").expect(200);
    let group = group.header("x-execution-group").expect("a group").to_owned();
    wait_until(DEADLINE, "the run has a process", || {
        let busy = agent.get("/v1/busy").expect(200).json();
        (busy[0]["state"] == "running").then_some(())
    });
    let refused = agent.post("/v1/jobs/a/run", "").expect(409).json();
    assert_eq!(refused["code"], "overlap");
    assert!(refused["error"].as_str().is_some_and(|text| text.contains(&group)), "{refused}");
    let open = agent.get("/v1/jobs/a/executions").expect(200).json();
    assert_eq!(open[0]["finished_at"], ZERO_TIME);
    fs::write(&gate, "").expect("the gate opens");
    ended(&agent.tcp(), "a", 1);
    agent.post("/v1/jobs/a/run", "").expect(200);
    assert_eq!(ended(&agent.tcp(), "a", 2).len(), 2);
}

#[test]
fn a_deleted_jobs_run_goes_on_and_a_job_made_anew_is_another() {
    let agent = Agent::start();
    let (gate, done) = (agent.home().join("gate"), agent.home().join("done"));
    let command = format!(
        "while [ ! -e {} ]; do sleep 0.05; done; echo end > {}",
        gate.display(),
        done.display()
    );
    agent.post("/v1/jobs", job("a", &command)).expect(201);
    agent.post("/v1/jobs/a/run", "").expect(200);
    agent.delete("/v1/jobs/a", "").expect(200);
    let busy = agent.get("/v1/busy").expect(200).json();
    assert_eq!((&busy[0]["job_name"], &busy[0]["job_deleted"]), (&"a".into(), &true.into()));
    assert_eq!((&busy[0]["reachable"], busy[0]["last_seen"].is_string()), (&true.into(), true));
    agent.post("/v1/jobs", job("a", "true")).expect(201);
    assert_eq!(agent.get("/v1/jobs/a/executions").expect(200).json(), json!([]));
    fs::write(&gate, "").expect("the gate opens");
    wait_for_lines(&done, 1);
    wait_until(DEADLINE, "nothing is busy", || {
        (agent.get("/v1/busy").expect(200).json() == json!([])).then_some(())
    });
    let anew = agent.get("/v1/jobs/a").expect(200).json();
    assert_eq!((&anew["success_count"], &anew["status"]), (&0.into(), &"".into()));
}

#[test]
fn a_job_that_can_run_nowhere_is_stored_with_a_warning() {
    let agent = Agent::start();
    let mut body = job("a", "true");
    body["tags"] = json!({ "role": "nobody" });
    let made = agent.post("/v1/jobs?runoncreate", &body).expect(201);
    let warnings = made.json()["warnings"].to_string();
    assert!(warnings.contains("runoncreate: no registered node"), "{warnings}");
    assert_eq!(made.header("x-execution-group"), None);
    agent.get("/v1/jobs/a").expect(200);
    // The name is free for the next change at once.
    agent.delete("/v1/jobs/a", "").expect(200);
}

#[test]
fn a_node_that_leaves_answers_its_members_ends_well_and_comes_back() {
    let mut agent = Agent::start();
    agent.post("/v1/jobs", job("a", "true")).expect(201);
    let refused = agent.tcp().try_request("GET", "/v1/leave", &[("Purpose", "prefetch")], None);
    refused.expect("an answer").expect(405);
    for method in ["GET", "POST"] {
        let left = agent.tcp().request(method, "/v1/leave", None).expect(200).json();
        check_keys(&left[0], &MEMBER_KEYS);
        assert_eq!((&left[0]["Status"], &left[0]["statusText"]), (&3.into(), &"left".into()));
        assert!(agent.wait().success());
        agent.restart();
        let members = agent.get("/v1/members").expect(200).json();
        assert_eq!(members[0]["statusText"], "alive");
        agent.get("/v1/jobs/a").expect(200);
    }
}

// ---- much ----

#[test]
fn a_long_list_read_slowly_delays_no_fire() {
    const JOBS: usize = 20_000;
    let agent = Agent::start();
    let witness = agent.home().join("witness");
    create_many(&agent, JOBS);
    let every = json!({
        "name": "every-second", "schedule": "* * * * * *", "shell": true,
        // Its own lateness in milliseconds: the due second is what it is told.
        "command": format!(
            "echo $(( $(date +%s%3N) - $(date -d \"$BELLWETHER_SCHEDULED_FOR\" +%s%3N) )) >> {}",
            witness.display()
        ),
    });
    agent.post("/v1/jobs", &every).expect(201);
    let before = wait_for_lines(&witness, 2).len();
    let mut slow = agent.tcp().connect().expect("the agent listens");
    slow.send(b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is taken");
    for path in ["/v1/jobs?_sort=displayname&_end=10", "/v1/jobs?q=job1999&pretty"] {
        agent.get(path).expect(200);
    }
    // The slow one has not read a byte while these fired.
    let lines = wait_for_lines(&witness, before + 4);
    agent.delete("/v1/jobs/job19999", "").expect(200);
    let list = slow.reply("GET").expect("the whole list").expect(200);
    assert_eq!(list.header("x-total-count"), Some((JOBS + 1).to_string().as_str()));
    let list = list.json();
    let names: Vec<&str> = list
        .as_array()
        .expect("an array")
        .iter()
        .map(|job| job["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names.len(), JOBS, "all but the one that was deleted meanwhile");
    assert!(names.is_sorted_by(|a, b| a < b) && !names.contains(&"job19999"));
    let late: Vec<i64> = lines.iter().map(|line| line.parse().expect("a number")).collect();
    // Measured against the same machine with nobody reading.
    let usual = late[..before].iter().min().copied().unwrap_or_default();
    let worst = late[before..].iter().max().copied().unwrap_or_default() - usual;
    assert!(worst < 500, "a fire was {worst} ms late: {late:?}");
}

/// Creates jobs over a few connections, many requests in each write.
fn create_many(agent: &Agent, count: usize) {
    const CONNECTIONS: usize = 100;
    const AT_ONCE: usize = 50;
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|share| {
            let client = agent.unix();
            thread::spawn(move || {
                let mut connection = client.connect().expect("the agent listens");
                let mine: Vec<usize> = (share..count).step_by(CONNECTIONS).collect();
                for numbers in mine.chunks(AT_ONCE) {
                    create(&mut connection, numbers);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread fails");
    }
}

fn create(connection: &mut Connection, numbers: &[usize]) {
    let text: String = numbers
        .iter()
        .map(|number| {
            with_body("POST", "/v1/jobs", &job(&format!("job{number}"), "true").to_string())
        })
        .collect();
    connection.send(text.as_bytes()).expect("they are taken");
    for _ in numbers {
        connection.reply("POST").expect("an answer").expect(201);
    }
}
