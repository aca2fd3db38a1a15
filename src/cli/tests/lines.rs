//! From words to actions, and from actions to exit codes.

use super::*;

#[test]
fn each_verb_has_its_action() {
    let launcher =
        |dir: &str, idle_exit| Action::Launcher(launcher::Settings { dir: dir.into(), idle_exit });
    let seconds = |seconds| Some(std::time::Duration::from_secs(seconds));
    let rows: &[(&[&str], Action)] = &[
        (&["agent"], Action::Agent(Vec::new())),
        (&["agent", "--help"], Action::Help(Some("agent"))),
        (&["agent", "-h"], Action::Help(Some("agent"))),
        (&["launcher", "--data-dir", "/d"], launcher("/d", seconds(60))),
        (&["launcher", "--data-dir=/d", "--idle-exit", "5s"], launcher("/d", seconds(5))),
        (&["launcher", "--idle-exit", "never", "--data-dir", "d"], launcher("d", None)),
        (&["launcher", "--help"], Action::Help(Some("launcher"))),
        (&["next"], Action::Next(Vec::new())),
        (
            &["next", "--count", "3", "@daily"],
            Action::Next(vec!["--count".into(), "3".into(), "@daily".into()]),
        ),
        (&["next", "--help"], Action::Next(vec!["--help".into()])),
        (&["help", "next"], Action::Next(vec!["--help".into()])),
        (&["check-config"], Action::CheckConfig(flags::CONFIG_FILE.into())),
        (&["check-config", "a.conf"], Action::CheckConfig("a.conf".into())),
        (&["check-config", "-h"], Action::Help(Some("check-config"))),
        (&["journal", "verify", "-h"], Action::Help(Some("journal"))),
        (&["reset", "--help"], Action::Help(Some("reset"))),
        (&["completion", "bash"], Action::Completion),
        (&["version"], Action::Version),
        (&["--version"], Action::Version),
        (&["-V"], Action::Version),
        (&["help"], Action::Help(None)),
        (&["--help"], Action::Help(None)),
        (&["-h"], Action::Help(None)),
        (&["help", "agent"], Action::Help(Some("agent"))),
        (&["help", "version"], Action::Help(Some("version"))),
    ];
    for (line, action) in rows {
        assert_eq!(parse(line).as_ref(), Ok(action), "{line:?}");
    }
}

#[test]
fn a_wrong_line_is_refused_with_one_clause() {
    let rows: &[(&[&str], &str)] = &[
        (&["agnet"], "\"agnet\" is not a verb; did you mean agent?"),
        (&["help", "agnt"], "\"agnt\" is not a verb; did you mean agent?"),
        (
            &["fly\x1b[2J"],
            "\"fly\\x1b[2J\" is not a verb; the verbs are agent, launcher, next, check-config, \
             journal, reset, completion, version, help",
        ),
        (
            &["keygen"],
            "the verb keygen is not available yet: this version runs one node; clustering is not \
             available yet",
        ),
        (
            &["--data-dir", "x"],
            "\"--data-dir\" is not an option here; a verb comes first, as in: bellwether agent",
        ),
        (&["version", "x"], "nothing may follow version, but \"x\" does"),
        (&["help", "agent", "x"], "nothing may follow agent, but \"x\" does"),
        (&["completion"], "the shell must be bash"),
        (&["completion", "fish"], "the shell must be bash"),
        (&["check-config", "a", "b"], "\"b\" is one word too many; one file is checked"),
        (&["check-config", "--all"], "\"--all\" is not an option of check-config"),
        (&["launcher"], "--data-dir: must be given"),
        (&["launcher", "--data-dir="], "--data-dir: must not be empty"),
        (&["launcher", "--data-dir", "d", "x"], "\"x\" is not an option"),
        (
            &["launcher", "--data-dir", "d", "--idle-exit", "soon"],
            "--idle-exit: \"soon\" is not a duration; write it like \"90s\" or \"1m30s\", or never",
        ),
        (&["launcher", "--node-name", "x"], "\"--node-name\" is not an option"),
        (&["agent", "x"], "\"x\" is not an option; an option starts with --"),
        (&["agent", "--", "--ui"], "\"--ui\" is not an option; an option starts with --"),
        (
            &["agent", "--nodename", "x"],
            "\"--nodename\" is not an option; did you mean --node-name?",
        ),
        (&["agent", "--node", "x"], "\"--node\" is not an option; did you mean --node-name?"),
        (
            &["agent", "--node_name=x"],
            "\"--node_name\" is not an option; did you mean --node-name?",
        ),
        (&["agent", "--wings", "2"], "\"--wings\" is not an option"),
        (
            &["agent", "-node", "x"],
            "\"-node\" is not an option; options are written with two dashes, as in --node-name",
        ),
        (
            &["agent", "-http-addr=:1"],
            "\"-http-addr\" is not an option; options are written with two dashes, as in \
             --http-addr",
        ),
        (
            &["agent", "-help"],
            "\"-help\" is not an option; options are written with two dashes, as in \
             --help",
        ),
        (&["agent", "-wings"], "\"-wings\" is not an option; options are written with two dashes"),
        (&["agent", "-x"], "\"-x\" is not an option"),
        (&["agent", "--node-name"], "--node-name: has no value; write --node-name NAME"),
        (&["agent", "--node-name=a", "--node-name=b"], "--node-name: is given more than once"),
        (&["agent", "--help=x"], "--help: takes no value"),
    ];
    for (line, complaint) in rows {
        let complaints = parse(line).map_err(|refusal| refusal.complaints);
        assert_eq!(complaints, Err(vec![complaint.to_string()]), "{line:?}");
    }
    assert!(parse(&[]).is_err());
}

#[test]
fn words_that_are_not_utf_8_are_refused() {
    use std::os::unix::ffi::OsStringExt;
    let word = OsString::from_vec(b"\xff\x1b".to_vec());
    let refusal = try_parse_from(["agent".into(), word]).unwrap_err();
    assert_eq!(refusal.complaints, ["\"\u{fffd}\\x1b\" is not UTF-8"]);
}

#[test]
fn a_refusal_points_at_the_help_and_stops_after_twenty() {
    let complaints: Vec<String> = (0..25).map(|n| n.to_string()).collect();
    let text = Refusal { complaints: complaints.clone(), see: Some("agent") }.to_string();
    assert!(text.ends_with("bellwether: 19\nbellwether: and 5 more\nSee: bellwether help agent\n"));
    let text = Refusal { complaints: complaints[..20].into(), see: None }.to_string();
    assert!(text.ends_with("bellwether: 19\nSee: bellwether help\n"));
}

/// Fails each write with its error.
struct Broken(io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(self.0.into())
    }
}

#[test]
fn an_output_that_fails_is_no_panic() {
    for (kind, code, said) in [
        (io::ErrorKind::BrokenPipe, ExitCode::SUCCESS, ""),
        (
            io::ErrorKind::StorageFull,
            ExitCode::FAILURE,
            "bellwether: cannot write to standard output: no storage space\n",
        ),
    ] {
        for action in [Action::Version, Action::Help(None), Action::Completion] {
            let mut err = Vec::new();
            let got = run(action, &world(&[]), &mut Broken(kind), &mut err);
            assert_eq!(format!("{got:?}"), format!("{code:?}"));
            assert_eq!(String::from_utf8(err).unwrap(), said);
        }
        let got = Refusal::of(None, "x").report(&mut Broken(kind));
        assert_eq!(format!("{got:?}"), format!("{:?}", ExitCode::from(USAGE)));
    }
}
