//! Voice flows in TOML, run by a deterministic machine
