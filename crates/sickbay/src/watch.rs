//! `sickbay watch`: what a machine does, on a screen, now and in the past.
//!
//! What is shown at a moment is computed ([`scene`]), what a key asks for is decided ([`keys`]), and what is then drawn
//! ([`draw`]) are functions of their arguments. Where samples come from ([`live`], [`past`]) and what takes a while ([`work`])
//! is brought together in [`session`], which goes where it is told to ([`going`]) and asks the checks ([`asking`]).

mod asking;
pub mod draw;
mod going;
mod headlines;
pub mod keys;
mod live;
pub mod paint;
mod past;
pub mod scene;
pub mod session;
mod tables;
pub mod verdict;
mod work;
