//! One suite of stories for both engines; they double as examples of use.
//!
//! SQLite always runs, in a temporary folder. PostgreSQL runs when `HOTLINE_TEST_PG_URL` names a
//! server where this user may create databases (`postgres://postgres@127.0.0.1:5432/postgres`);
//! each story then gets a database of its own.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod stage;

mod append_only;
mod arrivals;
mod attachments;
mod callbacks;
mod callers;
mod calls;
mod cases;
mod crash;
mod dialouts;
mod duty;
mod groups;
mod incidents;
mod items;
mod measures;
mod messages;
mod nodes;
mod outbox;
mod people;
mod recordings;
mod registrations;
mod rewards;
mod sms_parts;
mod surveys;
mod texts;
mod traces;
mod voices;
mod wechat;
mod works;
