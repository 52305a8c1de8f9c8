//! Reads typed values out of TOML tables and says exactly what is wrong where.

use std::{cell::RefCell, collections::BTreeMap, ops::Range};

use toml::{Spanned, de::DeTable, de::DeValue};

use super::{
    error::{FlowError, Problem},
    model::NodeIndex,
    phrase::{Phrase, Template, is_name},
};
use crate::limits::{NAME_BYTES_MAX, PHRASES_MAX};

/// The file being read: its name, and where its lines begin.
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    /// The nodes' ids, once they are known.
    pub(super) nodes: BTreeMap<String, NodeIndex>,
}

impl<'a> Source<'a> {
    /// Line of a byte offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        let end = offset.min(self.text.len());
        1 + self.text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count()
    }

    pub(super) fn error(&self, span: &Range<usize>, problem: Problem, remedy: impl Into<String>) -> FlowError {
        let (file, line) = (self.file.to_owned(), self.line(span.start));
        FlowError { file, line, problem, remedy: remedy.into() }
    }

    pub(super) fn bad(&self, span: &Range<usize>, what: impl Into<String>, remedy: impl Into<String>) -> FlowError {
        self.error(span, Problem::BadValue(what.into()), remedy)
    }

    /// The index of the node a text names.
    pub(super) fn target(&self, span: &Range<usize>, id: &str) -> Result<NodeIndex, FlowError> {
        self.nodes.get(id).copied().ok_or_else(|| {
            let remedy = match closest(id, self.nodes.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("add a table [node.{}] or name another node", shorten(id)),
            };
            self.error(span, Problem::UnknownNode(shorten(id)), remedy)
        })
    }

    /// Checks the name of a node, variable or label.
    pub(super) fn name(&self, span: &Range<usize>, name: &str) -> Result<String, FlowError> {
        if is_name(name) {
            return Ok(name.to_owned());
        }
        let what = format!("`{}` can't be a name", shorten(name));
        let remedy = format!("use a–z, 0–9 and _, starting with a letter, at most {NAME_BYTES_MAX} characters");
        Err(self.bad(span, what, remedy))
    }

    pub(super) fn string<'v>(&self, key: &str, value: &'v Spanned<DeValue<'_>>) -> Result<&'v str, FlowError> {
        value.get_ref().as_str().ok_or_else(|| self.wrong_type(key, value, "a text in quotes"))
    }

    pub(super) fn table<'v>(&'v self, key: &str, value: &'v Spanned<DeValue<'v>>) -> Result<Reader<'v>, FlowError> {
        match value.get_ref().as_table() {
            Some(table) => Ok(Reader::new(self, table, value.span())),
            None => Err(self.wrong_type(key, value, "a table")),
        }
    }

    pub(super) fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) -> FlowError {
        let what = format!("`{}` is of type {}", shorten(key), value.get_ref().type_str());
        self.bad(&value.span(), what, format!("write {wanted}"))
    }
}

