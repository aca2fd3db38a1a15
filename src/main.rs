//! The program.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let dir = args.iter().position(|a| a == "--data-dir").and_then(|i| args.get(i + 1));
    let dir = PathBuf::from(dir.map_or("bellwether.data", String::as_str));
    let addr = args.iter().position(|a| a == "--http-addr").and_then(|i| args.get(i + 1));
    if args.get(1).map(String::as_str) == Some("launcher") {
        let s = bellwether::launcher::Settings {
            dir,
            idle_exit: Some(bellwether::launcher::IDLE_EXIT),
        };
        return bellwether::launcher::run(&s);
    }
    bellwether::agent::run(&bellwether::agent::Settings {
        data_dir: dir,
        http_addrs: vec![addr.map_or("127.0.0.1:8080", String::as_str).parse().unwrap()],
        http_hosts: vec![],
        anonymous: None,
        node_name: "here".into(),
        tags: vec![],
        timezone: None,
        log_level: bellwether::node::Level::Info,
        log_json: false,
        running_max: 4096,
        connections_max: 4096,
        snapshot_bytes: args
            .iter()
            .position(|a| a == "--snapshot-after")
            .and_then(|i| args.get(i + 1))
            .map_or(64 << 20, |s| s.parse().unwrap()),
        leave_timeout: Duration::from_secs(15),
        warnings: vec![],
    })
}
