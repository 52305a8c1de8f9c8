//! Finds what is wrong with a flow that can be read.

mod handlers;
mod reach;
mod words;

use std::fmt;

use crate::flow::{Flow, model::NodeIndex};

/// How bad a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Works, but somebody should look at it.
    Warning,
    /// A citizen will meet silence, a wrong end or an endless loop.
    Error,
}

/// One thing that is wrong with a flow. Shown as `hotline.toml:12: error: node x: …; …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The flow's file name.
    pub file: String,
    /// The node it is about; `None` for the flow as a whole.
    pub node: Option<String>,
    /// Line in the file, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{}:{}: {severity}: ", self.file, self.line)?;
        if let Some(node) = &self.node {
            write!(f, "node `{node}`: ")?;
        }
        write!(f, "{}; {}", self.message, self.remedy)
    }
}

/// See [`Flow::check`].
pub(crate) fn check(flow: &Flow, has_prompt: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let mut report = Report { flow, findings: Vec::new() };
    let reached = reach::reached(flow);
    reach::check(&mut report, &reached);
    handlers::check(&mut report, &reached);
    words::check(&mut report, has_prompt);
    report.findings.sort_by(|a, b| (a.line, b.severity).cmp(&(b.line, a.severity)));
    report.findings
}

/// The findings so far.
struct Report<'f> {
    flow: &'f Flow,
    findings: Vec<Finding>,
}

impl Report<'_> {
    fn error(&mut self, node: NodeIndex, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Error, Some(node), message.into(), remedy.into());
    }

    fn warning(&mut self, node: NodeIndex, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Warning, Some(node), message.into(), remedy.into());
    }

    fn add(&mut self, severity: Severity, node: Option<NodeIndex>, message: String, remedy: String) {
        let node = node.map(|index| &self.flow.nodes[index]);
        self.findings.push(Finding {
            severity,
            file: self.flow.file.clone(),
            node: node.map(|node| node.id.clone()),
            line: node.map_or(1, |node| node.line),
            message,
            remedy,
        });
    }
}
