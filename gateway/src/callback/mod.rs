//! Calls we owe: when (`schedule`, pure), to whom (`permit`), for whom there is an operator
//! (`places`), placing them (`dial`; `desk`: an operator does), the verdict (`verdict`) and writing what came of it (`conclude`).

mod conclude;
pub mod desk;
pub mod dial;
pub mod permit;
mod places;
pub mod schedule;
mod unreached;
pub mod verdict;

pub use conclude::by_link as conclude_by_link;
