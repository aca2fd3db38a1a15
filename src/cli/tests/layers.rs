//! From all that is given to the settings of an agent.

use super::super::flags::{Setting, Status};
use super::*;
use crate::api::Role;
use crate::ident;
use crate::node::Level;
use crate::rng::Rng;
use std::time::Duration;

/// A file that is gone with the value, and its path.
fn file(text: &str) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    (file, path)
}

#[test]
fn nothing_given_is_a_node_on_loopback() {
    let settings = load(&[], &[]).unwrap();
    assert_eq!(
        settings,
        Settings {
            data_dir: "./bellwether.data".into(),
            http_addrs: vec!["127.0.0.1:8080".parse().unwrap()],
            http_hosts: vec!["127.0.0.1".into()],
            anonymous: None,
            node_name: "alpha.example".into(),
            tags: Vec::new(),
            timezone: None,
            log_level: Level::Info,
            log_json: false,
            running_max: 4_096,
            connections_max: 4_096,
            snapshot_bytes: 64 << 20,
            ballast_bytes: 16 << 20,
            leave_timeout: Duration::from_secs(15),
            warnings: Vec::new(),
        }
    );
}

#[test]
fn everything_given_arrives() {
    let (_file, path) = file(
        "data-dir = /data\nnode-name = beta\ntag = z=1, a=2\ntag = m=\ntimezone = Europe/Paris\n\
         log-level = debug\nlog-format = json\nmax-running = 7\nmax-connections = 9\n\
         snapshot-after = 1MiB\nleave-timeout = 1m\nballast = 0\nhttp-host = B.example, a.example\n\
         http-addr = 127.0.0.1:0, 127.0.0.1:0\nhttp-addr = [::1]:5\nserver = true\n",
    );
    let settings = load(&["--config", &path], &[]).unwrap();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        settings,
        Settings {
            data_dir: "/data".into(),
            http_addrs: ["127.0.0.1:0", "127.0.0.1:0", "[::1]:5"]
                .map(|a| a.parse().unwrap())
                .into(),
            http_hosts: ["127.0.0.1", "[::1]", "a.example", "b.example"].map(String::from).into(),
            anonymous: None,
            node_name: "beta".into(),
            tags: vec![pair("a", "2"), pair("m", ""), pair("z", "1")],
            timezone: Some("Europe/Paris".into()),
            log_level: Level::Debug,
            log_json: true,
            running_max: 7,
            connections_max: 9,
            snapshot_bytes: 1 << 20,
            ballast_bytes: 0,
            leave_timeout: Duration::from_secs(60),
            warnings: Vec::new(),
        }
    );
    assert_eq!(settings::load_file(Path::new(&path), &world(&[])), Ok(settings));
}

#[test]
fn flags_win_over_variables_over_the_file_over_the_default() {
    let (_file, path) = file("node-name = of-file\ntag = f=1\ntag = g=1\n");
    let config: &[&str] = &["--config", &path];
    let flags: &[&str] = &["--node-name", "of-flag", "--tag", "x=1", "--tag", "y=1"];
    let variables: &[(&str, &str)] = &[
        ("BELLWETHER_NODE_NAME", "of-variable"),
        ("BELLWETHER_TAG", "v=1,w=1"),
        ("BELLWETHER_MAX_RUNNING", ""),
    ];
    for (file, variable, flag, name, keys) in [
        (false, false, false, "alpha.example", ""),
        (true, false, false, "of-file", "fg"),
        (false, true, false, "of-variable", "vw"),
        (true, true, false, "of-variable", "vw"),
        (true, false, true, "of-flag", "xy"),
        (false, true, true, "of-flag", "xy"),
        (true, true, true, "of-flag", "xy"),
    ] {
        let mut line = Vec::new();
        line.extend(if file { config } else { &[] });
        line.extend(if flag { flags } else { &[] });
        let settings = load(&line, if variable { variables } else { &[] }).unwrap();
        assert_eq!(settings.node_name, name);
        let got: String = settings.tags.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(got, keys);
        assert_eq!(settings.warnings, [""; 0]);
    }
    let named = load(&[], &[("BELLWETHER_CONFIG", &path)]).unwrap();
    assert_eq!(named.node_name, "of-file");
    let named = load(config, &[("BELLWETHER_CONFIG", "/nowhere")]).unwrap();
    assert_eq!(named.node_name, "of-file");
}

