//! Why a flow file was refused.

use std::fmt;

/// A flow file can't be used: where, what is wrong, and what to do.
///
/// Shown as `hotline.toml:12: …; …`, ready for a terminal or a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}; {remedy}")]
pub struct FlowError {
    /// The file's name as given to [`Flow::parse`](crate::Flow::parse).
    pub file: String,
    /// Line in the file, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: Problem,
    /// What to do about it.
    pub remedy: String,
}

/// What is wrong with a flow file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Not TOML; the parser's words.
    Syntax(String),
    /// Beyond a limit: file size, number of nodes, length of a list or name.
    TooLarge(String),
    /// A key that means nothing here.
    UnknownKey(String),
    /// A key that must be there isn't.
    MissingKey(String),
    /// A value of the wrong type or outside its range.
    BadValue(String),
    /// A target that isn't a node of the flow.
    UnknownNode(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Syntax(text) => write!(f, "not valid TOML: {text}"),
            Problem::TooLarge(text) | Problem::BadValue(text) => f.write_str(text),
            Problem::UnknownKey(key) => write!(f, "unknown key `{key}`"),
            Problem::MissingKey(key) => write!(f, "`{key}` is missing"),
            Problem::UnknownNode(node) => write!(f, "there is no node `{node}`"),
        }
    }
}
