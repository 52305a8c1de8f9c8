//! Calls we owe: when (`schedule`, pure), to whom (`permit`), placing them (`dial`) and the verdict (`verdict`).

pub mod dial;
pub mod permit;
pub mod schedule;
pub mod verdict;
