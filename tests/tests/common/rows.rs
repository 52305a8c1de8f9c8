//! A look into the gateway's SQLite file, for what no route shows.

use hotline_tests::gateway::Gateway;
use hotline_tests::peer::python;
use serde_json::{Value, json};

const SCRIPT: &str = r#"
import json, sqlite3, sys
ask = json.load(sys.stdin)
db = sqlite3.connect("file:%s?mode=ro" % ask["path"], uri=True, timeout=10)
db.row_factory = sqlite3.Row
plain = lambda v: v.hex() if isinstance(v, bytes) else v
print(json.dumps([{k: plain(row[k]) for k in row.keys()} for row in db.execute(ask["sql"])]))
"#;

/// What a query finds.
pub(crate) fn rows(gateway: &Gateway, sql: &str) -> Vec<Value> {
    let path = gateway.data_dir().join("hotline.db");
    let found = python(SCRIPT, &json!({"path": path, "sql": sql}).to_string()).unwrap();
    serde_json::from_str(&found).unwrap()
}
