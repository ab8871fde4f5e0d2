//! The thing that is ill, and the only crate that touches a machine.
