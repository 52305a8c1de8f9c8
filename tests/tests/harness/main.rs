//! The harness judged by itself: peer against peer, without the gateway. A tool that
//! can't fail here couldn't accuse the gateway later.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that isn't as it should be"
)]

mod baresip;
mod calls;
mod casecore;
mod chaos;
mod postgres;
mod register;
mod sipp;
