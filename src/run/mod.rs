//! To be written in a following step.