#[test]
fn a_value_that_loses_is_checked_all_the_same() {
    let (_file, path) = file("\nmax-running = none\nlog-level = x\n");
    let line = ["--config", &path, "--max-running", "0"];
    let complaints = load(&line, &[("BELLWETHER_MAX_RUNNING", "many")]).unwrap_err();
    assert_eq!(
        complaints,
        [
            "--max-running: \"0\" is out of range (1-10000)".to_owned(),
            "BELLWETHER_MAX_RUNNING: \"many\" is not a whole number (1-10000)".to_owned(),
            format!("{path}:2:15: max-running: \"none\" is not a whole number (1-10000)"),
            format!("{path}:3:13: log-level: \"x\" is none of error, warn, info, debug"),
        ]
    );
}

#[test]
fn one_of_several_values_is_named_at_its_own_place() {
    let (_file, path) = file("tag = a=1,  b, c=1\n");
    let complaints = load(&["--config", &path], &[]).unwrap_err();
    assert_eq!(complaints, [format!("{path}:1:13: tag: \"b\" has no \"=\"; write KEY=VALUE")]);
}

#[test]
fn an_agent_started_by_a_job_does_not_take_the_name_of_the_jobs_node() {
    let name = ("BELLWETHER_NODE_NAME", "outer");
    let run = ("BELLWETHER_EXECUTION_ID", "9-outer-1");
    assert_eq!(load(&[], &[name]).unwrap().node_name, "outer");
    assert_ne!(load(&[], &[name, run]).unwrap().node_name, "outer");
}

