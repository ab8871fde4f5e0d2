//! Work on the project itself: `cargo xtask --help`.
fn main() {}
