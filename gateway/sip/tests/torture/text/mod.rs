//! The texts of the messages, in the notation of RFC 4475 §2

pub mod application;
pub mod invalid;
pub mod ipv6;
pub mod valid;
