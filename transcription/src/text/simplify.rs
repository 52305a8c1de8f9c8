//! Traditional to simplified Chinese: speech models mix both.

use std::sync::OnceLock;

use ferrous_opencc::OpenCC;
use ferrous_opencc::config::BuiltinConfig;

/// The same text in simplified characters. Where the tables can't be loaded
/// the text stays as it is.
#[must_use]
pub fn simplify(text: &str) -> String {
    static TABLES: OnceLock<Option<OpenCC>> = OnceLock::new();
    let tables = TABLES.get_or_init(|| match OpenCC::from_config(BuiltinConfig::T2s) {
        Ok(tables) => Some(tables),
        Err(error) => {
            tracing::error!(%error, "the simplified Chinese tables can't be loaded");
            None
        }
    });
    tables.as_ref().map_or_else(|| text.to_owned(), |t| t.convert(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traditional_becomes_simplified_and_the_rest_stays() {
        assert_eq!(simplify("路燈壞了,井蓋丟失"), "路灯坏了,井盖丢失");
        assert_eq!(simplify("人民路88号 abc 🙂"), "人民路88号 abc 🙂");
        assert_eq!(simplify(""), "");
    }
}
