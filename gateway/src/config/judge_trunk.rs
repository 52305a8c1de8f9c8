//! Trunks and TLS that are well-formed and make no sense.

use std::net::SocketAddr;

use hotline_media::limits::TRUST_NETWORKS_MAX;

use super::codecs::problem_of;
use super::judge::{Fault, fault};
use super::{ClientCertificate, Config, Srtp, TransportName, Trunk, TrunkDtmf, TrunkTls};

impl Config {
    pub(super) fn judge_trunks(&self) -> Result<(), Fault> {
        self.judge_sip_tls()?;
        for (i, trunk) in self.trunks.iter().enumerate() {
            judge_trunk(i, trunk)?;
            judge_dtmf(i, trunk)?;
            self.judge_listener(i, trunk)?;
            if trunk.transport == TransportName::Tls {
                self.judge_trunk_tls(i, trunk)?;
            } else if trunk.tls != TrunkTls::default() {
                let remedy = "设 transport = \"tls\" 或删除 [trunk.tls] / set transport = \"tls\" or drop [trunk.tls]";
                return fault(&format!("trunk[{i}].tls"), "the transport isn't tls".into(), remedy);
            }
        }
        self.judge_srtp()?;
        self.judge_codecs()?;
        self.judge_overlaps()
    }

    fn judge_codecs(&self) -> Result<(), Fault> {
        let remedy =
            "如 [\"PCMA\", \"PCMU\", \"G722\", \"opus\"],每种至多一次 / each of PCMA, PCMU, G722, opus at most once";
        if let Some(problem) = problem_of(&self.media.codecs) {
            return fault("media.codecs", problem.into(), remedy);
        }
        for (i, trunk) in self.trunks.iter().enumerate() {
            if let Some(problem) = problem_of(&trunk.codecs) {
                return fault(&format!("trunk[{i}].codecs"), problem.into(), remedy);
            }
        }
        Ok(())
    }

    /// Keys in SDP are as secret as the signalling that carries them (RFC 4568 §8.1).
    fn judge_srtp(&self) -> Result<(), Fault> {
        if self.sip.srtp_keys_in_clear {
            return Ok(());
        }
        let bare = |t: &&Trunk| t.srtp != Srtp::Off && t.transport != TransportName::Tls;
        if let Some(i) = self.trunks.iter().position(|t| bare(&t)) {
            return fault(&format!("trunk[{i}].srtp"), "its keys would travel without TLS".into(), SRTP_NEEDS_TLS);
        }
        if self.sip.phone_srtp != Srtp::Off && self.sip.tls.listen.is_empty() {
            let problem = "no phone can register over TLS: sip.tls.listen is empty".into();
            return fault("sip.phone_srtp", problem, SRTP_NEEDS_TLS);
        }
        Ok(())
    }

    fn judge_sip_tls(&self) -> Result<(), Fault> {
        let tls = &self.sip.tls;
        if tls.certificate.is_some() != tls.key.is_some() {
            let remedy = "两项都填或都不填 / set both or neither";
            return fault("sip.tls.key", "certificate and key go together".into(), remedy);
        }
        if !tls.listen.is_empty() && tls.certificate.is_none() {
            let remedy = "填写 PEM 证书和私钥 / name certificate and key";
            return fault("sip.tls.certificate", "a TLS listener has none".into(), remedy);
        }
        if tls.client_certificate != ClientCertificate::Off && tls.client_ca.is_none() {
            let remedy = "填写签发者的 CA 文件 / name the CA file of those who connect";
            return fault("sip.tls.client_ca", "client certificates are asked for".into(), remedy);
        }
        match tls.listen.iter().find(|l| self.sip.listen.contains(l)) {
            Some(twice) => fault("sip.tls.listen", format!("{twice} is in sip.listen too"), OTHER_PORT),
            None => Ok(()),
        }
    }

