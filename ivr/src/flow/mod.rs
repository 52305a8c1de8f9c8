//! A voice flow: what is said, asked and done, and where each way leads.

mod builtin;
mod error;
pub(crate) mod model;
mod node;
mod parse;
pub(crate) mod phrase;
mod reader;

use std::collections::{BTreeMap, BTreeSet};

pub use error::{FlowError, Problem};
use model::{Keys, Node, NodeIndex};
pub(crate) use parse::KEYS;

use crate::{
    check::{self, Finding},
    graph,
    machine::NotQueued,
};

/// A voice flow that was read without error; shared by the calls that run it.
#[derive(Debug, Clone)]
pub struct Flow {
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) start: NodeIndex,
    /// The variables the flow knows, with their defaults.
    pub(crate) vars: BTreeMap<String, String>,
    /// Which prompts a variable may name.
    pub(crate) prompt_vars: BTreeMap<String, BTreeSet<String>>,
    /// Keys that work wherever a node doesn't use or forbid them.
    pub(crate) keys: Keys,
    /// Where to go when an operator answers.
    pub(crate) operator_free: Option<NodeIndex>,
    /// Where to go when the call isn't in the queue, or no longer.
    pub(crate) not_queued: BTreeMap<NotQueued, NodeIndex>,
    /// In the order of the file.
    pub(crate) nodes: Vec<Node>,
}

impl Flow {
    /// Reads a flow. `file_name` is only used in messages.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and a remedy: not TOML,
    /// beyond a limit, unknown or missing keys, wrong values, unknown nodes.
    pub fn parse(file_name: &str, text: &str) -> Result<Flow, FlowError> {
        parse::parse(file_name, text)
    }

    /// The skills its callers may ask for.
    pub fn skills(&self) -> BTreeSet<&str> {
        fn of(node: &Node) -> &[String] {
            if let model::Kind::Queue { skills, .. } = &node.kind { skills } else { &[] }
        }
        self.nodes.iter().flat_map(of).map(String::as_str).collect()
    }

    /// One of the flows that come with the program: `hotline`, `survey`, `callback`, `missed`, `desk`,
    /// `desk_finished`.
    pub fn builtin(name: &str) -> Option<Flow> {
        let text = builtin::text(name)?;
        parse::parse(&format!("{name}.toml"), text).ok()
    }

    /// The names [`Flow::builtin`] knows.
    pub fn builtin_names() -> &'static [&'static str] {
        &builtin::NAMES
    }

    /// The text of a flow that comes with the program, to start an own one from.
    pub fn builtin_text(name: &str) -> Option<&'static str> {
        builtin::text(name)
    }

    /// The flow's name, as `name` in its file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One line about the flow for people.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The file's name as given to [`Flow::parse`].
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The ids of all prompts the flow may play, digits and numbers included.
    pub fn prompts(&self) -> BTreeSet<&str> {
        self.nodes.iter().flat_map(|node| self.prompts_of(node)).collect()
    }

    /// The ids of the prompts a node may play.
    pub(crate) fn prompts_of<'f>(&'f self, node: &'f Node) -> BTreeSet<&'f str> {
        let mut ids = BTreeSet::new();
        for phrase in node.phrases() {
            ids.extend(phrase.prompts());
            if let phrase::Phrase::PromptVar(name) = phrase {
                ids.extend(self.prompt_vars.get(name).into_iter().flatten().map(String::as_str));
            }
        }
        ids
    }

    /// Looks for dead ends, missing prompts, missing handlers and loops
    /// without exit; empty if all is well. `has_prompt` says whether a prompt
    /// id exists. Sorted by line.
    pub fn check(&self, has_prompt: &dyn Fn(&str) -> bool) -> Vec<Finding> {
        check::check(self, has_prompt)
    }

    /// The flow as a Mermaid flowchart.
    pub fn mermaid(&self) -> String {
        graph::mermaid(self)
    }
}
