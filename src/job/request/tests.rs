use super::super::testing::{Fixed, random_hot, random_spec, random_text};
use super::super::{Hot, Pretty, pretty, render, spec};
use super::*;
use crate::rng::Rng;

/// A valid job in few words, with more keys behind it.
fn job(more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(r#"{{"name":"a","schedule":"@hourly","command":"run"{comma}{more}}}"#)
}

fn parsed(body: &str, stored: Option<&Spec>, mode: Mode) -> Parsed {
    match read(body.as_bytes(), stored, mode, None, &Fixed::default()) {
        Ok(parsed) => parsed,
        Err(why) => panic!("{body}\nrefused: {why}"),
    }
}

#[track_caller]
fn refused(body: &str, sentence: &str) {
    let stored = Spec { name: "a".into(), ..Spec::default() };
    for mode in [Mode::Replace, Mode::Merge] {
        match read(body.as_bytes(), Some(&stored), mode, None, &Fixed::default()) {
            Err(why) => assert_eq!(why.sentence, sentence, "{body}"),
            Ok(parsed) => panic!("{body}\naccepted as {:?}", parsed.spec),
        }
    }
}

fn shown(spec: &Spec) -> Map<String, Value> {
    let mut out = Vec::new();
    render(&spec.to_bytes(), &Hot::default(), &mut out);
    json::read_object(&out).unwrap()
}

/// What of the shown object differs from that of a job with nothing but the three needed keys.
fn differences(spec: &Spec) -> String {
    let plain = shown(&parsed(&job(""), None, Mode::Replace).spec);
    let mut shown = shown(spec);
    shown.retain(|key, value| plain.get(key) != Some(value));
    Value::Object(shown).to_string()
}

/// 65 letters, of which a sentence shows 64.
const LONG_NAME: &str =
    r#""env":{"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx":{}}"#;

#[test]
fn each_wrong_text_number_and_word_gets_its_sentence() {
    for (key, sentence) in [
        (r#""owner":5"#, "owner: must be a text, not a number"),
        (r#""note":["a"]"#, "note: must be a text, not an array"),
        (r#""note":"a\u0000b""#, "note: has a NUL, which no text may hold (column 2)"),
        (r#""disabled":"maybe""#, "disabled: must be true or false, not \"maybe\""),
        (r#""disabled":1"#, "disabled: must be true or false, not a number"),
        (r#""keep":-1"#, "keep: must be a whole number 0-10000, not -1"),
        (r#""keep":1.5"#, "keep: must be a whole number 0-10000, not 1.5"),
        (r#""keep":"ten""#, "keep: must be a whole number 0-10000, not \"ten\""),
        (r#""keep":true"#, "keep: must be a whole number 0-10000, not a boolean"),
        (r#""keep":10001"#, "keep: 10001 is out of range 0-10000"),
        (r#""keep":"10001""#, "keep: \"10001\" is out of range 0-10000"),
        (r#""catchup_max":0"#, "catchup_max: 0 is out of range 1-10000"),
        (r#""catchup_max":10001"#, "catchup_max: 10001 is out of range 1-10000"),
        (r#""retries":11"#, "retries: 11 is out of range 0-10"),
        (r#""retries":-1"#, "retries: must be a whole number 0-10, not -1"),
        (r#""retry_backoff":"99ms""#, "retry_backoff: 99ms is out of range 100ms to 5m0s"),
        (r#""retry_backoff":301"#, "retry_backoff: 5m1s is out of range 100ms to 5m0s"),
        (
            r#""output_limit":1048575"#,
            "output_limit: 1048575 is out of range 1048576-1099511627776",
        ),
        (
            r#""output_limit":1099511627777"#,
            "output_limit: 1099511627777 is out of range 1048576-1099511627776",
        ),
        (
            r#""timeout":"5 minutes""#,
            "timeout: \"5 minutes\" is not a duration; write it like \"90s\" or \"1m30s\"",
        ),
        (r#""timeout":"-5s""#, "timeout: \"-5s\" is negative; a duration is 0 or more"),
        (r#""timeout":-5"#, "timeout: -5 is negative; a duration is 0 or more"),
        (r#""timeout":1e300"#, "timeout: 1e+300 is too long for a duration"),
        (
            r#""timeout":true"#,
            "timeout: must be a duration such as \"90s\" or a number of seconds, not a boolean",
        ),
        (r#""timeout":"8760h1s""#, "timeout: 8760h0m1s is out of range 1ms to 8760h0m0s"),
        (r#""timeout":"1ns""#, "timeout: 1ns is out of range 1ms to 8760h0m0s"),
        (r#""kill_grace":3601"#, "kill_grace: 1h0m1s is out of range 0s to 1h0m0s"),
        (r#""start_deadline":0.5"#, "start_deadline: 500ms is out of range 1s to 24h0m0s"),
        (r#""start_deadline":"25h""#, "start_deadline: 25h0m0s is out of range 1s to 24h0m0s"),
        (r#""catchup_window":0"#, "catchup_window: 0s is out of range 1s to 8760h0m0s"),
        (
            r#""catchup_window":"9000h""#,
            "catchup_window: 9000h0m0s is out of range 1s to 8760h0m0s",
        ),
        (r#""catchup":"both""#, "catchup: \"both\" is none of \"latest\", \"all\", \"skip\""),
        (r#""concurrency":"no""#, "concurrency: \"no\" is none of \"allow\", \"forbid\""),
        (r#""run_on":0"#, "run_on: must be \"all\", \"any\" or a number 1-1024, not 0"),
        (r#""run_on":1025"#, "run_on: must be \"all\", \"any\" or a number 1-1024, not 1025"),
        (r#""run_on":"one""#, "run_on: must be \"all\", \"any\" or a number 1-1024, not \"one\""),
        (r#""run_on":[]"#, "run_on: must be \"all\", \"any\" or a number 1-1024, not an array"),
    ] {
        refused(&job(key), sentence);
    }
}

#[test]
fn each_wrong_object_zone_and_time_gets_its_sentence() {
    for (key, sentence) in [
        (r#""tags":[]"#, "tags: must be an object, not an array"),
        (r#""tags":{"a":5}"#, "tags.a: must be a text, not a number"),
        (r#""tags":{"":"x"}"#, "tags: has an empty key; give it a name"),
        (r#""tags":{"a\nb":{}}"#, "tags.a\\nb: must be a text, not an object"),
        (r#""tags":{"role":"web:0"}"#, "tags.role: the count in \"web:0\" is out of range 1-1024"),
        (
            r#""tags":{"role":"web:99999999999999999999"}"#,
            "tags.role: the count in \"web:99999999999999999999\" is out of range 1-1024",
        ),
        (
            r#""tags":{"role":"web:2"},"run_on":"any""#,
            "run_on: must be \"all\" beside the tag \"role\", whose count 2 says how many nodes \
             run it",
        ),
        (r#""env":{"A=B":"1"}"#, "env.A=B: the name of a variable must not hold \"=\" or \",\""),
        (
            LONG_NAME,
            "env.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…: reading a \
             value from a file is not available in this version; give a text",
        ),
        (r#""env":{"A,B":"1"}"#, "env.A,B: the name of a variable must not hold \"=\" or \",\""),
        (
            r#""env":{"A":"********"}"#,
            "env.A: has the mask for its value, and no older value to keep",
        ),
        (
            r#""executor_config":{"env":"A=1,2"}"#,
            "executor_config.env: \"2\" has no \"=\"; a value that holds a comma can be given in \
             env only",
        ),
        (
            r#""executor_config":{"env":"=1"}"#,
            "executor_config.env: has an empty key; give it a name",
        ),
        (r#""executor_config":{"x":[]}"#, "executor_config.x: must be a text, not an array"),
        (
            r#""executor_config":{"timeout":"x"}"#,
            "executor_config.timeout: \"x\" is not a duration; write it like \"90s\" or \"1m30s\"",
        ),
        (r#""cwd":"tmp""#, "cwd: \"tmp\" is not an absolute path; begin it with \"/\""),
        (
            r#""executor_config":{"cwd":"tmp"}"#,
            "executor_config.cwd: \"tmp\" is not an absolute path; begin it with \"/\"",
        ),
        (
            r#""timezone":"Mars/Olympus""#,
            "timezone: \"Mars/Olympus\" is not a known time zone; give a name such as \
             \"Europe/Paris\" or \"UTC\"",
        ),
        (
            r#""starts_at":"tomorrow""#,
            "starts_at: \"tomorrow\" is not a time; write it like \"2030-01-31T08:00:00Z\"",
        ),
        (r#""starts_at":5"#, "starts_at: must be a text, not a number"),
        (
            r#""starts_at":"1969-12-31T23:59:59Z""#,
            "starts_at: \"1969-12-31T23:59:59Z\" is out of range; give a year 1970-9999",
        ),
        (
            r#""starts_at":"2030-01-02T00:00:00Z","expires_at":"2030-01-02T00:00:00Z""#,
            "expires_at: must be later than starts_at, 2030-01-02T00:00:00Z",
        ),
    ] {
        refused(&job(key), sentence);
    }
}

#[test]
fn what_is_missing_or_malformed_gets_its_sentence() {
    for (body, sentence) in [
        ("{}", "name: is missing; every job needs one"),
        (r#"{"name":null}"#, "name: is missing; every job needs one"),
        (r#"{"nmae":"x"}"#, "name: is missing; every job needs one; the body has \"nmae\" instead"),
        (r#"{"name":5}"#, "name: must be a text, not a number"),
        (r#"{"name":""}"#, "name: must not be empty"),
        (
            r#"{"name":"a b"}"#,
            "name: has ' ' at column 2; letters a-z and A-Z, digits, '_', '.' and '-' are allowed",
        ),
        (
            r#"{"name":"a","command":"x"}"#,
            "schedule: is missing; give one, such as \"@hourly\" or \"30 4 * * *\"",
        ),
        (
            r#"{"name":"a","command":"x","schedule":" "}"#,
            "schedule: is missing; give one, such as \"@hourly\" or \"30 4 * * *\"",
        ),
        (
            r#"{"name":"a","schedule":"bad * *","command":"x"}"#,
            "schedule: minute field: 75 is out of range 0-59 (column 3)",
        ),
        (r#"{"name":"a","schedule":"@hourly"}"#, "command: is missing; give the program to run"),
        (
            r#"{"name":"a","schedule":"@hourly","comand":"run"}"#,
            "command: is missing; give the program to run; the body has \"comand\" instead",
        ),
        (
            r#"{"name":"a","schedule":"@hourly","shell":true,"command":" \n"}"#,
            "command: is missing; give the program to run",
        ),
        (
            r#"{"name":"a","schedule":"@hourly","command":"echo 'a"}"#,
            "command: has a ' that is never closed (column 6)",
        ),
        (
            r#"{"name":"a","schedule":"@hourly","command":"'' a"}"#,
            "command: names no program (column 1)",
        ),
        (
            r#"{"name":"a","schedule":"@hourly","command":"\\\n"}"#,
            "command: names no program (column 1)",
        ),
        (
            r#"{"name":"a","timezone":"UTC","schedule":"CRON_TZ=Asia/Tokyo *","command":"x"}"#,
            "timezone: \"UTC\" differs from \"Asia/Tokyo\", with which schedule begins; give one \
             of them",
        ),
    ] {
        refused(body, sentence);
    }
    let malformed = read(b"[]", None, Mode::Replace, None, &Fixed::default()).unwrap_err();
    assert_eq!(malformed.kind, RefusalKind::Malformed);
    assert_eq!(
        malformed.sentence,
        "the body is not a valid JSON object: a JSON object is needed, not an array \
         (line 1 column 1)"
    );
}

#[test]
fn what_this_version_cannot_do_is_refused_and_its_neutral_values_are_taken() {
    let neutral = [r#""""#, "0", "\"0\"", "null", "false", "\"false\"", "{}", "[]"];
    for (key, asks, instead) in [
        ("processors", r#"{"log":{}}"#, "leave it out: the output of each run is kept"),
        ("notify", r#"[{}]"#, "leave it out, or let the command notify"),
        ("limits", r#"{"nice":1}"#, "leave it out, or let the command set limits"),
        ("run_as_user", "\"root\"", "leave it out: jobs run as the agent's own user"),
        ("ephemeral", "true", "use false, and delete the job after its run"),
        ("ephemeral", "\"true\"", "use false, and delete the job after its run"),
        ("queue_max", "1", "leave it out: runs don't queue"),
    ] {
        let sentence = format!("{key}: is not available in this version; {instead}");
        refused(&job(&format!("\"{key}\":{asks}")), &sentence);
        for value in neutral {
            let parsed = parsed(&job(&format!("\"{key}\":{value}")), None, Mode::Replace);
            assert_eq!(differences(&parsed.spec), "{}", "{key} {value}");
            assert!(parsed.ignored.is_empty(), "{key}");
        }
    }
    for (key, sentence) in [
        (
            r#""executor_config":{"su":"root"}"#,
            "executor_config.su: is not available in this version; leave it out: jobs run as the \
             agent's own user",
        ),
        (
            r#""executor_config":{"mem_limit":"1GB"}"#,
            "executor_config.mem_limit: is not available in this version; leave it out, or let \
             the command set a limit",
        ),
        (
            r#""executor_config":{"payload":"aGk="}"#,
            "executor_config.payload: is not available in this version; leave it out: a job's \
             standard input is empty",
        ),
        (
            r#""executor":"http""#,
            "executor: \"http\" is not available in this version; use \"shell\"",
        ),
        (
            r#""concurrency":"queue""#,
            "concurrency: \"queue\" is not available in this version; use \"allow\" or \"forbid\"",
        ),
        (
            r#""concurrency":"replace""#,
            "concurrency: \"replace\" is not available in this version; use \"allow\" or \
             \"forbid\"",
        ),
        (
            r#""env":{"A":{"file":"/etc/key"}}"#,
            "env.A: reading a value from a file is not available in this version; give a text",
        ),
    ] {
        refused(&job(key), sentence);
    }
}

#[test]
fn accepted_keys_are_shown_in_one_canonical_way() {
    let mut tables = vec![
        (r#""disabled":"true""#, r#"{"disabled":true}"#),
        (r#""disabled":"""#, "{}"),
        (r#""disabled":"True","idempotent":"f""#, r#"{"disabled":true}"#),
        (r#""timeout":0,"executor_config":{"timeout":"0s"}"#, "{}"),
        (
            r#""timeout":1,"executor_config":{"timeout":"1"}"#,
            concat!(
                r#"{"executor_config":{"command":"run","shell":"false","timeout":"1s"},"#,
                r#""timeout":"1s"}"#,
            ),
        ),
        (r#""keep":"7""#, r#"{"keep":7}"#),
        (r#""keep":7.0"#, r#"{"keep":7}"#),
        (r#""keep":0"#, r#"{"keep":0}"#),
        (r#""keep":"","output_limit":null"#, "{}"),
        (r#""kill_grace":"90s""#, r#"{"kill_grace":"1m30s"}"#),
        (r#""kill_grace":90"#, r#"{"kill_grace":"1m30s"}"#),
        (r#""kill_grace":"90""#, r#"{"kill_grace":"1m30s"}"#),
        (r#""kill_grace":1.5"#, r#"{"kill_grace":"1.5s"}"#),
        (r#""kill_grace":0"#, r#"{"kill_grace":"0s"}"#),
        (r#""kill_grace":"","start_deadline":null,"catchup":"","concurrency":"""#, "{}"),
        (
            r#""catchup":"all","catchup_window":"1h","catchup_max":1"#,
            r#"{"catchup":"all","catchup_max":1,"catchup_window":"1h0m0s"}"#,
        ),
        (r#""run_on":"any""#, r#"{"run_on":"any"}"#),
        (r#""run_on":3"#, r#"{"run_on":3}"#),
        (r#""run_on":"3""#, r#"{"run_on":3}"#),
        (r#""run_on":null,"tags":null,"metadata":null,"env":null,"executor_config":null"#, "{}"),
        (r#""tags":{"a":"","b":null}"#, r#"{"tags":{"a":""}}"#),
        (r#""tags":{"role":"web:2"},"run_on":"all""#, r#"{"tags":{"role":"web:2"}}"#),
        (r#""tags":{"url":"a:b","v":":"}"#, r#"{"tags":{"url":"a:b","v":":"}}"#),
        (r#""timezone":"Asia/Tokyo""#, r#"{"timezone":"Asia/Tokyo"}"#),
        (r#""starts_at":"2030-01-31T08:00:00+02:00""#, r#"{"starts_at":"2030-01-31T06:00:00Z"}"#),
        (r#""starts_at":"2030-01-31T08:00""#, r#"{"starts_at":"2030-01-31T08:00:00Z"}"#),
        (r#""starts_at":"0001-01-01T00:00:00Z","expires_at":"""#, "{}"),
        (r#""executor":"","executor_config":{"su":"","payload":null}"#, "{}"),
        (
            r#""executor_config":{"allowed_exitcodes":"0,3","n":5,"f":true,"z":null}"#,
            concat!(
                r#"{"executor_config":{"allowed_exitcodes":"0,3","command":"run","f":"true","#,
                r#""n":"5","shell":"false"}}"#,
            ),
        ),
        (r#""id":"zz","version":9,"success_count":"x","next":5,"warnings":0,"status":{}"#, "{}"),
    ];
    tables.push((r#""note":"a\"\\\n\u00e9\u0001""#, r#"{"note":"a\"\\\né\u0001"}"#));
    for (keys, wanted) in tables {
        let parsed = parsed(&job(keys), None, Mode::Replace);
        assert_eq!(differences(&parsed.spec), wanted, "{keys}");
        assert_eq!(parsed.canonical, parsed.spec.to_bytes());
        assert_eq!(Spec::from_bytes(&parsed.canonical).as_ref(), Ok(&parsed.spec), "{keys}");
    }
}

/// What a stored job has before the tables below change it.
fn stored() -> Spec {
    let keys = r#""shell":true,"env":{"A":"1","B":"x,y"},"cwd":"/old","timeout":"5s","keep":7,
        "tags":{"dc":"north","os":"linux"},"timezone":"Europe/Paris","run_on":"any","note":"n",
        "starts_at":"2030-01-01T00:00:00Z","executor_config":{"extra":"1"}"#;
    parsed(&job(keys), None, Mode::Replace).spec
}

#[test]
fn replace_forgets_what_is_not_given_and_merge_keeps_it() {
    let kept = differences(&stored());
    assert_eq!(differences(&parsed(&job(""), Some(&stored()), Mode::Replace).spec), "{}");
    assert_eq!(differences(&parsed(&job(""), Some(&stored()), Mode::Merge).spec), kept);
    for (keys, wanted) in [
        (r#""keep":8"#, kept.replace("\"keep\":7", "\"keep\":8")),
        (r#""keep":null"#, kept.replace("\"keep\":7,", "")),
        (r#""note":"""#, kept.replace(",\"note\":\"n\"", "")),
        (r#""note":null"#, kept.replace(",\"note\":\"n\"", "")),
        (r#""run_on":null"#, kept.replace(",\"run_on\":\"any\"", "")),
        (r#""starts_at":null"#, kept.replace(",\"starts_at\":\"2030-01-01T00:00:00Z\"", "")),
        (r#""timezone":null"#, kept.replace(",\"timezone\":\"Europe/Paris\"", "")),
        (r#""tags":{"os":null,"gpu":"1"}"#, kept.replace("\"os\":\"linux\"", "\"gpu\":\"1\"")),
        (r#""tags":null"#, kept.replace(",\"tags\":{\"dc\":\"north\",\"os\":\"linux\"}", "")),
        (
            r#""env":{"B":null,"C":"3"}"#,
            kept.replace(r#"{"A":"1","B":"x,y"}"#, r#"{"A":"1","C":"3"}"#)
                .replace("A=1,B=x,y", "A=1,C=3"),
        ),
        (r#""cwd":null"#, kept.replace("\"cwd\":\"/old\",", "")),
        (r#""timeout":"""#, kept.replace(",\"timeout\":\"5s\"", "")),
        (r#""executor_config":{"extra":null}"#, kept.replace("\"extra\":\"1\",", "")),
        (r#""executor_config":null"#, kept.replace("\"extra\":\"1\",", "")),
        (r#""executor_config":{"cwd":null}"#, kept.replace("\"cwd\":\"/old\",", "")),
    ] {
        let merged = parsed(&job(keys), Some(&stored()), Mode::Merge);
        assert_eq!(differences(&merged.spec), wanted, "{keys}");
    }
    let only_name = parsed(r#"{"name":"a","disabled":true}"#, Some(&stored()), Mode::Merge);
    assert_eq!(only_name.spec, Spec { disabled: true, ..stored() });
    // A merge into nothing creates.
    assert_eq!(parsed(&job(""), None, Mode::Merge), parsed(&job(""), None, Mode::Replace));
}

#[test]
fn of_two_spellings_the_one_that_differs_from_the_stored_job_wins() {
    let base = Spec {
        command: "old".into(),
        shell: true,
        cwd: "/old".into(),
        timeout: std::time::Duration::from_secs(5),
        ..parsed(&job(""), None, Mode::Replace).spec
    };
    let both = |seed: &str, config: &str| {
        format!(r#"{{"name":"a","schedule":"@hourly",{seed},"executor_config":{{{config}}}}}"#)
    };
    for (seed, config, wanted) in [
        (r#""command":"old""#, r#""command":"new""#, "new"),
        (r#""command":"new""#, r#""command":"old""#, "new"),
        (r#""command":"new""#, r#""command":"new""#, "new"),
        (r#""command":"old""#, r#""command":"old""#, "old"),
        (r#""command":"new""#, r#""x":"1""#, "new"),
        (r#""x":"1""#, r#""command":"new""#, "new"),
        (r#""command":"""#, r#""command":"new""#, "new"),
        (r#""command":null"#, r#""command":"new""#, "new"),
        (r#""command":"new""#, r#""command":null"#, "new"),
    ] {
        let body = both(seed, config);
        for mode in [Mode::Replace, Mode::Merge] {
            assert_eq!(parsed(&body, Some(&base), mode).spec.command, wanted, "{body}");
        }
    }
    for (seed, config, wanted) in [
        (r#""command":"x","shell":true"#, r#""shell":"false""#, (false, "/old", 5)),
        (r#""command":"x","shell":false"#, r#""shell":"true""#, (false, "/old", 5)),
        (r#""command":"x","cwd":"/old""#, r#""cwd":"/new""#, (true, "/new", 5)),
        (r#""command":"x","cwd":"/new""#, r#""cwd":"/old""#, (true, "/new", 5)),
        (r#""command":"x","timeout":"5s""#, r#""timeout":"7s""#, (true, "/old", 7)),
        (r#""command":"x","timeout":7"#, r#""timeout":"5s""#, (true, "/old", 7)),
    ] {
        let spec = parsed(&both(seed, config), Some(&base), Mode::Merge).spec;
        assert_eq!((spec.shell, spec.cwd.as_str(), spec.timeout.as_secs()), wanted, "{seed}");
    }
    // Both changed: on a new job both differ from what a job has by default.
    for stored in [None, Some(&base)] {
        let body = both(r#""command":"one""#, r#""command":"two""#);
        let why = read(body.as_bytes(), stored, Mode::Replace, None, &Fixed::default());
        let sentence = "command: differs from executor_config.command; give one of them";
        assert_eq!(why.map_err(|why| why.sentence), Err(sentence.into()));
    }
    let new = both(r#""command":"x","shell":false"#, r#""command":"x","shell":"true""#);
    assert!(parsed(&new, None, Mode::Replace).spec.shell);
}

#[test]
fn variables_are_settled_between_an_object_and_a_text() {
    let base = stored();
    let env = |keys: &str, mode| {
        let spec = parsed(&job(keys), Some(&base), mode).spec;
        spec.env.into_iter().map(|(name, value)| format!("{name}={value};")).collect::<String>()
    };
    for (keys, replaced, merged) in [
        (r#""executor_config":{"env":"A=1,B=x,y"}"#, "A=1;B=x,y;", "A=1;B=x,y;"),
        (r#""executor_config":{"env":"C=3,D="}"#, "C=3;D=;", "C=3;D=;"),
        (r#""executor_config":{"env":""}"#, "", ""),
        (r#""env":{}"#, "", "A=1;B=x,y;"),
        (r#""env":{"C":"3"},"executor_config":{"env":"A=1,B=x,y"}"#, "C=3;", "A=1;B=x,y;C=3;"),
        (r#""env":{"A":"1","B":"x,y"},"executor_config":{"env":"C=3"}"#, "C=3;", "C=3;"),
        (r#""env":{"A":"********","C":"3"}"#, "A=1;C=3;", "A=1;B=x,y;C=3;"),
        (r#""executor_config":{"env":"A=********,B=********"}"#, "A=1;B=x,y;", "A=1;B=x,y;"),
        (r#""executor_config":{"env":"A=********,C=3"}"#, "A=1;C=3;", "A=1;C=3;"),
    ] {
        assert_eq!(env(keys, Mode::Replace), replaced, "{keys}");
        assert_eq!(env(keys, Mode::Merge), merged, "{keys}");
    }
}

#[test]
fn the_name_comes_from_the_body_or_the_path() {
    let name = |body: &str, path: Option<&str>| {
        let draft = Draft::parse(body.as_bytes()).unwrap();
        draft.name(path).map(str::to_owned).map_err(|why| why.sentence)
    };
    assert_eq!(name("{}", Some("b")), Ok("b".into()));
    assert_eq!(name(r#"{"name":null}"#, Some("b")), Ok("b".into()));
    assert_eq!(name(r#"{"name":"b"}"#, Some("b")), Ok("b".into()));
    assert_eq!(name(r#"{"name":"b"}"#, None), Ok("b".into()));
    assert_eq!(
        name(r#"{"name":"B"}"#, Some("b")),
        Err("name: \"B\" differs from \"b\" in the path".into())
    );
    assert_eq!(name("{}", Some("-b")), Err("name: must not start with '.' or '-'".into()));
    // A stored job of another name is nobody's base.
    let other = Spec { name: "other".into(), ..stored() };
    assert_eq!(differences(&parsed(&job(""), Some(&other), Mode::Merge).spec), "{}");
}

#[test]
fn the_zone_is_settled_when_the_job_is_created() {
    let ctx = Fixed { default_zone: "Europe/Paris", ..Fixed::default() };
    let zone = |keys: &str, stored: Option<&Spec>, mode| {
        let body = format!(r#"{{"name":"a","command":"x",{keys}}}"#);
        read(body.as_bytes(), stored, mode, None, &ctx).map(|parsed| parsed.spec.timezone)
    };
    let tokyo =
        Spec { schedule: "CRON_TZ=Asia/Tokyo *".into(), timezone: "Asia/Tokyo".into(), ..stored() };
    for (keys, mode, wanted) in [
        (r#""schedule":"*""#, Mode::Replace, "Europe/Paris"),
        (r#""schedule":"*","timezone":"""#, Mode::Replace, "Europe/Paris"),
        (r#""schedule":"*","timezone":"UTC""#, Mode::Replace, "UTC"),
        (r#""schedule":"*""#, Mode::Merge, "Asia/Tokyo"),
        (r#""timezone":null,"schedule":"*""#, Mode::Merge, "Europe/Paris"),
        (r#""schedule":"CRON_TZ=UTC *","timezone":"Asia/Tokyo""#, Mode::Replace, "UTC"),
        (r#""schedule":"CRON_TZ=UTC *""#, Mode::Merge, "UTC"),
        (r#""schedule":"CRON_TZ=UTC *","timezone":"UTC""#, Mode::Replace, "UTC"),
    ] {
        assert_eq!(zone(keys, Some(&tokyo), mode), Ok(wanted.into()), "{keys}");
    }
    assert!(zone(r#""timezone":"UTC""#, Some(&tokyo), Mode::Merge).is_err());
}

#[test]
fn a_create_is_warned_about_what_it_may_not_mean() {
    let ctx = Fixed { nodes: 3, ..Fixed::default() };
    let warnings = |keys: &str, stored: Option<&Spec>| {
        let body = job(keys).replace("\"command\":\"run\",", "");
        read(body.as_bytes(), stored, Mode::Replace, None, &ctx).unwrap().warnings
    };
    let everywhere = "run_on: neither it nor tags are given, so that every run goes to each of \
                      the 3 nodes";
    assert_eq!(warnings(r#""command":"x""#, None), [everywhere]);
    assert!(warnings(r#""command":"x""#, Some(&stored())).is_empty());
    assert!(warnings(r#""command":"x","run_on":"all""#, None).is_empty());
    assert!(warnings(r#""command":"x","tags":{"a":"b"}"#, None).is_empty());
    assert!(warnings(r#""command":"a | b","shell":true,"run_on":1"#, None).is_empty());
    assert_eq!(
        warnings(r#""command":"a | b","run_on":1"#, None),
        ["command: no shell reads it, so that \"|\" is an argument of the program; set \
          \"shell\": true if a shell is meant"]
    );
    let never = read(
        br#"{"name":"a","schedule":"never","command":"x"}"#,
        None,
        Mode::Replace,
        None,
        &Fixed::default(),
    );
    assert_eq!(never.unwrap().warnings, ["schedule: never fires"]);

    let any = Fixed { nodes: 3, run_on: RunOn::Any, ..Fixed::default() };
    let read = |keys: &str| read(job(keys).as_bytes(), None, Mode::Replace, None, &any).unwrap();
    assert_eq!(read("").spec.run_on, RunOn::Any);
    assert_eq!(read(r#""run_on":null"#).spec.run_on, RunOn::Any);
    assert_eq!(read(r#""tags":{"role":"web:2"}"#).spec.run_on, RunOn::All);
}

#[test]
fn a_command_becomes_words_or_a_script() {
    let argv = |keys: &str| {
        let body = format!(r#"{{"name":"a","schedule":"@hourly",{keys}}}"#);
        parsed(&body, None, Mode::Replace).spec.argv().unwrap()
    };
    assert_eq!(argv(r#""command":"a 'b c'""#), ["a", "b c"]);
    // A shell has comments and here-documents, in which a quote need not be closed.
    let script = argv(r#""command":"echo # don't","shell":true"#);
    assert_eq!(script, ["/bin/sh", "-c", "echo # don't"]);
    assert!(Spec { command: "'".into(), ..Spec::default() }.argv().is_err());
}

#[test]
fn unknown_keys_are_named_safely() {
    let keys = r#""Name":"x","retrys":3,"x\r\ny":1,"a,b é":{}"#;
    let ignored = parsed(&job(keys), None, Mode::Replace).ignored;
    assert_eq!(ignored, ["Name", "a?b??", "retrys", "x??y"]);
    let many: Vec<String> = (0..IGNORED_MAX + 1).map(|n| format!("\"k{n}\":0")).collect();
    let ignored = parsed(&job(&many.join(",")), None, Mode::Replace).ignored;
    assert_eq!(ignored.len(), IGNORED_MAX);
    let long = format!("\"{}\":0", "k".repeat(IGNORED_MAX_CHARS + 1));
    let ignored = parsed(&job(&long), None, Mode::Replace).ignored;
    assert_eq!(ignored, ["k".repeat(IGNORED_MAX_CHARS)]);
}

#[test]
fn each_size_is_crossed() {
    let text = |key: &str, length: usize| format!("\"{key}\":\"{}\"", "x".repeat(length));
    for (key, max) in [
        ("displayname", spec::LABEL_MAX_BYTES),
        ("owner", spec::LABEL_MAX_BYTES),
        ("owner_email", spec::EMAIL_MAX_BYTES),
        ("note", spec::NOTE_MAX_BYTES),
    ] {
        assert!(!differences(&parsed(&job(&text(key, max)), None, Mode::Replace).spec).is_empty());
        let sentence = format!("{key}: is {} bytes long, at most {max} are allowed", max + 1);
        refused(&job(&text(key, max + 1)), &sentence);
    }
    for (key, body, max) in [
        ("cwd", r#"{"name":"a","cwd":"/X"}"#, spec::CWD_MAX_BYTES - 1),
        ("command", r#"{"name":"a","command":"X"}"#, spec::COMMAND_MAX_BYTES),
        ("schedule", r#"{"name":"a","schedule":"X"}"#, spec::SCHEDULE_MAX_BYTES),
        ("timezone", r#"{"name":"a","timezone":"X"}"#, spec::LABEL_MAX_BYTES),
        ("catchup", r#"{"name":"a","catchup":"X"}"#, spec::LABEL_MAX_BYTES),
    ] {
        let limit = if key == "cwd" { max + 1 } else { max };
        let sentence = format!("{key}: is {} bytes long, at most {limit} are allowed", limit + 1);
        refused(&body.replace('X', &"x".repeat(max + 1)), &sentence);
    }
}

#[test]
fn each_count_is_crossed() {
    let texts = |key: &str, count: usize, name: usize, value: usize| {
        let pad = "n".repeat(name - 3);
        let pairs: Vec<String> =
            (0..count).map(|n| format!("\"{n:03}{pad}\":\"{}\"", "v".repeat(value))).collect();
        job(&format!("\"{key}\":{{{}}}", pairs.join(",")))
    };
    for (key, limits) in [
        ("tags", (spec::KEYS_MAX, spec::KEY_MAX_BYTES, spec::VALUE_MAX_BYTES)),
        ("metadata", (spec::KEYS_MAX, spec::KEY_MAX_BYTES, spec::VALUE_MAX_BYTES)),
        ("executor_config", (spec::KEYS_MAX, spec::KEY_MAX_BYTES, spec::VALUE_MAX_BYTES)),
        ("env", (spec::ENV_MAX, spec::ENV_NAME_MAX_BYTES, spec::ENV_VALUE_MAX_BYTES)),
    ] {
        let (count, name, value) = limits;
        for good in [texts(key, count, 3, 1), texts(key, 1, name, 1), texts(key, 1, 3, value)] {
            parsed(&good, None, Mode::Replace);
        }
        let sentence = format!("{key}: has {} keys, at most {count} are allowed", count + 1);
        refused(&texts(key, count + 1, 3, 1), &sentence);
        let body = texts(key, 1, name + 1, 1);
        let why = read(body.as_bytes(), None, Mode::Replace, None, &Fixed::default()).unwrap_err();
        let end = format!(": its key is {} bytes long, at most {name} are allowed", name + 1);
        assert!(why.sentence.ends_with(&end), "{why}");
        let sentence =
            format!("{key}.000: is {} bytes long, at most {value} are allowed", value + 1);
        refused(&texts(key, 1, 3, value + 1), &sentence);
    }
}

#[test]
fn a_definition_is_bounded_as_a_whole() {
    let body = |length: usize| {
        let env: Vec<String> =
            ["A", "B", "C"].map(|key| format!("\"{key}\":\"{}\"", "x".repeat(16_000))).into();
        let (env, command) = (env.join(","), "x".repeat(length));
        format!(r#"{{"name":"a","schedule":"@hourly","command":"{command}","env":{{{env}}}}}"#)
    };
    let length = |n: usize| parsed(&body(n), None, Mode::Replace).canonical.len();
    let most = 1_000 + SPEC_MAX_BYTES - length(1_000);
    assert_eq!(length(most), SPEC_MAX_BYTES);
    refused(
        &body(most + 1),
        "the job is 65537 bytes long as it is stored, at most 65536 are allowed",
    );

    // What is shown of the longest is within its bound, and can be posted back.
    let longest = parsed(&body(most), None, Mode::Replace).spec;
    let (least, mut out) = (Spec { name: "a".into(), ..Spec::default() }, Vec::new());
    render(&least.to_bytes(), &Hot::default(), &mut out);
    let bound = 2 * SPEC_MAX_BYTES + out.len();
    out.clear();
    render(&longest.to_bytes(), &Hot::default(), &mut out);
    assert!((2 * SPEC_MAX_BYTES - 1_000..=bound).contains(&out.len()), "{} bytes", out.len());
    let again = parsed(std::str::from_utf8(&out).unwrap(), None, Mode::Replace);
    assert_eq!(again.spec, longest);
}

/// What a client got, compact or pretty, whole or masked, is posted back by it as it is.
#[test]
fn a_body_that_was_got_changes_nothing_when_it_is_posted_back() {
    for seed in 0..3_000 {
        let mut rng = Rng::new(seed);
        let (spec, hot) = (random_spec(&mut rng), random_hot(&mut rng));
        let shown = if rng.chance(1, 2) { spec.clone() } else { spec.masked() };
        let mut body = Vec::new();
        render(&shown.to_bytes(), &hot, &mut body);
        if rng.chance(1, 2) {
            body = pretty(&body);
        }
        let ctx = Fixed {
            default_zone: "UTC",
            run_on: [RunOn::All, RunOn::Any][rng.below(2) as usize],
            nodes: 3,
        };
        for mode in [Mode::Replace, Mode::Merge] {
            let path = rng.chance(1, 2).then_some(spec.name.as_str());
            let read = read(&body, Some(&spec), mode, path, &ctx);
            let read = read.unwrap_or_else(|why| panic!("seed {seed}: {why}\n{spec:?}"));
            assert_eq!(read.spec, spec, "seed {seed} {mode:?}");
            assert!(read.ignored.is_empty(), "seed {seed}: {:?}", read.ignored);
        }
    }
}

/// Another cluster, which never saw the job, makes the same of it.
#[test]
fn a_body_that_was_got_creates_the_same_job_elsewhere() {
    for seed in 0..1_000 {
        let mut rng = Rng::new(seed);
        let spec = random_spec(&mut rng);
        let mut body = Vec::new();
        render(&spec.to_bytes(), &Hot::default(), &mut body);
        let read = read(&body, None, Mode::Replace, None, &Fixed::default());
        let read = read.unwrap_or_else(|why| panic!("seed {seed}: {why}\n{spec:?}"));
        assert_eq!(read.spec, spec, "seed {seed}");
    }
}

#[test]
fn damaged_bodies_and_stored_bytes_never_panic() {
    for seed in 0..3_000 {
        let mut rng = Rng::new(seed);
        let spec = random_spec(&mut rng);
        let mut bytes = spec.to_bytes();
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(3) {
                0 => bytes[at] = rng.next_u64() as u8,
                1 => {
                    bytes.remove(at);
                }
                _ => bytes.insert(at, b"{}[]\",:\\0n-"[rng.below(11) as usize]),
            }
        }
        if let Ok(read) = read(&bytes, Some(&spec), Mode::Merge, None, &Fixed::default()) {
            assert_eq!(Spec::from_bytes(&read.canonical), Ok(read.spec), "seed {seed}");
        }
        // What is read from damaged bytes is another definition, never a second form of one.
        if let Ok(read) = Spec::from_bytes(&bytes) {
            assert_eq!(read.to_bytes(), bytes, "seed {seed}");
        }
        Pretty::default().feed(&bytes, &mut Vec::new());
    }
}

/// Values of every kind under every key: a sentence or a job, and the job can be stored.
#[test]
fn any_value_under_any_key_is_refused_or_stored() {
    let keys: Vec<String> = shown(&stored()).into_iter().map(|(key, _)| key).collect();
    for seed in 0..3_000 {
        let mut rng = Rng::new(seed);
        let mut object = json::read_object(job("").as_bytes()).unwrap();
        for _ in 0..1 + rng.below(3) {
            let key = &keys[rng.below(keys.len() as u64) as usize];
            object.insert(key.clone(), random_value(&mut rng, &keys, 0));
        }
        let body = Value::Object(object).to_string();
        let stored = stored();
        for (stored, mode) in [(None, Mode::Replace), (Some(&stored), Mode::Merge)] {
            match read(body.as_bytes(), stored, mode, None, &Fixed::default()) {
                Ok(read) => {
                    let again = Spec::from_bytes(&read.canonical);
                    assert_eq!(again, Ok(read.spec), "seed {seed}: {body}");
                }
                Err(why) => {
                    assert!(why.sentence.len() < 1_000, "seed {seed}: {why}");
                    assert!(!why.sentence.contains(char::is_control), "seed {seed}: {why}");
                }
            }
        }
    }
}

fn random_value(rng: &mut Rng, keys: &[String], depth: u32) -> Value {
    match rng.below(if depth < 2 { 9 } else { 7 }) {
        0 => Value::Null,
        1 => rng.chance(1, 2).into(),
        2 => rng.below(20_000).into(),
        3 => (rng.below(1_000) as f64 / 7.0 - 50.0).into(),
        4 => ["all", "true", "90s", "5", "CRON_TZ=UTC x", "2030-01-01T00:00:00Z", "A=1,B=2", "/x"]
            [rng.below(8) as usize]
            .into(),
        5 => spec::MASK.into(),
        6 => random_text(rng, 200).into(),
        7 => Value::Array((0..rng.below(3)).map(|_| random_value(rng, keys, depth + 1)).collect()),
        _ => (0..rng.below(4))
            .map(|_| {
                let key = match rng.below(3) {
                    0 => random_text(rng, 5),
                    _ => keys[rng.below(keys.len() as u64) as usize].clone(),
                };
                (key, random_value(rng, keys, depth + 1))
            })
            .collect::<Map<_, _>>()
            .into(),
    }
}
