//! From the text of a flow file to a [`Flow`].

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use toml::de::DeTable;

use super::{
    Flow,
    error::{FlowError, Problem},
    model::{Keys, Node, Way},
    node::{Defaults, read_node},
    phrase::is_name,
    reader::{Reader, Source},
};
use crate::{
    limits::{FILE_BYTES_MAX, NODES_MAX, VAR_BYTES_MAX, VARS_MAX},
    machine::NotQueued,
};

/// Keys of a telephone, RFC 4733 §3.2 events 0–15.
pub(crate) const KEYS: &str = "0123456789*#ABCD";

/// See [`Flow::parse`].
pub(super) fn parse(file: &str, text: &str) -> Result<Flow, FlowError> {
    let mut source = Source { file, text, nodes: BTreeMap::new() };
    if text.len() > FILE_BYTES_MAX {
        let problem = Problem::TooLarge(format!("the file has {} bytes", text.len()));
        let remedy = format!("at most {FILE_BYTES_MAX} are read; split the flow");
        return Err(source.error(&(0..0), problem, remedy));
    }
    let document = DeTable::parse(text).map_err(|error| {
        let problem = Problem::Syntax(error.message().to_owned());
        source.error(&error.span().unwrap_or(0..0), problem, "correct this line")
    })?;
    let order = find_nodes(&mut source, document.get_ref())?;
    let root = Reader::new(&source, document.get_ref(), 0..0);
    read_flow(&root, &order)
}

/// Learns the nodes' ids before anything refers to them. Returns them with
/// the place of their headers, in the order of the file.
fn find_nodes(source: &mut Source<'_>, root: &DeTable<'_>) -> Result<Vec<(Range<usize>, String)>, FlowError> {
    let mut order = Vec::new();
    if let Some(nodes) = root.get("node") {
        for (id, span, _) in source.table("node", nodes)?.entries() {
            order.push((span.clone(), source.name(&span, id)?));
        }
    }
    order.sort_by_key(|(span, _)| span.start);
    if let Some((span, _)) = order.get(NODES_MAX) {
        let problem = Problem::TooLarge(format!("the flow has {} nodes", order.len()));
        return Err(source.error(span, problem, format!("at most {NODES_MAX} are allowed; split the flow")));
    }
    source.nodes = order.iter().enumerate().map(|(i, (_, id))| (id.clone(), i)).collect();
    Ok(order)
}

fn read_flow(root: &Reader<'_>, order: &[(Range<usize>, String)]) -> Result<Flow, FlowError> {
    let name = root.name("name", "add a line name = \"…\" at the top")?;
    let title = root.text("title")?.unwrap_or(&name).to_owned();
    let vars = read_vars(root)?;
    let prompt_vars = read_prompt_vars(root)?;
    let keysets = read_keysets(root)?;
    let keys = read_keys(root, "keys", &keysets)?;
    let (operator_free, not_queued) = match root.value("on") {
        None => (None, BTreeMap::new()),
        Some(value) => {
            let on = root.source.table("on", value)?;
            let target = on.target("operator_free")?;
            let mut ways = BTreeMap::new();
            for why in NotQueued::ALL {
                ways.extend(on.target(why.handler())?.map(|to| (why, to)));
            }
            on.finish()?;
            (target, ways)
        }
    };
    let defaults = Defaults::read(root, keysets)?;
    let nodes = read_nodes(root, order, &defaults)?;
    let Some(start) = root.target("start")? else {
        return Err(root.missing("start", "add a line start = \"node\" at the top"));
    };
    root.finish()?;
    let flow = Flow {
        file: root.source.file.to_owned(),
        name,
        title,
        start,
        vars,
        prompt_vars,
        keys,
        operator_free,
        not_queued,
        nodes,
    };
    check_prompt_vars(root, &flow)?;
    Ok(flow)
}

fn read_nodes(
    root: &Reader<'_>,
    order: &[(Range<usize>, String)],
    defaults: &Defaults,
) -> Result<Vec<Node>, FlowError> {
    let Some(value) = root.value("node") else {
        return Err(root.missing("node", "add at least one table [node.…]"));
    };
    let tables = root.source.table("node", value)?;
    let by_id: BTreeMap<&str, _> = tables.entries().map(|(id, _, value)| (id, value)).collect();
    let mut nodes = Vec::with_capacity(order.len());
    for (span, id) in order {
        let Some(value) = by_id.get(id.as_str()) else {
            continue;
        };
        let mut reader = root.source.table(id, value)?;
        // The header's line is where an editor should jump to, not the table's first key.
        reader.span = span.clone();
        nodes.push(read_node(&reader, id, root.source.line(span.start), defaults)?);
    }
    Ok(nodes)
}