    fn judge_listener(&self, i: usize, trunk: &Trunk) -> Result<(), Fault> {
        let Some(listener) = trunk.listen else {
            if trunk.advertise.is_some() {
                let remedy = "填写 listen,或改用 sip.advertise / set listen, or use sip.advertise";
                return fault(&format!("trunk[{i}].advertise"), "there is no listener of its own".into(), remedy);
            }
            return Ok(());
        };
        let key = format!("trunk[{i}].listen");
        let others = self.trunks.iter().enumerate().filter(|(n, _)| *n != i).filter_map(|(_, t)| t.listen);
        let mut taken = self.sip.listen.iter().copied().chain(self.sip.tls.listen.iter().copied()).chain(others);
        if listener.port() == 0 {
            return fault(&key, "port 0 is no fixed port".into(), OTHER_PORT);
        }
        if taken.any(|t| is_same_socket(t, listener)) {
            return fault(&key, format!("{listener} is taken by another listener"), OTHER_PORT);
        }
        if trunk.sources.is_empty() && trunk.user.is_none() {
            let remedy = "填写 sources 或 user / set sources, or user and password";
            return fault(&key, "nobody may call there".into(), remedy);
        }
        Ok(())
    }

    fn judge_trunk_tls(&self, i: usize, trunk: &Trunk) -> Result<(), Fault> {
        let tls = &trunk.tls;
        if tls.certificate.is_some() != tls.key.is_some() {
            let remedy = "两项都填或都不填 / set both or neither";
            return fault(&format!("trunk[{i}].tls.key"), "certificate and key go together".into(), remedy);
        }
        if trunk.listen.is_some() && tls.certificate.is_none() && self.sip.tls.certificate.is_none() {
            let remedy = "填写 PEM 证书和私钥 / name certificate and key here or in [sip.tls]";
            return fault(&format!("trunk[{i}].tls.certificate"), "its TLS listener has none".into(), remedy);
        }
        if tls.client_certificate != ClientCertificate::Off && (tls.ca.is_none() || trunk.listen.is_none()) {
            let remedy = "需要 ca 和 listen / needs ca and a listener of its own";
            return fault(&format!("trunk[{i}].tls.client_certificate"), "can't be judged".into(), remedy);
        }
        if tls.insecure_accept_any_certificate && tls.ca.is_some() && tls.client_certificate == ClientCertificate::Off {
            let remedy = "二者取一 / choose one of them";
            let key = format!("trunk[{i}].tls.insecure_accept_any_certificate");
            return fault(&key, "`ca` would be ignored".into(), remedy);
        }
        Ok(())
    }

    /// Two trunks that could both own a call: the first would always win.
    fn judge_overlaps(&self) -> Result<(), Fault> {
        for (i, trunk) in self.trunks.iter().enumerate() {
            for (before, source) in self.trunks[..i].iter().flat_map(|t| t.sources.iter().map(move |s| (t, s))) {
                if before.listen == trunk.listen && trunk.sources.contains(source) {
                    let problem = format!("{source} belongs to trunk {:?} too", before.name);
                    let remedy = "一个来源只属于一条中继,或各设 listen / one trunk a source, or a `listen` of its own";
                    return fault(&format!("trunk[{i}].sources"), problem, remedy);
                }
            }
            let user = trunk.user.as_deref().filter(|u| self.trunks[..i].iter().any(|t| t.user.as_deref() == Some(u)));
            if let Some(user) = user {
                let problem = format!("{user:?} is another trunk's user");
                let remedy = "每条中继用自己的账号 / give each trunk a user of its own";
                return fault(&format!("trunk[{i}].user"), problem, remedy);
            }
        }
        Ok(())
    }
}

/// Tones are looked for before anything is decoded but G.711.
fn judge_dtmf(i: usize, trunk: &Trunk) -> Result<(), Fault> {
    let is_g711 = trunk.codecs.iter().all(|name| name.codec().is_g711());
    if trunk.dtmf == TrunkDtmf::Rfc4733 || is_g711 {
        return Ok(());
    }
    let remedy = "codecs 只留 PCMA、PCMU,或用 dtmf = \"rfc4733\" / keep codecs to PCMA and PCMU, or use rfc4733";
    fault(&format!("trunk[{i}].dtmf"), "tones are heard in G.711 only".into(), remedy)
}

