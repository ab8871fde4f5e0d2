//! Questions that are asked of a system besides what is wrong.

pub mod symptom;