fn read_vars(root: &Reader<'_>) -> Result<BTreeMap<String, String>, FlowError> {
    let mut vars = BTreeMap::new();
    let Some(value) = root.value("vars") else {
        return Ok(vars);
    };
    for (name, span, value) in root.source.table("vars", value)?.entries() {
        let name = root.source.name(&span, name)?;
        let text = root.source.string(&name, value)?;
        if text.len() > VAR_BYTES_MAX {
            let problem = Problem::TooLarge(format!("`{name}` has {} bytes", text.len()));
            return Err(root.source.error(&value.span(), problem, format!("at most {VAR_BYTES_MAX}")));
        }
        vars.insert(name, text.to_owned());
        if vars.len() > VARS_MAX {
            let problem = Problem::TooLarge("too many variables".to_owned());
            return Err(root.source.error(&span, problem, format!("at most {VARS_MAX}")));
        }
    }
    Ok(vars)
}

/// `[prompt_vars]`: which prompts a variable may name.
fn read_prompt_vars(root: &Reader<'_>) -> Result<BTreeMap<String, BTreeSet<String>>, FlowError> {
    let mut prompt_vars = BTreeMap::new();
    let Some(value) = root.value("prompt_vars") else {
        return Ok(prompt_vars);
    };
    for (name, span, value) in root.source.table("prompt_vars", value)?.entries() {
        let name = root.source.name(&span, name)?;
        let Some(list) = value.get_ref().as_array() else {
            return Err(root.source.wrong_type(&name, value, "a list of prompt ids"));
        };
        let mut ids = BTreeSet::new();
        for value in list.iter() {
            let id = root.source.string(&name, value)?;
            if !is_name(id) {
                return Err(root.source.bad(&value.span(), "not a prompt id", "use a–z, 0–9 and _"));
            }
            ids.insert(id.to_owned());
        }
        prompt_vars.insert(name, ids);
    }
    Ok(prompt_vars)
}

/// A `prompt:${var}` needs the list of what may be in it: without it nobody
/// could tell whether the prompts exist.
fn check_prompt_vars(root: &Reader<'_>, flow: &Flow) -> Result<(), FlowError> {
    for node in &flow.nodes {
        for phrase in node.phrases() {
            if let super::phrase::Phrase::PromptVar(name) = phrase
                && !flow.prompt_vars.contains_key(name)
            {
                return Err(FlowError {
                    file: root.source.file.to_owned(),
                    line: node.line,
                    problem: Problem::MissingKey(format!("prompt_vars.{name}")),
                    remedy: format!("list the prompts it may name: [prompt_vars] {name} = [\"…\"]"),
                });
            }
        }
    }
    Ok(())
}

fn read_keysets(root: &Reader<'_>) -> Result<BTreeMap<String, Keys>, FlowError> {
    let mut sets = BTreeMap::new();
    let Some(value) = root.value("keysets") else {
        return Ok(sets);
    };
    for (name, span, value) in root.source.table("keysets", value)?.entries() {
        let name = root.source.name(&span, name)?;
        let keys = keys_of(&root.source.table(&name, value)?)?;
        sets.insert(name, keys);
    }
    Ok(sets)
}

/// `keys`: a table key → node, or the name of a key set.
pub(super) fn read_keys(
    reader: &Reader<'_>,
    key: &'static str,
    sets: &BTreeMap<String, Keys>,
) -> Result<Keys, FlowError> {
    let Some(value) = reader.value(key) else {
        return Ok(Keys::new());
    };
    let Some(name) = value.get_ref().as_str() else {
        return keys_of(&reader.source.table(key, value)?);
    };
    sets.get(name).cloned().ok_or_else(|| {
        let known: Vec<&str> = sets.keys().map(String::as_str).collect();
        let remedy = format!("known key sets: {}", known.join(", "));
        reader.source.bad(&value.span(), "there is no key set of this name", remedy)
    })
}

fn keys_of(table: &Reader<'_>) -> Result<Keys, FlowError> {
    let mut keys = Keys::new();
    for (key, span, value) in table.entries() {
        let mut chars = key.chars();
        let (Some(digit), None) = (chars.next().filter(|c| KEYS.contains(*c)), chars.next()) else {
            return Err(table.source.bad(&span, "not a telephone key", format!("use one of {KEYS}")));
        };
        let way = if let Some(id) = value.get_ref().as_str() {
            Way { to: table.source.target(&value.span(), id)?, value: None }
        } else {
            let way = table.source.table(key, value)?;
            let Some(to) = way.target("to")? else {
                return Err(way.missing("to", "write { to = \"node\", value = \"…\" }"));
            };
            let answer = way.name_if_any("value")?;
            way.finish()?;
            Way { to, value: answer }
        };
        keys.insert(digit, way);
    }
    Ok(keys)
}
