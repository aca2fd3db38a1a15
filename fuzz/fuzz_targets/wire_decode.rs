#![no_main]
#![allow(dead_code, reason = "each program calls one target of all")]

#[path = "../../tests/fuzz_targets/mod.rs"]
mod fuzz_targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_targets::wire::wire_decode(bytes));
