//! Kernel parameters and limits as people set them: what each does, judged for one kernel and one machine; what this machine
//! would gain from; what it can carry.

pub mod advice;
pub mod capacity;
pub mod change;
pub mod kernel;
pub mod knowledge;
pub mod limits;
pub mod lint;
pub mod origin;
pub mod work;
