//! The life of a run, from claim to end.
#![forbid(unsafe_code)]

pub mod order;
