//! What must hold for any bytes, one function a target. Two drivers call them: `tests/fuzz.rs` on
//! every `cargo test`, from seeds, and cargo-fuzz through `fuzz/fuzz_targets`.

pub(crate) mod cron;
pub(crate) mod gossip;
pub(crate) mod http;
pub(crate) mod job;
pub(crate) mod journal;
pub(crate) mod seal;
pub(crate) mod wire;
pub(crate) mod zones;
