//! The settings that Dkron's agents have and this one has not, so that their command lines start
//! it, or say what stands in the way. From `dkron agent --help` of versions 0.7.2 and 4.

use super::flags::{Fallback, Kind, Setting, Status};

/// Why there is no cluster.
pub(super) const CLUSTER: &str = "this version runs one node; clustering is not available yet";

const NOTIFY: &str = "notifications are not available yet";
const METRICS_PUSH: &str = "metrics are not sent anywhere";
const BACKEND: &str = "jobs are kept in the data directory, not in another store";
const GOSSIP: &str = "it tunes a cluster, and this version runs one node";

/// What settings of 0.7.2 are called today.
pub(super) const RENAMED: [(&str, &str); 4] = [
    ("node", "node-name"),
    ("bind", "bind-addr"),
    ("advertise", "advertise-addr"),
    ("webhook-header", "webhook-headers"),
];

/// The rows, in the order of their status.
pub(super) const DKRON: &[Setting] = &[
    only("server", "BOOL", Kind::Flag, &["true"]),
    only("bootstrap-expect", "COUNT", Kind::Text, &["0", "1"]),
    ignored("ui", Kind::Flag, "this version has no dashboard yet"),
    ignored("ui-dir", Kind::Text, "this version has no dashboard yet"),
    ignored("disable-usage-stats", Kind::Flag, "nothing is ever reported to anyone"),
    ignored("enable-prometheus", Kind::Flag, "metrics are not available yet"),
    ignored("profile", Kind::Text, GOSSIP),
    ignored("serf-reconnect-timeout", Kind::Text, GOSSIP),
    ignored("raft-multiplier", Kind::Text, GOSSIP),
    ignored("datacenter", Kind::Text, "use a tag instead, as in --tag dc=paris"),
    ignored("region", Kind::Text, "use a tag instead, as in --tag region=eu"),
    ignored("discover", Kind::Text, "Dkron never used it either"),
    refused("join", CLUSTER),
    refused("retry-join", CLUSTER),
    refused("retry-max", CLUSTER),
    refused("retry-interval", CLUSTER),
    refused("bind-addr", CLUSTER),
    refused("advertise-addr", CLUSTER),
    refused("rpc-port", CLUSTER),
    refused("advertise-rpc-port", CLUSTER),
    refused("encrypt", CLUSTER),
    refused("backend", BACKEND),
    refused("backend-machine", BACKEND),
    refused("keyspace", BACKEND),
    refused("mail-host", NOTIFY),
    refused("mail-port", NOTIFY),
    refused("mail-username", NOTIFY),
    refused("mail-password", NOTIFY),
    refused("mail-from", NOTIFY),
    refused("mail-payload", NOTIFY),
    refused("mail-subject-prefix", NOTIFY),
    refused("pre-webhook-endpoint", NOTIFY),
    refused("pre-webhook-payload", NOTIFY),
    refused("pre-webhook-headers", NOTIFY),
    refused("webhook-endpoint", NOTIFY),
    refused("webhook-url", NOTIFY),
    refused("webhook-payload", NOTIFY),
    refused("webhook-headers", NOTIFY),
    refused("cronitor-endpoint", NOTIFY),
    refused("dog-statsd-addr", METRICS_PUSH),
    refused("dog-statsd-tags", METRICS_PUSH),
    refused("statsd-addr", METRICS_PUSH),
    refused("otel-endpoint", METRICS_PUSH),
];

/// So many that nothing is refused for being given again.
const ANY_NUMBER: usize = 1_024;

const fn only(
    name: &'static str,
    value: &'static str,
    kind: Kind,
    values: &'static [&'static str],
) -> Setting {
    let help = "For command lines of Dkron.";
    let status = Status::Only(values, CLUSTER);
    Setting { name, value, kind, values_max: 1, fallback: Fallback::Nothing, help, status }
}

const fn ignored(name: &'static str, kind: Kind, why: &'static str) -> Setting {
    row(name, kind, Status::Ignored(why))
}

const fn refused(name: &'static str, why: &'static str) -> Setting {
    row(name, Kind::Text, Status::Refused(why))
}

const fn row(name: &'static str, kind: Kind, status: Status) -> Setting {
    let (values_max, fallback) = (ANY_NUMBER, Fallback::Nothing);
    Setting { name, value: "VALUE", kind, values_max, fallback, help: "", status }
}