#[test]
fn unknown_variables_are_warned_of() {
    for (name, warning) in [
        ("BELLWETHER_TEST", None),
        ("BELLWETHER_JOB_NAME", None),
        ("BELLWETHER_TRIGGER", None),
        ("bellwether_node_name", None),
        ("DKRON_NODE_NAME", None),
        (
            "BELLWETHER_NODENAME",
            Some("BELLWETHER_NODENAME: is not a setting; did you mean BELLWETHER_NODE_NAME?"),
        ),
        (
            "BELLWETHER_max_running",
            Some("BELLWETHER_max_running: is not a setting; did you mean BELLWETHER_MAX_RUNNING?"),
        ),
        (
            "BELLWETHER_NODE",
            Some("BELLWETHER_NODE: is not a setting; did you mean BELLWETHER_NODE_NAME?"),
        ),
        ("BELLWETHER_WINGS", Some("BELLWETHER_WINGS: is not a setting")),
        ("BELLWETHER_A\nB", Some("BELLWETHER_A\\nB: is not a setting")),
        ("BELLWETHER_UI", Some("BELLWETHER_UI: has no effect: this version has no dashboard yet")),
    ] {
        let settings = load(&[], &[(name, "true")]).unwrap();
        assert_eq!(settings.warnings, warning.into_iter().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn every_name_of_dkron_works_or_warns_or_is_refused() {
    for setting in flags::all().filter(|setting| setting.status != Status::Works) {
        let result = load(&[&format!("--{}=1", setting.name)], &[]);
        check_dkron(setting, result);
    }
    for (line, complaint) in [
        (["--server", "--bootstrap-expect=1"], None),
        (["--server=t", "--bootstrap-expect=0"], None),
        (["--server=false", "--ui"], Some("--server: \"false\" is refused: ")),
        (["--server=maybe", "--ui"], Some("--server: \"maybe\" is refused: ")),
        (["--server", "--bootstrap-expect=3"], Some("--bootstrap-expect: \"3\" is refused: ")),
    ] {
        let complaint = complaint.map(|text| {
            vec![format!("{text}this version runs one node; clustering is not available yet")]
        });
        assert_eq!(load(&line, &[]).err(), complaint, "{line:?}");
    }
}

fn check_dkron(setting: &Setting, result: Result<Settings, Vec<String>>) {
    let name = setting.name;
    match setting.status {
        Status::Works | Status::Only(..) => assert_eq!(result.unwrap().warnings, [""; 0]),
        Status::Ignored(why) => {
            let warning = format!("--{name}: has no effect: {why}");
            assert_eq!(result.unwrap().warnings, [warning]);
        }
        Status::Refused(why) => {
            assert_eq!(result.unwrap_err(), [format!("--{name}: is refused: {why}")]);
        }
    }
}

#[test]
fn an_effectless_setting_is_warned_of_once_for_each_place() {
    let warnings = load(&["--profile=a", "--profile=b"], &[]).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
}

#[test]
fn a_port_alone_is_loopback_unless_anyone_may_call() {
    let any = "has the role write, without a password";
    for (flags, addresses, hosts, warnings) in [
        (
            &["--http-addr", ":9"][..],
            "127.0.0.1:9",
            "127.0.0.1",
            vec![
                "--http-addr: listens on 127.0.0.1:9 only, because anonymous is not set; write \
                 127.0.0.1:9 to say so"
                    .to_owned(),
            ],
        ),
        (
            &["--http-addr", ":9", "--anonymous", "write"],
            "0.0.0.0:9",
            "",
            vec![format!("anonymous: anyone who reaches 0.0.0.0:9 {any}")],
        ),
        (
            &["--anonymous", "write"],
            "127.0.0.1:8080",
            "127.0.0.1",
            vec![format!("anonymous: every user of this host who reaches 127.0.0.1:8080 {any}")],
        ),
        (
            &[
                "--anonymous",
                "write",
                "--http-addr",
                "192.0.2.1:9",
                "--http-addr",
                "[2001:db8::1]:9",
            ],
            "192.0.2.1:9 [2001:db8::1]:9",
            "192.0.2.1 [2001:db8::1]",
            vec![
                format!("anonymous: anyone who reaches 192.0.2.1:9 {any}"),
                format!("anonymous: anyone who reaches [2001:db8::1]:9 {any}"),
            ],
        ),
        (&["--http-addr", "127.8.8.8:9"], "127.8.8.8:9", "127.8.8.8", vec![]),
        (
            &["--http-addr", "[::ffff:127.0.0.1]:9"],
            "[::ffff:127.0.0.1]:9",
            "[::ffff:127.0.0.1]",
            vec![],
        ),
        (
            &["--anonymous", "none", "--http-addr", "localhost:9"],
            "127.0.0.1:9",
            "127.0.0.1",
            vec![],
        ),
    ] {
        let settings = load(flags, &[]).unwrap();
        let got: Vec<String> = settings.http_addrs.iter().map(ToString::to_string).collect();
        assert_eq!(got.join(" "), addresses, "{flags:?}");
        assert_eq!(settings.http_hosts.join(" "), hosts, "{flags:?}");
        assert_eq!(settings.warnings, warnings, "{flags:?}");
        let role = flags.contains(&"write").then_some(Role::Write);
        assert_eq!(settings.anonymous, role, "{flags:?}");
    }
}

#[test]
fn an_address_for_others_is_refused_with_the_lines_that_would_work() {
    let text = |place: &str, address: &str, local: &str, open: &str| {
        let start = "can be reached from other hosts, and nothing tells who may call";
        let end = "Files of tokens, which tell callers apart, come in a later version.";
        format!(
            "{place}: {address} {start}; this would work:\n    {local}\n        to serve this host \
             only, or\n    {open}\n        in addition, to let anyone change and run jobs\n  {end}"
        )
    };
    let (_file, path) = file("http-addr = 0.0.0.0:9");
    let place = format!("{path}:1:13: http-addr");
    let none: &[(&str, &str)] = &[];
    for (flags, variables, complaint) in [
        (
            &["--http-addr", "0.0.0.0:9"],
            none,
            text("--http-addr", "0.0.0.0:9", "--http-addr 127.0.0.1:9", "--anonymous write"),
        ),
        (
            &["--http-addr", "[::]:9"],
            none,
            text("--http-addr", "[::]:9", "--http-addr 127.0.0.1:9", "--anonymous write"),
        ),
        (
            &["--anonymous", "none"],
            &[("BELLWETHER_HTTP_ADDR", "192.0.2.1:9")],
            text(
                "BELLWETHER_HTTP_ADDR",
                "192.0.2.1:9",
                "BELLWETHER_HTTP_ADDR=127.0.0.1:9",
                "BELLWETHER_ANONYMOUS=write",
            ),
        ),
        (
            &["--config", &path],
            none,
            text(&place, "0.0.0.0:9", "http-addr = 127.0.0.1:9", "anonymous = write"),
        ),
    ] {
        assert_eq!(load(flags, variables), Err(vec![complaint]));
    }
    // Whose role could not be read is told that, and no more.
    let complaints = load(&["--http-addr", "0.0.0.0:9", "--anonymous", "all"], &[]).unwrap_err();
    assert_eq!(complaints, ["--anonymous: \"all\" is none of none, read, run, write, admin"]);
}

#[test]
fn other_wrong_settings_are_refused() {
    let many = |count: usize| {
        let addresses: Vec<String> = (1..=count).map(|port| format!("[::1]:{port}")).collect();
        addresses.join(",")
    };
    assert!(load(&["--http-addr", &many(16)], &[]).is_ok());
    for (flags, complaint) in [
        (["--http-addr", &many(17)], "--http-addr: has more than 16 values"),
        (["--http-addr", "[::1]:1, [::1]:1"], "--http-addr: [::1]:1 is given twice"),
        (["--tag", "a=1,a=2"], "--tag: the key \"a\" is given twice"),
        (["--tag", "a=1,"], "--tag: \"\" has no \"=\"; write KEY=VALUE"),
        (
            ["--timezone", "Mars/Olympus"],
            "--timezone: \"Mars/Olympus\" is no time zone of this system",
        ),
        (
            ["--config", "/nowhere"],
            "/nowhere: cannot be read: No such file or directory (os error 2)",
        ),
        (["--config", "/"], "/: cannot be read: Is a directory (os error 21)"),
        (["--config", ""], "--config: must not be empty"),
    ] {
        assert_eq!(load(&flags, &[]).unwrap_err(), [complaint], "{flags:?}");
    }
}

#[test]
fn a_default_file_that_cannot_be_read_is_no_missing_one() {
    let mut world = world(&[]);
    world.read_file = |_, _| Err(io::ErrorKind::PermissionDenied.into());
    let complaints = settings::load(Vec::new(), &world).unwrap_err();
    let complaint = "/etc/bellwether/bellwether.conf: cannot be read: permission denied";
    assert_eq!(complaints, [complaint]);
}

#[test]
fn any_host_name_becomes_a_name() {
    let name = |hostname: &str| {
        let world = World { hostname: hostname.into(), ..world(&[]) };
        settings::load(Vec::new(), &world).unwrap().node_name
    };
    for (hostname, expected) in [
        ("alpha", "alpha"),
        ("a b/c", "a-b-c"),
        ("..-x", "x"),
        ("é", "node"),
        ("", "node"),
        ("(none)", "none-"),
    ] {
        assert_eq!(name(hostname), expected);
    }
    assert_eq!(name(&"x".repeat(200)).len(), ident::NAME_MAX_BYTES);
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let hostname: String =
            (0..rng.below(200)).map(|_| char::from(rng.below(256) as u8)).collect();
        assert_eq!(ident::check_name(&name(&hostname)), Ok(()), "seed {seed}");
    }
}
