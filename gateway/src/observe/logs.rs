//! Structured logs on standard error; personal data never gets this far (`privacy::Pii`).

use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// Installs the subscriber; a second call (tests) changes nothing. An unusable filter falls back to `info`.
pub fn init(config: &Log) {
    let mut filter = EnvFilter::try_new(&config.level).unwrap_or_else(|_| EnvFilter::new("info"));
    // What mail libraries trace is passwords and citizens' mail, what the SMPP library writes is whole commands with
    // texts and numbers: never, whatever the level.
    for quiet in ["async_imap=warn", "imap_proto=warn", "lettre=warn", "rusmpp=off", "rusmppc=off"] {
        if let Ok(directive) = quiet.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = if config.json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
}