/// One table; remembers which keys were asked for, so that others can be refused.
pub(super) struct Reader<'a> {
    pub(super) source: &'a Source<'a>,
    table: &'a DeTable<'a>,
    pub(super) span: Range<usize>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source<'a>, table: &'a DeTable<'a>, span: Range<usize>) -> Self {
        Self { source, table, span, asked: RefCell::new(Vec::new()) }
    }

    /// The keys with their values, in alphabetical order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Range<usize>, &'a Spanned<DeValue<'a>>)> + use<'a> {
        self.table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
    }

    pub(super) fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    pub(super) fn missing(&self, key: &'static str, remedy: &str) -> FlowError {
        self.source.error(&self.span, Problem::MissingKey(key.to_owned()), remedy)
    }

    pub(super) fn text(&self, key: &'static str) -> Result<Option<&'a str>, FlowError> {
        self.value(key).map(|value| self.source.string(key, value)).transpose()
    }

    /// A name that must be there.
    pub(super) fn name(&self, key: &'static str, remedy: &str) -> Result<String, FlowError> {
        self.name_if_any(key)?.ok_or_else(|| self.missing(key, remedy))
    }

    pub(super) fn name_if_any(&self, key: &'static str) -> Result<Option<String>, FlowError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let name = self.source.string(key, value)?;
        self.source.name(&value.span(), name).map(Some)
    }

    pub(super) fn flag(&self, key: &'static str, default: bool) -> Result<bool, FlowError> {
        let Some(value) = self.value(key) else {
            return Ok(default);
        };
        let flag = value.get_ref().as_bool();
        flag.ok_or_else(|| self.source.wrong_type(key, value, "true or false"))
    }

    pub(super) fn number(
        &self,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, FlowError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let Some(integer) = value.get_ref().as_integer() else {
            return Err(self.source.wrong_type(key, value, "a whole number"));
        };
        match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                let what = format!("`{key}` is out of range");
                let remedy = format!("use {} to {}", range.start(), range.end());
                Err(self.source.bad(&value.span(), what, remedy))
            }
        }
    }

    /// The node named by a key.
    pub(super) fn target(&self, key: &'static str) -> Result<Option<NodeIndex>, FlowError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let id = self.source.string(key, value)?;
        self.source.target(&value.span(), id).map(Some)
    }

    /// A table of label → node.
    pub(super) fn targets(&self, key: &'static str) -> Result<BTreeMap<String, NodeIndex>, FlowError> {
        let mut targets = BTreeMap::new();
        let Some(value) = self.value(key) else {
            return Ok(targets);
        };
        for (label, _, value) in self.source.table(key, value)?.entries() {
            let id = self.source.string(label, value)?;
            targets.insert(label.to_owned(), self.source.target(&value.span(), id)?);
        }
        Ok(targets)
    }

    /// A table of name → text with variables.
    pub(super) fn templates(&self, key: &'static str) -> Result<BTreeMap<String, Template>, FlowError> {
        let mut templates = BTreeMap::new();
        let Some(value) = self.value(key) else {
            return Ok(templates);
        };
        for (name, span, value) in self.source.table(key, value)?.entries() {
            let name = self.source.name(&span, name)?;
            let text = self.source.string(&name, value)?;
            let template = self.template(&value.span(), text)?;
            templates.insert(name, template);
        }
        Ok(templates)
    }

    pub(super) fn template(&self, span: &Range<usize>, text: &str) -> Result<Template, FlowError> {
        let remedy = "variables are written ${name}";
        Template::parse(text).map_err(|what| self.source.bad(span, what, remedy))
    }

    /// A list of things to say.
    pub(super) fn phrases(&self, key: &'static str) -> Result<Option<Vec<Phrase>>, FlowError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let Some(list) = value.get_ref().as_array() else {
            return Err(self.source.wrong_type(key, value, "a list of prompts, [\"prompt_id\"]"));
        };
        if list.len() > PHRASES_MAX {
            let problem = Problem::TooLarge(format!("`{key}` has {} items", list.len()));
            let remedy = format!("at most {PHRASES_MAX} are allowed; use two nodes");
            return Err(self.source.error(&value.span(), problem, remedy));
        }
        let phrase = |value: &Spanned<DeValue<'_>>| {
            let text = self.source.string(key, value)?;
            let remedy = "use prompt_id, prompt:${var}, digits:${var}, number:${var}, date:${var} or silence:MS";
            Phrase::parse(text).map_err(|what| self.source.bad(&value.span(), what, remedy))
        };
        list.iter().map(phrase).collect::<Result<_, _>>().map(Some)
    }

    /// Refuses keys nobody asked for.
    pub(super) fn finish(&self) -> Result<(), FlowError> {
        let asked = self.asked.borrow();
        let Some((key, span, _)) = self.entries().find(|(key, ..)| !asked.contains(key)) else {
            return Ok(());
        };
        let remedy = match closest(key, asked.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("allowed here: {}", asked.join(", ")),
        };
        Err(self.source.error(&span, Problem::UnknownKey(shorten(key)), remedy))
    }
}

/// A text short enough for a message.
pub(super) fn shorten(text: &str) -> String {
    let cut = text.floor_char_boundary(NAME_BYTES_MAX);
    if cut < text.len() { format!("{}…", &text[..cut]) } else { text.to_owned() }
}

/// The candidate that a typing mistake was most likely meant to be.
fn closest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    if word.len() > NAME_BYTES_MAX {
        return None;
    }
    let near = candidates.map(|c| (distance(word, c), c)).min()?;
    (near.0 <= 1 + word.len() / 3).then_some(near.1)
}

/// Edit distance between two short words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let change = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
