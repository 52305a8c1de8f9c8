//! What gateways say is pinned beside the version they greet with: another form is another version.

use std::path::Path;

use serde_json::{Map, Value};

use super::crypt::VERSION;

/// Panics unless one word of each kind is as `words/NAME-VERSION.json` has it.
pub(crate) fn is_as_written(name: &str, words: &[(&'static str, Value)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/cluster/words/{name}-{VERSION}.json"));
    let written: Value =
        words.iter().map(|(kind, word)| ((*kind).to_owned(), word.clone())).collect::<Map<_, _>>().into();
    let pinned: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_default()).unwrap_or_default();
    let told = "gateways of the last version don't understand this: raise crypt::VERSION, and write the file anew";
    assert_eq!(pinned, written, "{}: {told}:\n{written:#}", path.display());
}
