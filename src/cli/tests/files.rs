//! The grammar of the configuration file.

use super::super::file::{FILE_MAX_BYTES, LINE_MAX_BYTES, parse};
use super::*;
use crate::rng::Rng;

/// `name=text@line:column` of each value, or the complaints.
fn read(text: &[u8]) -> Result<String, Vec<String>> {
    let (given, complaints) = parse("f", text);
    if !complaints.is_empty() {
        return Err(complaints.into_iter().map(|complaint| complaint.text).collect());
    }
    let show = |given: &Given| match &given.place {
        flags::Place::File(_, line, column) => {
            format!("{}={}@{line}:{column}", given.setting.name, given.text)
        }
        place => panic!("{place:?}"),
    };
    Ok(given.iter().map(show).collect::<Vec<_>>().join(" "))
}

#[test]
fn lines_are_read_with_their_places() {
    for (text, values) in [
        ("", ""),
        ("\n\n  \n\t\n", ""),
        ("# all\n  # of it\n#", ""),
        ("node-name = a", "node-name=a@1:13"),
        ("node-name=a\n", "node-name=a@1:11"),
        ("\t node-name\t=\t a  \r\nmax-running = 5\r\n", "node-name=a@1:16 max-running=5@2:15"),
        ("tag = a=b # why", "tag=a=b@1:7"),
        ("tag = a=#1", "tag=a=#1@1:7"),
        ("tag = a=b\ntag = c=d, e=f", "tag=a=b@1:7 tag=c=d, e=f@2:7"),
        ("\u{feff}node-name = a", "node-name=a@1:13"),
        ("join = 10.0.0.1", "join=10.0.0.1@1:8"),
        ("data-dir = /a b/c", "data-dir=/a b/c@1:12"),
    ] {
        assert_eq!(read(text.as_bytes()), Ok(values.into()), "{text:?}");
    }
}

#[test]
fn each_wrong_line_is_named_with_its_place() {
    let rows: &[(&[u8], &[&str])] = &[
        (b"node_name = a", &["f:1:1: \"node_name\" is not a setting; did you mean node-name?"]),
        (b"\n  nodename = a", &["f:2:3: \"nodename\" is not a setting; did you mean node-name?"]),
        (b"node = a", &["f:1:1: \"node\" is not a setting; did you mean node-name?"]),
        (b"wings = 2", &["f:1:1: \"wings\" is not a setting"]),
        (b"config = /x", &["f:1:1: config: a file cannot name another one"]),
        (b"= x", &["f:1:1: \"\" is not a setting"]),
        (b"node-name: a", &["f:1:1: \"node-name: a\" has no \"=\"; write key = value"]),
        (b" [agent]", &["f:1:2: \"[agent]\" has no \"=\"; write key = value"]),
        (b"node-name =", &["f:1:1: node-name: has no value; write node-name = NAME"]),
        (b"node-name = # a", &["f:1:1: node-name: has no value; write node-name = NAME"]),
        (b"node-name = \"a\"", &["f:1:13: node-name: a value is written without quotes"]),
        (b"node-name = a\n\nnode-name = a", &["f:3:1: node-name: is given again, after line 1"]),
        (b"ab\xff", &["f:1:3: is not UTF-8"]),
        (b"tag = a\x1bb", &["f:1:8: a control character is not allowed"]),
        (b"tag = a\0", &["f:1:8: a control character is not allowed"]),
        (
            b"x = 1\nnode-name = a\ny",
            &["f:1:1: \"x\" is not a setting", "f:3:1: \"y\" has no \"=\"; write key = value"],
        ),
    ];
    for (text, complaints) in rows {
        let complaints = complaints.iter().map(|text| text.to_string()).collect();
        assert_eq!(read(text), Err(complaints), "{:?}", String::from_utf8_lossy(text));
    }
}

#[test]
fn a_line_and_a_file_have_a_largest_size() {
    let start = "node-name = ";
    let line = |bytes: usize| format!("{start}{}", "x".repeat(bytes - start.len()));
    assert!(read(line(LINE_MAX_BYTES).as_bytes()).is_ok());
    assert!(read(format!("{}\r\n", line(LINE_MAX_BYTES)).as_bytes()).is_ok());
    let complaints = read(line(LINE_MAX_BYTES + 1).as_bytes());
    assert_eq!(complaints, Err(vec!["f:1:4097: the line is longer than 4096 bytes".into()]));

    let mut text = "#\n".repeat(FILE_MAX_BYTES / 2).into_bytes();
    assert_eq!(read(&text), Ok(String::new()));
    text.push(b'\n');
    assert_eq!(read(&text), Err(vec!["f: is larger than 1048576 bytes".into()]));
}

#[test]
fn arbitrary_bytes_never_panic_and_places_are_inside() {
    let pieces: [&[u8]; 14] = [
        b"tag",
        b"node-name",
        b"http-addr",
        b"=",
        b" ",
        b"\n",
        b"#",
        b",",
        b"\"",
        b"\r",
        b"\xc3",
        b"\xa9",
        b"\0",
        b"a=b",
    ];
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let count = rng.below(16);
        let text: Vec<u8> = (0..count)
            .flat_map(|_| pieces[rng.below(pieces.len() as u64) as usize].iter().copied())
            .collect();
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        let (given, complaints) = parse("f", &text);
        for given in given {
            let flags::Place::File(_, line, column) = given.place else { panic!("seed {seed}") };
            let rest = &lines[line - 1][column - 1..];
            assert!(rest.starts_with(given.text.as_bytes()), "seed {seed}: {text:?}");
        }
        for complaint in complaints {
            let flags::Place::File(_, line, column) = complaint.place else { panic!("{seed}") };
            assert!(column <= lines[line - 1].len() + 1, "seed {seed}: {}", complaint.text);
        }
    }
}
