//! The table of settings and its values.

use super::super::flags::{Fallback, Kind, Setting, Status};
use super::super::value::{Address, Value, read};
use super::*;
use std::collections::BTreeSet;

#[test]
fn names_are_unique_and_well_formed() {
    for table in [flags::all().collect::<Vec<_>>(), flags::LAUNCHER.iter().collect()] {
        let mut names = BTreeSet::new();
        for setting in table {
            let name = setting.name;
            assert!(names.insert(name), "{name} comes twice");
            assert!(
                name.len() > 1
                    && name.split('-').all(|word| {
                        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase())
                    }),
                "{name}"
            );
            assert_eq!(
                setting.help.is_empty(),
                !matches!(setting.status, Status::Works | Status::Only(..)),
                "{name}"
            );
            assert!(setting.help.is_empty() || setting.help.ends_with('.'), "{name}");
        }
    }
}

#[test]
fn every_default_is_a_value_of_its_kind() {
    let with_default = |setting: &&Setting| matches!(setting.fallback, Fallback::Text(_));
    for setting in flags::all().chain(flags::LAUNCHER).filter(with_default) {
        let Fallback::Text(text) = setting.fallback else { unreachable!() };
        assert!(read(&setting.kind, text).is_ok(), "{}: {text}", setting.name);
    }
}

#[test]
fn the_table_says_the_defaults_that_are_made_elsewhere() {
    let Fallback::Text(addresses) = flags::find("http-addr").unwrap().fallback else {
        panic!("no default")
    };
    let settings = load(&[], &[]).unwrap();
    assert_eq!(settings.http_addrs, [addresses.parse().unwrap()]);
    let Fallback::Text(time) = flags::LAUNCHER[1].fallback else { panic!("no default") };
    assert_eq!(read(&Kind::DurationOrNever, time), Ok(Value::Duration(Some(launcher::IDLE_EXIT))));
}

#[test]
fn each_name_of_dkron_0_7_leads_to_one_of_today() {
    for (old, new) in dkron::RENAMED {
        assert!(flags::find(new).is_some(), "{new}");
        assert_eq!(flags::suggest(old, flags::all()), Some(new));
    }
}

fn kind(name: &str) -> &'static Kind {
    &flags::all().chain(flags::LAUNCHER).find(|setting| setting.name == name).unwrap().kind
}

#[test]
fn values_are_read_by_their_kind() {
    let seconds = |seconds| Value::Duration(Some(std::time::Duration::from_secs(seconds)));
    let exact = |text: &str| Value::Address(Address::Exact(text.parse().unwrap()));
    let pair = |key: &str, value: &str| Value::Pair(key.into(), value.into());
    for (name, text, value) in [
        ("server", "T", Value::Flag(true)),
        ("server", "0", Value::Flag(false)),
        ("max-running", "1", Value::Count(1)),
        ("max-running", "10000", Value::Count(10_000)),
        ("max-running", "0010", Value::Count(10)),
        ("max-connections", "32768", Value::Count(32_768)),
        ("snapshot-after", "4096", Value::Count(4_096)),
        ("snapshot-after", "4096B", Value::Count(4_096)),
        ("snapshot-after", "4KiB", Value::Count(4_096)),
        ("snapshot-after", "3GiB", Value::Count(3 << 30)),
        ("snapshot-after", "1TiB", Value::Count(1 << 40)),
        ("leave-timeout", "0", seconds(0)),
        ("leave-timeout", "1m30s", seconds(90)),
        ("leave-timeout", "1h", seconds(3_600)),
        ("idle-exit", "never", Value::Duration(None)),
        ("idle-exit", "2m", seconds(120)),
        ("http-addr", "127.0.0.1:0", exact("127.0.0.1:0")),
        ("http-addr", "[::1]:8080", exact("[::1]:8080")),
        ("http-addr", "localhost:81", exact("127.0.0.1:81")),
        ("http-addr", "LocalHost:81", exact("127.0.0.1:81")),
        ("http-addr", ":8080", Value::Address(Address::Port(8_080))),
        ("http-addr", ":0", Value::Address(Address::Port(0))),
        ("http-host", "Cron.Example.COM", Value::Text("cron.example.com".into())),
        ("http-host", "[2001:DB8::1]", Value::Text("[2001:db8::1]".into())),
        ("tag", "a=b", pair("a", "b")),
        ("tag", "a=", pair("a", "")),
        ("tag", "a=b=c", pair("a", "b=c")),
        ("tag", "a=b:c", pair("a", "b:c")),
        ("log-level", "DEBUG", Value::Word("debug")),
        ("log-level", "warning", Value::Word("warn")),
        ("log-level", "panic", Value::Word("error")),
        ("anonymous", "admin", Value::Word("admin")),
        ("timezone", "Etc/GMT+1", Value::Text("Etc/GMT+1".into())),
        ("node-name", "a.b-c_1", Value::Text("a.b-c_1".into())),
        ("data-dir", "/a b", Value::Path("/a b".into())),
    ] {
        assert_eq!(read(kind(name), text), Ok(value), "{name} {text:?}");
    }
}

