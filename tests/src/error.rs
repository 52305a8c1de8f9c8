//! The harness's error: every variant says what was attempted, so that a
//! failing test names its cause without a debugger.

use std::io;

/// What can go wrong around a test.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A socket or a file refused.
    #[error("{what}: {source}")]
    Io {
        /// The attempt, with its address or path.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// What a test waited for didn't come.
    #[error("{what}: not within {after_ms} ms")]
    Timeout {
        /// What was awaited.
        what: String,
        /// How long, milliseconds.
        after_ms: u64,
    },
    /// A SIP request was answered with a failure.
    #[error("{method} was answered {code} {reason}")]
    Refused {
        /// The request's method.
        method: String,
        /// The final response's code.
        code: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// A SIP message couldn't be read, built or used in this state.
    #[error("SIP: {0}")]
    Sip(String),
    /// A child process failed; its log's end is included.
    #[error("{program}: {detail}\n--- the end of its log ---\n{log}")]
    Process {
        /// The program's name.
        program: String,
        /// What happened.
        detail: String,
        /// The end of what it wrote.
        log: String,
    },
    /// A program a test needs isn't there.
    #[error("{program} is missing; remedy: {remedy}")]
    Missing {
        /// The program or file.
        program: String,
        /// What to do.
        remedy: String,
    },
    /// An HTTP request failed or answered with an unexpected status.
    #[error("{request}: status {status}: {body}")]
    Http {
        /// Method and address.
        request: String,
        /// The status, 0 if no answer came.
        status: u16,
        /// The start of the body, or the transport's error.
        body: String,
    },
    /// Audio that isn't what was expected.
    #[error("audio {what}: {detail}")]
    Audio {
        /// The file or stream.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// A result of the harness.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Wraps an I/O error with the attempt's name.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The SIP code of a refusal, if this is one.
    #[must_use]
    pub fn sip_code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}
