//! Harness and whole-call tests with real peers