#[test]
fn a_wrong_value_is_told_with_what_would_be_right() {
    let long = "x".repeat(200);
    let shown = format!("\"{}…\"", "x".repeat(64));
    let example = "write ADDRESS:PORT, as in 127.0.0.1:8080";
    for (name, text, complaint) in [
        ("server", "yes", "\"yes\" is neither true nor false".to_owned()),
        ("max-running", "x", "\"x\" is not a whole number (1-10000)".into()),
        ("max-running", "", "\"\" is not a whole number (1-10000)".into()),
        ("max-running", "+5", "\"+5\" is not a whole number (1-10000)".into()),
        ("max-running", "0", "\"0\" is out of range (1-10000)".into()),
        ("max-running", "10001", "\"10001\" is out of range (1-10000)".into()),
        (
            "max-running",
            "99999999999999999999",
            "\"99999999999999999999\" is out of range (1-10000)".into(),
        ),
        ("max-connections", "32769", "\"32769\" is out of range (1-32768)".into()),
        ("snapshot-after", "4095", "\"4095\" is out of range (4KiB-1TiB)".into()),
        ("snapshot-after", "1025GiB", "\"1025GiB\" is out of range (4KiB-1TiB)".into()),
        (
            "snapshot-after",
            "99999999999TiB",
            "\"99999999999TiB\" is out of range (4KiB-1TiB)".into(),
        ),
        (
            "snapshot-after",
            "64M",
            "\"64M\" is not a whole number of B, KiB, MiB, GiB or TiB (4KiB-1TiB)".into(),
        ),
        ("leave-timeout", "1h1ns", "\"1h1ns\" is out of range (0s-1h0m0s)".into()),
        (
            "leave-timeout",
            "15",
            "\"15\" is not a duration; write it like \"90s\" or \"1m30s\"".into(),
        ),
        (
            "http-addr",
            "example.com:80",
            format!("\"example.com:80\" is not an address, and names are not looked up; {example}"),
        ),
        (
            "http-addr",
            "*:80",
            format!("\"*:80\" is not an address, and names are not looked up; {example}"),
        ),
        ("http-addr", "8080", format!("\"8080\" is not an address with a port; {example}")),
        (
            "http-addr",
            "127.0.0.1",
            format!("\"127.0.0.1\" is not an address with a port; {example} or [::1]:8080"),
        ),
        (
            "http-addr",
            "::1",
            format!("\"::1\" is not an address with a port; {example} or [::1]:8080"),
        ),
        (
            "http-addr",
            "[::1]",
            format!("\"[::1]\" is not an address with a port; {example} or [::1]:8080"),
        ),
        ("http-addr", ":65536", format!("\":65536\" has no port from 0 to 65535; {example}")),
        ("http-addr", ":+1", format!("\":+1\" has no port from 0 to 65535; {example}")),
        (
            "http-addr",
            "localhost:",
            format!("\"localhost:\" has no port from 0 to 65535; {example}"),
        ),
        (
            "http-addr",
            "{{ GetPrivateIP }}:80",
            format!(
                "\"{{{{ GetPrivateIP }}}}:80\" is a template, which is not filled in; {example}"
            ),
        ),
        ("http-host", "", "\"\" is not 1-253 bytes long".into()),
        (
            "http-host",
            "a:80",
            "\"a:80\" has a port; write the name alone, any port is answered".into(),
        ),
        ("http-host", "http://a", "\"http://a\" is a URL; write the name of the host alone".into()),
        ("http-host", "::1", "\"::1\" needs brackets, as in [::1]".into()),
        ("http-host", "[x]", "\"[x]\" is not an IPv6 address in brackets".into()),
        ("http-host", "*", "\"*\" is not the name of a host".into()),
        ("tag", "a", "\"a\" has no \"=\"; write KEY=VALUE".into()),
        ("tag", "=a", "the key of \"=a\" is not 1-128 bytes long".into()),
        ("tag", &format!("{long}=a"), format!("the key of {shown} is not 1-128 bytes long")),
        (
            "tag",
            "a=b:2",
            "the value of \"a=b:2\" ends like a count, so that no job could ask for it".into(),
        ),
        ("tag", "a=\n", "\"a=\\n\" has a control character".into()),
        ("log-level", "loud", "\"loud\" is none of error, warn, info, debug".into()),
        ("anonymous", "root", "\"root\" is none of none, read, run, write, admin".into()),
        (
            "timezone",
            "../x",
            "\"../x\" has '.' at character 1; write a name such as Europe/Paris".into(),
        ),
        ("node-name", &long, format!("{shown} is 200 bytes long, at most 128 are allowed")),
        ("node-name", "-a", "\"-a\" must not start with '.' or '-'".into()),
        ("data-dir", "", "must not be empty".into()),
        ("data-dir", &"x".repeat(4_096), "is 4096 bytes long, at most 4095 are allowed".into()),
    ] {
        assert_eq!(read(kind(name), text), Err(complaint), "{name} {text:?}");
    }
    let value = format!("a={}", "x".repeat(crate::job::spec::VALUE_MAX_BYTES + 1));
    assert!(read(kind("tag"), &value[..value.len() - 1]).is_ok());
    assert!(read(kind("tag"), &value).is_err());
    let host = "x".repeat(254);
    assert!(read(kind("http-host"), &host[1..]).is_ok() && read(kind("http-host"), &host).is_err());
}
