//! The configuration file a test's gateway starts with.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::GatewayConfig;
use crate::net::{GATEWAY_IP, PHONE_NETWORK, TRUNK_NETWORK, free_ports};
use crate::{Error, Result, repo_root};

/// RTP ports of one gateway: 100 calls with two legs each.
const RTP_PORTS: u16 = 400;
/// The first of them on a host of its own.
const RTP_FIRST: u16 = 20_000;

/// The configuration of a test: loopback networks that tell trunks from phones,
/// short times, no model.
pub(super) fn settings(root: &Path, sip: SocketAddr, http: SocketAddr, config: &GatewayConfig) -> Result<Table> {
    let (any, rtp_first): (IpAddr, u16) = match &config.host {
        Some(host) => (host.ip(), RTP_FIRST),
        None => (GATEWAY_IP, free_ports(GATEWAY_IP, RTP_PORTS)?),
    };
    let data = root.join("data");
    std::fs::create_dir_all(&data).map_err(Error::io("create the data folder"))?;
    let mut table = Table::new();
    let text = |path: PathBuf| Value::from(path.display().to_string());
    let list = |items: &[&str]| Value::from(items.to_vec());
    let mut put = |key: &str, value: Value| set(&mut table, key, value);
    put("storage.data_dir", text(data));
    put("storage.database_url", config.database_url.clone().into());
    put("sip.listen", list(&[&sip.to_string()]));
    put("sip.phone_networks", list(&[PHONE_NETWORK]));
    put("media.bind", any.to_string().into());
    put("media.port_min", i64::from(rtp_first).into());
    put("media.port_max", i64::from(rtp_first + RTP_PORTS - 1).into());
    put("voice.sounds_dir", text(repo_root().join("sounds")));
    put("transcription.engine", "fake".into());
    put("queue.main.wrap_s", 0.into());
    put("http.listen", http.to_string().into());
    put("log.level", "debug".into());
    let mut trunk = Table::new();
    trunk.insert("name".into(), "carrier".into());
    trunk.insert("sources".into(), list(&[TRUNK_NETWORK]));
    if let Some(outbound) = config.outbound {
        trunk.insert("outbound".into(), outbound.to_string().into());
    }
    put("trunk", Value::Array(vec![trunk.into()]));
    let mut hotline = Table::new();
    hotline.insert("number".into(), "12319".into());
    put("hotline", Value::Array(vec![hotline.into()]));
    Ok(table)
}

/// Sets `a.b.c` in nested tables, creating them.
pub(super) fn set(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.into(), value);
        }
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Table::new().into());
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_configuration_is_written_and_overridden_by_dotted_keys() {
        let dir = tempfile::tempdir().unwrap();
        let address = "127.0.0.1:5060".parse().unwrap();
        let config = GatewayConfig::default().with("callback.time_factor", 3_600);
        let mut table = settings(dir.path(), address, address, &config).unwrap();
        for (key, value) in config.set {
            set(&mut table, &key, value);
        }
        let read: Table = table.to_string().parse().unwrap();
        assert_eq!(read["callback"]["time_factor"].as_integer(), Some(3_600));
        assert_eq!(read["trunk"][0]["sources"][0].as_str(), Some(TRUNK_NETWORK));
        assert_eq!(read["queue"]["main"]["wrap_s"].as_integer(), Some(0));
    }
}