const SRTP_NEEDS_TLS: &str = "改用 TLS;内网可信时才设 sip.srtp_keys_in_clear = true / use TLS, or permit it with sip.srtp_keys_in_clear = true on a network you trust";
const OTHER_PORT: &str = "换一个端口 / choose another port";

fn is_same_socket(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

fn judge_trunk(i: usize, trunk: &Trunk) -> Result<(), Fault> {
    if trunk.name.is_empty() {
        return fault(&format!("trunk[{i}].name"), "is empty".into(), "给中继命名 / name the trunk");
    }
    for (key, list) in [("sources", &trunk.sources), ("media_networks", &trunk.media_networks)] {
        if let Some(bad) = list.iter().find(|text| text.parse::<hotline_sip::IpNet>().is_err()) {
            let problem = format!("{bad:?} is no address or network");
            let remedy = "如 203.0.113.7 或 203.0.113.0/24 / write 203.0.113.7 or 203.0.113.0/24";
            return fault(&format!("trunk[{i}].{key}"), problem, remedy);
        }
    }
    if trunk.media_networks.len() >= TRUST_NETWORKS_MAX {
        let problem = format!("{} networks, at most {} count", trunk.media_networks.len(), TRUST_NETWORKS_MAX - 1);
        return fault(&format!("trunk[{i}].media_networks"), problem, "合并网段 / write larger networks");
    }
    if trunk.user.is_some() != trunk.password.is_some() {
        let problem = "user and password go together".into();
        return fault(&format!("trunk[{i}].password"), problem, "两项都填或都不填 / set both or neither");
    }
    judge_trunk_calls(i, trunk)?;
    if trunk.registrar.as_ref().is_some_and(|r| r.ip().is_none()) {
        let remedy = "填写 IP 地址,或把域名写在 outbound / an address; a name belongs into outbound";
        return fault(&format!("trunk[{i}].registrar"), "is no address".into(), remedy);
    }
    Ok(())
}

fn judge_trunk_calls(i: usize, trunk: &Trunk) -> Result<(), Fault> {
    let key = |name: &str| format!("trunk[{i}].{name}");
    if trunk.register && trunk.user.is_none() {
        let remedy = "填写 user 和 password / set user and password";
        return fault(&key("register"), "registering needs an account".into(), remedy);
    }
    if trunk.register && trunk.registrar.is_none() && trunk.outbound.is_none() {
        let remedy = "填写 registrar 或 outbound / set registrar or outbound";
        return fault(&key("registrar"), "there is nobody to register with".into(), remedy);
    }
    if trunk.register && trunk.sources.is_empty() {
        let remedy = "填写运营商来电的地址 / name the addresses the carrier's calls come from";
        let problem = "the carrier's calls would be asked for a password it doesn't know".into();
        return fault(&key("sources"), problem, remedy);
    }
    if trunk.options_s > 0 && trunk.outbound.is_none() {
        return fault(&key("options_s"), "there is nobody to ask".into(), "填写 outbound / set outbound");
    }
    let bounds = [
        ("register_s", u64::from(trunk.register_s), 60, 86_400),
        ("options_s", u64::from(trunk.options_s), 0, 3_600),
        ("options_down", u64::from(trunk.options_down), 1, 100),
        ("options_up", u64::from(trunk.options_up), 1, 100),
        ("weight", u64::from(trunk.weight), 1, 1_000),
        ("first_response_ms", trunk.first_response_ms, 500, 32_000),
    ];
    for (name, value, least, most) in bounds {
        if !(least..=most).contains(&value) {
            let problem = format!("{value} is outside {least}…{most}");
            return fault(&key(name), problem, "取范围内的值 / choose a value inside");
        }
    }
    let numbers = &trunk.numbers;
    let lists = [&numbers.called_out, &numbers.calling_out, &numbers.called_in, &numbers.calling_in];
    let is_number = |text: &str| text.len() <= 32 && text.bytes().all(|b| b.is_ascii_digit() || b"+*#".contains(&b));
    match lists.into_iter().flatten().find(|rule| !is_number(&rule.prefix) || !is_number(&rule.add)) {
        Some(rule) => {
            let problem = format!("{rule:?} has more than digits and +*#");
            fault(&key("numbers"), problem, "只用数字和 +*# / digits and +*# only")
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn judged(text: &str) -> String {
        match Config::parse(Path::new("c.toml"), text) {
            Ok(_) => "good".into(),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn every_fault_of_a_trunk_names_its_key() {
        let trunk = |rest: &str| format!("[[trunk]]\nname = \"a\"\nsources = [\"192.0.2.1\"]\n{rest}");
        let good = trunk("listen = \"127.0.0.1:5070\"\noutbound = \"192.0.2.1\"\ntransport = \"tcp\"");
        assert_eq!(judged(&good), "good");
        let second = |rest: &str| format!("{good}\n[[trunk]]\nname = \"b\"\n{rest}");
        assert_eq!(judged(&second("sources = [\"192.0.2.1\"]")), "good", "another listener");
        let permitted =
            format!("[sip]\nphone_srtp = \"optional\"\nsrtp_keys_in_clear = true\n{}", trunk("srtp = \"required\""));
        assert_eq!(judged(&permitted), "good");
        for (text, key) in [
            (trunk("listen = \"0.0.0.0:5060\""), "trunk[0].listen"),
            (second("listen = \"127.0.0.1:5070\"\nsources = [\"192.0.2.2\"]"), "trunk[0].listen"),
            (trunk("advertise = \"192.0.2.9\""), "trunk[0].advertise"),
            (trunk("transport = \"udp\"\ntls.server_name = \"x\""), "trunk[0].tls"),
            (trunk("transport = \"tls\"\nlisten = \"127.0.0.1:5070\""), "trunk[0].tls.certificate"),
            (trunk("transport = \"tls\"\ntls.certificate = \"x\""), "trunk[0].tls.key"),
            (trunk("transport = \"tls\"\ntls.client_certificate = \"required\""), "trunk[0].tls.client_certificate"),
            (trunk("register = true\noutbound = \"192.0.2.1\""), "trunk[0].register"),
            (trunk("register = true\nuser = \"a\"\npassword = \"b\""), "trunk[0].registrar"),
            (trunk("registrar = \"sbc.example\""), "trunk[0].registrar"),
            (
                "[[trunk]]\nname = \"a\"\nuser = \"a\"\npassword = \"b\"\nregister = true\noutbound = \"192.0.2.1\""
                    .into(),
                "trunk[0].sources",
            ),
            (trunk("media_networks = [\"carrier\"]"), "trunk[0].media_networks"),
            (trunk("options_s = 30"), "trunk[0].options_s"),
            (trunk("dtmf = \"auto\"\ncodecs = [\"PCMA\", \"G722\"]"), "trunk[0].dtmf"),
            (trunk("first_response_ms = 1"), "trunk[0].first_response_ms"),
            (trunk("numbers.called_out = [{ add = \"sip:\" }]"), "trunk[0].numbers"),
            ("[sip.tls]\nlisten = [\"127.0.0.1:5061\"]".into(), "sip.tls.certificate"),
            ("[sip.tls]\nclient_certificate = \"optional\"".into(), "sip.tls.client_ca"),
            ("[sip.tls]\nkey = \"x\"".into(), "sip.tls.key"),
            (trunk("srtp = \"optional\""), "trunk[0].srtp"),
            ("[sip]\nphone_srtp = \"required\"".into(), "sip.phone_srtp"),
            ("[media]\ncodecs = []".into(), "media.codecs"),
            (trunk("codecs = [\"PCMA\", \"PCMA\"]"), "trunk[0].codecs"),
            ("[[trunk]]\nname = \"a\"\nlisten = \"127.0.0.1:5070\"".into(), "trunk[0].listen"),
            (format!("{}\n[[trunk]]\nname = \"b\"\nsources = [\"192.0.2.1\"]", trunk("")), "trunk[1].sources"),
        ] {
            let said = judged(&text);
            assert!(said.contains(&format!("{key}: ")), "{text}\n{said}");
        }
    }
}
