//! Restores: what is read, what is refused and with which words, and that nothing is lost on the
//! way through a backup.

use super::*;
use crate::job::Spec;
use crate::job::testing::random_spec;
use crate::rng::Rng;
use crate::store::{Facts, JobPut};

const HEAD: &str = r#"{"format":"bellwether-backup","version":1,"cluster":"5","index":3}"#;

fn last(jobs: usize) -> String {
    format!(r#"{{"end":"bellwether-backup","jobs":{jobs}}}"#)
}

fn job(name: &str) -> String {
    format!(r#"{{"name":"{name}","schedule":"@manually","command":"true"}}"#)
}

fn backup(jobs: &[String]) -> String {
    format!("{HEAD}\n{}\n{}\n", jobs.join("\n"), last(jobs.len()))
}

fn zones(world: &mut World) {
    for name in ["Asia/Tokyo", "Europe/Paris"] {
        world.zones.insert(name.into(), Zone::utc());
    }
}

/// A restore of `body` in a request of its own, which is not held to the limit of other routes.
fn restore(world: &mut World, target: &str, body: &str) -> Response {
    let mut request = request(&format!("POST {target}"));
    request.body = body.into();
    world.answer(&request)
}

#[test]
fn an_empty_cluster_takes_a_backup_for_its_own_past() {
    let mut jobs = 0;
    for seed in 0..4 {
        let rng = &mut Rng::new(seed);
        let mut world = World::new();
        zones(&mut world);
        // Many of them run after this one.
        world.ask(&format!("POST /v1/jobs\n\n{}", job("other")));
        for _ in 0..150 {
            let spec = match random_spec(rng) {
                spec if spec.schedule == "never" => Spec { schedule: "@manually".into(), ..spec },
                spec => spec,
            };
            world.now.wall = Wall(NOON.0 - rng.below(1 << 33) as i64);
            let ahead = |rng: &mut Rng| NOON.second().plus(rng.below(1_000) as i64);
            let start = spec.starts_at.map_or(Second(0), |at| at.second().plus(-1));
            world.apply(Record::JobPut(JobPut {
                name: spec.name.clone(),
                spec: spec.to_bytes(),
                timing: crate::schedule::timing(&spec),
                facts: crate::api::jobs::facts(&spec),
                mark: Some(ahead(rng).max(start)),
                anchor: Some(NOON.second().plus(-(rng.below(1 << 20) as i64))),
            }));
            if rng.chance(1, 3) {
                world.ask(&format!("POST /v1/jobs/{}", spec.name));
                let group = world.state.applied().0;
                let end = [End::Succeeded, End::Failed, End::Missed][rng.below(3) as usize];
                world.end(group, 1, end, b"");
            }
        }
        world.now.wall = NOON;
        let told = body_text(&world.ask("GET /v1/backup"));
        let mut other = World::new();
        zones(&mut other);
        let response = restore(&mut other, "/v1/restore", &told);
        assert_eq!(response.status, 200, "seed {seed}: {}", body_text(&response));
        let shown = |world: &mut World| {
            let mut list = world.body("GET /v1/jobs", 200);
            for job in list.as_array_mut().unwrap() {
                job.as_object_mut().unwrap().remove("version");
            }
            list
        };
        let (wanted, got) = (shown(&mut world), shown(&mut other));
        jobs += got.as_array().unwrap().len();
        assert_eq!(got, wanted, "seed {seed}");
        let again = body_text(&other.ask("GET /v1/backup"));
        let lines = |text: &str| text.split_once('\n').map(|(_, rest)| rest.to_owned());
        assert_eq!(lines(&again), lines(&told), "seed {seed}");
        let facts = |world: &World| -> Vec<Facts> {
            world.state.jobs_by_name().map(|job| job.facts).collect()
        };
        assert_eq!(facts(&other), facts(&world), "seed {seed}");
    }
    assert!(jobs > 400, "{jobs} jobs");
}

#[test]
fn what_is_no_backup_is_refused_where_it_is_wrong_and_changes_nothing() {
    let (a, b) = (job("a"), job("b"));
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(600 * 1024));
    for (body, part) in [
        (String::new(), "incomplete"),
        (" \n ".into(), "incomplete"),
        (format!("{HEAD}\n{a}\n"), "incomplete"),
        (format!("{HEAD}\n{a}\n{}", &last(1)[..20]), "line 3: EOF while parsing"),
        (a.clone(), "line 1: a backup begins with a line that says its format"),
        (
            r#"{"format":"bellwether-backup","version":2}"#.into(),
            "line 1: the version of a backup must be 1",
        ),
        ("x".into(), "line 1: expected value (column 1)"),
        (backup(&[a.clone(), a.clone()]), "line 3: name: \\\"a\\\" is there twice"),
        (format!("{HEAD}\n{a}\n{}", last(2)), "line 3: the last line tells of another number"),
        (format!("{HEAD}\n{a}\n{}\n{b}", last(1)), "line 4: nothing may follow the end"),
        (format!("{HEAD}\n{a}\n\n[]\n{}", last(1)), "line 4: a JSON object is needed"),
        (format!("{HEAD}\n{a}{b}\n{}", last(1)), "line 2: trailing characters (column"),
        (format!("{HEAD}\n{{\"name\":\"c\"}}\n{}", last(1)), "line 2: schedule: is missing"),
        (
            format!("{HEAD}\n{long}\n{}", last(1)),
            "line 2: it is too long, a job has at most 524288 bytes",
        ),
        (
            format!("{HEAD}\n{}\n{}", a.replace("}", ",\"status\":\"x\"}"), last(1)),
            "line 2: status: \\\"x\\\" is no status",
        ),
        ("[".into(), "incomplete"),
        (format!("[{a}"), "incomplete"),
        (format!("[{a},"), "job 2 (line 1): nothing is there"),
        (format!("[{a},]"), "job 2 (line 1): nothing is there"),
        (format!("[,{a}]"), "job 1 (line 1): nothing is there"),
        (format!("[{a}\n{b}]"), "job 1 (line 2): trailing characters"),
        (format!("[{a},\n\n7]"), "job 2 (line 3): a JSON object is needed, not a number"),
        (format!("[{a},\n{{\n\"name\":}}]"), "job 2 (line 3): expected value (column 8)"),
        (format!("[{a}] x"), "nothing may follow the end"),
        (format!("[{a},{{\"name\":\"../x\"}}]"), "job 2 (line 1): name: "),
        (format!("[{a},{}]", a.replace("@manually", "* *")), "job 2 (line 1): schedule: "),
    ] {
        let mut world = World::new();
        world.body(&put("kept", ""), 201);
        let before = body_text(&world.ask("GET /v1/jobs"));
        let response = restore(&mut world, "/v1/restore?replace", &body);
        let shown: String = body.chars().take(300).collect();
        assert_eq!(response.status, 400, "{shown}: {}", body_text(&response));
        assert!(body_text(&response).contains(part), "{shown}: {}", body_text(&response));
        check_always(&response, &shown);
        assert_eq!(body_text(&world.ask("GET /v1/jobs")), before, "{shown}");
    }
}

#[test]
fn what_became_of_each_job_is_told() {
    let mut world = World::new();
    world.body(&put("a", ""), 201);
    world.body(&put("z", ""), 201);
    let response = restore(&mut world, "/v1/restore", &backup(&[job("a"), job("b")]));
    let told = r#"[{"name":"a","result":"replaced"},{"name":"b","result":"created"}]"#;
    assert_eq!((response.status, body_text(&response).as_str()), (200, told));
    world.talk(&[("GET /v1/jobs/z", "200"), ("GET /v1/jobs/b", "200")]);
    let response = restore(&mut world, "/v1/restore?replace", &backup(&[job("b")]));
    let told = "[{\"name\":\"b\",\"result\":\"replaced\"},{\"name\":\"a\",\"result\":\"removed\"},\
                {\"name\":\"z\",\"result\":\"removed\"}]";
    assert_eq!((response.status, body_text(&response).as_str()), (200, told));
    let empty = restore(&mut world, "/v1/restore?replace&pretty", "[ ]");
    assert!(body_text(&empty).contains("\"result\": \"removed\""));
    world.talk(&[("GET /v1/jobs", "200 | = []")]);
}

#[test]
fn the_one_file_of_a_form_is_a_backup() {
    let part = |text: &str| {
        let fields = "Content-Disposition: form-data; name=\"file\"; filename=\"b\"\r\n\
                      Content-Type: application/octet-stream";
        format!("--X-y\r\n{fields}\r\n\r\n{text}\r\n")
    };
    let array = format!("[{}]", job("a"));
    let whole = format!("{}--X-y--\r\n", part(&array));
    let two = format!("{}{}--X-y--\r\n", part(&array), part(&array));
    let form = "multipart/form-data; boundary";
    for (kind, body, wanted) in [
        (format!("{form}=X-y"), &whole, "200 | ~ created"),
        ("Multipart/Form-Data; charset=utf-8; boundary=\"X-y\"".into(), &whole, "200"),
        (format!("{form}=X-y"), &part(&array), "400 | ~ one file"),
        (format!("{form}=X-y"), &two, "400 | ~ one file"),
        (format!("{form}=X"), &whole, "400 | ~ one file"),
        (format!("{form}="), &whole, "400 | ~ one file"),
        ("multipart/form-data; a=b".into(), &whole, "400 | ~ one file"),
        (format!("{form}=X-y"), &String::new(), "400 | ~ one file"),
        ("multipart/form-data".into(), &whole, "415 | ~ --data-binary"),
        ("multipart/mixed; boundary=X-y".into(), &whole, "415"),
        ("application/x-www-form-urlencoded".into(), &array, "200"),
    ] {
        let text = format!("POST /v1/restore\nContent-Type: {kind}\n\n{body}");
        World::new().talk(&[(&text, wanted)]);
    }
}

/// As Dkron 3 and 4 give it, with what is of no meaning here at its neutral value.
#[test]
fn an_array_of_jobs_as_dkron_gives_it_is_restored() {
    let array = r#"[
  {"id":"nightly","name":"nightly","displayname":"Nightly [a, b]","timezone":"","schedule":
   "0 30 4 * * *","owner":"","owner_email":"","success_count":12,"error_count":3,
   "last_success":"2026-05-31T04:30:01.5Z","last_error":"0001-01-01T00:00:00Z",
   "disabled":false,"tags":{},"metadata":{"a":"]},{"},"retries":0,"dependent_jobs":null,
   "parent_job":"","processors":{},"concurrency":"allow","executor":"shell",
   "executor_config":{"command":"echo \"x\"","shell":"true"},"status":"success",
   "next":"2026-06-02T04:30:00Z","ephemeral":false,"expires_at":null},
  {"name":"second","schedule":"@every 1h","executor":"shell",
   "executor_config":{"command":"true"},"status":"running"}
]"#;
    let mut world = World::new();
    let response = restore(&mut world, "/v1/restore", array);
    assert_eq!(response.status, 200, "{}", body_text(&response));
    let job = world.body("GET /v1/jobs/nightly", 200);
    assert_eq!(job["command"], "echo \"x\"");
    assert_eq!((&job["success_count"], &job["error_count"]), (&12.into(), &3.into()));
    assert_eq!(job["last_success"], "2026-05-31T04:30:01.500Z");
    assert_eq!(job["last_error"], serde_json::Value::Null);
    assert_eq!((&job["status"], &job["next"]), (&"success".into(), &"2026-06-02T04:30:00Z".into()));
    let second = world.body("GET /v1/jobs/second", 200);
    assert_eq!((&second["status"], &second["next"]), (&"".into(), &"2026-06-01T13:00:00Z".into()));
}

#[test]
fn a_restore_with_a_key_is_made_once() {
    let mut world = World::new();
    let text = format!("POST /v1/restore\nIdempotency-Key: k\n\n[{}]", job("a"));
    world.talk(&[(&text, "200 | -Idempotent-Replayed | ~ created")]);
    let version = |world: &World| world.state.job_named("a").unwrap().version;
    let before = version(&world);
    world.talk(&[
        (&text, "200 | Idempotent-Replayed: true | = []"),
        ("POST /v1/restore\nIdempotency-Key: k\n\n[]", "409 | ~ idempotency_key_reused"),
    ]);
    assert_eq!(version(&world), before);
}
