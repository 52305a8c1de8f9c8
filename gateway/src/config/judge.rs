//! What types can't express: values that are well-formed and make no sense.

use std::path::Path;

use super::{Config, ConfigError};

impl Config {
    /// Judges what types can't express.
    pub fn validate(&self, path: &Path) -> Result<(), ConfigError> {
        let judged = self
            .judge_site()
            .and_then(|()| self.judge_sip())
            .and_then(|()| self.judge_trunks())
            .and_then(|()| self.judge_bounds())
            .and_then(|()| self.judge_queues())
            .and_then(|()| self.routing.judge())
            .and_then(|()| self.judge_names())
            .and_then(|()| self.judge_casecore())
            .and_then(|()| self.judge_callback())
            .and_then(|()| self.judge_dialout())
            .and_then(|()| self.judge_texts())
            .and_then(|()| self.judge_sms())
            .and_then(|()| self.incident.judge())
            .and_then(|()| self.reward.judge())
            .and_then(|()| self.judge_trace())
            .and_then(|()| self.intake.judge())
            .and_then(|()| self.mail.judge())
            .and_then(|()| self.judge_robot())
            .and_then(|()| self.judge_web())
            .and_then(|()| self.web_phone.judge())
            .and_then(|()| self.judge_wechat())
            .and_then(|()| self.judge_cluster());
        judged.map_err(|Fault { key, problem, remedy }| ConfigError::Value {
            path: path.into(),
            key,
            problem,
            remedy: remedy.into(),
        })
    }

    fn judge_site(&self) -> Result<(), Fault> {
        let (site, media) = (&self.site, &self.media);
        if site.region.len() != 6 || !site.region.bytes().all(|b| b.is_ascii_digit()) {
            let problem = format!("{:?} is not six digits", site.region);
            return fault("site.region", problem, "填写六位行政区划代码 / use the six-digit division code");
        }
        if !(-720..=840).contains(&site.utc_offset_min) {
            let problem = format!("{} is outside -720…840", site.utc_offset_min);
            return fault("site.utc_offset_min", problem, "中国为 480 / China is 480");
        }
        if !media.port_min.is_multiple_of(2) || media.port_min < 1024 || media.port_max <= media.port_min {
            let problem = format!("{}–{} is no port range", media.port_min, media.port_max);
            return fault(
                "media.port_min",
                problem,
                "起始为偶数且小于结束 / start even, at least 1024, below port_max",
            );
        }
        Ok(())
    }

    fn judge_sip(&self) -> Result<(), Fault> {
        if self.sip.listen.is_empty() {
            return fault("sip.listen", "no address".into(), "至少一个监听地址 / name at least one address");
        }
        if self.sip.digest.is_empty() || self.sip.digest.iter().any(|a| digest_algorithm(a).is_none()) {
            return fault("sip.digest", format!("{:?}", self.sip.digest), "SHA-256, MD5 或两者 / SHA-256, MD5 or both");
        }
        self.judge_allow()?;
        self.sip.guard.judge()?;
        let media = &self.sip.phone_media_networks;
        for (key, list) in [("sip.phone_networks", &self.sip.phone_networks), ("sip.phone_media_networks", media)] {
            if let Some(bad) = list.iter().find(|net| net.parse::<hotline_sip::IpNet>().is_err()) {
                return fault(key, format!("{bad:?} is no network"), "如 192.168.0.0/16 / write 192.168.0.0/16");
            }
        }
        // A phone's own addresses need room beside them.
        if media.len() > hotline_media::limits::TRUST_NETWORKS_MAX / 2 {
            let problem = format!("{} networks", media.len());
            return fault(
                "sip.phone_media_networks",
                problem,
                "合并网段,至多 32 个 / write larger networks, at most 32",
            );
        }
        Ok(())
    }

    fn judge_allow(&self) -> Result<(), Fault> {
        let trunks = self.trunks.iter().filter_map(|t| t.listen.as_ref());
        let listeners: Vec<_> = self.sip.listen.iter().chain(&self.sip.tls.listen).chain(trunks).collect();
        for (listener, nets) in &self.sip.allow {
            if !listeners.contains(&listener) {
                let problem = format!("nothing listens at {listener}");
                return fault("sip.allow", problem, "填写已有的监听地址 / name one of the listeners");
            }
            if nets.is_empty() || nets.iter().any(|net| net.parse::<hotline_sip::IpNet>().is_err()) {
                let problem = format!("{nets:?} of {listener} is no list of networks");
                return fault("sip.allow", problem, "如 [\"192.168.0.0/16\"] / write [\"192.168.0.0/16\"]");
            }
        }
        Ok(())
    }

    fn judge_bounds(&self) -> Result<(), Fault> {
        let within = |key: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            fault(key, format!("{value} is outside {least}…{most}"), "取范围内的值 / choose a value inside")
        };
        within("http.session_hours", self.http.session_hours, 1, 168)?;
        let (expires_s, min_s) = (u64::from(self.sip.session_expires_s), u64::from(self.sip.session_min_s));
        within("sip.session_min_s", min_s, 90, 86_400)?;
        if expires_s != 0 {
            within("sip.session_expires_s", expires_s, min_s, 86_400)?;
        }
        within("sip.register_max_s", self.sip.register_max_s.into(), 60, 86_400)?;
        within("media.threads", self.media.threads as u64, 1, 64)?;
        within("media.rtp_silence_ms", self.media.rtp_silence_ms, 1_000, 60_000)?;
        within("media.rtp_dead_ms", self.media.rtp_dead_ms, self.media.rtp_silence_ms, 600_000)?;
        within("media.phone_dead_ms", self.media.phone_dead_ms, self.media.rtp_silence_ms, 600_000)?;
        within("callback.ring_s", self.callback.ring_s, 1, 120)?;
        within("callback.retry_s", self.callback.retry_s, 1, 604_800)?;
        within("callback.missed_retry_s", self.callback.missed_retry_s, 1, 604_800)?;
        within("callback.span_days", self.callback.span_days, 0, 30)?;
        within("callback.attempts", self.callback.attempts.unsigned_abs(), 1, 20)?;
        within("casecore.timeout_ms", self.casecore.timeout_ms, 100, 120_000)?;
        within("trace.memory_mb", u64::from(self.trace.memory_mb), 0, 4_096)?;
        within("trace.keep_days", u64::from(self.trace.keep_days), 0, 365)?;
        for (key, seconds) in [
            ("alarm.wait_s", self.alarm.wait_s),
            ("alarm.wrap_s", self.alarm.wrap_s),
            ("alarm.away_s", self.alarm.away_s),
            ("alarm.signed_out_s", self.alarm.signed_out_s),
        ] {
            within(key, seconds, 0, 86_400)?;
        }
        within("worklist.lease_s", self.worklist.lease_s, 10, 3_600)?;
        within("worklist.acknowledge_s", self.worklist.acknowledge_s, 1, 86_400)?;
        for minutes in self.worklist.handle_min {
            within("worklist.handle_min", minutes, 1, 43_200)?;
        }
        for window in &self.worklist.hours {
            if crate::calendar::Window::parse(window).is_none() {
                let problem = format!("{window:?} is no window");
                return fault("worklist.hours", problem, "写作 08:30-12:00 / write 08:30-12:00");
            }
        }
        for (name, queue) in &self.queues {
            queue.judge(name)?;
        }
        for hotline in &self.hotlines {
            within("hotline.ring_ms", hotline.ring_ms, 0, 10_000)?;
        }
        Ok(())
    }

    /// What the queues' own machine would refuse.
    fn judge_queues(&self) -> Result<(), Fault> {
        let settings = self.queue_names().iter().map(|name| self.queue(name).settings(name)).collect();
        match hotline_acd::Core::new(settings) {
            Ok(_) => Ok(()),
            Err(e) => fault(
                "queue",
                e.to_string(),
                "队列和技能各不超过 64 个,widen.help 只写已有队列 / at most 64 queues and 64 skills; widen.help names queues that exist",
            ),
        }
    }

    fn judge_names(&self) -> Result<(), Fault> {
        let twice = |names: Vec<&str>| {
            names.iter().enumerate().find(|(i, n)| names[..*i].contains(n)).map(|(_, n)| (*n).to_owned())
        };
        if let Some(number) = twice(self.hotlines.iter().map(|h| h.number.as_str()).collect()) {
            return fault(
                "hotline.number",
                format!("{number} stands twice"),
                "每个号码只写一次 / write each number once",
            );
        }
        if let Some(name) = twice(self.trunks.iter().map(|t| t.name.as_str()).collect()) {
            return fault(
                "trunk.name",
                format!("{name} stands twice"),
                "中继名称不可重复 / give each trunk a name of its own",
            );
        }
        let wanted = &self.callback.trunk;
        if !wanted.is_empty() && !self.trunks.iter().any(|t| t.name == *wanted) {
            return fault(
                "callback.trunk",
                format!("no trunk is named {wanted:?}"),
                "填写已有中继的名称 / name one of the trunks",
            );
        }
        Ok(())
    }

    fn judge_casecore(&self) -> Result<(), Fault> {
        let core = &self.casecore;
        if !matches!(core.kind.as_str(), "ledger" | "http") {
            return fault("casecore.kind", format!("{:?} is unknown", core.kind), "ledger 或 http / ledger or http");
        }
        if core.kind == "http" && core.url.is_empty() {
            return fault("casecore.url", "is empty".into(), "填写案件核心地址 / give the case core's address");
        }
        Ok(())
    }

    fn judge_callback(&self) -> Result<(), Fault> {
        let callback = &self.callback;
        for window in callback.windows.iter().chain(Some(&callback.waking).filter(|w| !w.is_empty())) {
            if crate::calendar::Window::parse(window).is_none() {
                let problem = format!("{window:?} is no window");
                return fault("callback.windows", problem, "写作 08:30-12:00 / write 08:30-12:00");
            }
        }
        if callback.time_factor == 0 {
            return fault("callback.time_factor", "0 would divide by zero".into(), "生产环境为 1 / 1 in service");
        }
        Ok(())
    }
}

impl Config {
    fn judge_dialout(&self) -> Result<(), Fault> {
        let d = &self.dialout;
        for (key, list) in [
            ("dialout.allow_prefixes", &d.allow_prefixes),
            ("dialout.forbid_prefixes", &d.forbid_prefixes),
            ("dialout.transfer_prefixes", &d.transfer_prefixes),
            ("dialout.phone_prefixes", &d.phone_prefixes),
            ("dialout.emergency", &d.emergency),
        ] {
            if let Some(odd) = list.iter().find(|p| p.is_empty() || !p.bytes().all(|b| b.is_ascii_digit())) {
                let problem = format!("{odd:?} is not digits");
                return fault(key, problem, "只写数字,国际写 00 开头 / digits only, other countries begin with 00");
            }
        }
        if !d.transfer_hours.is_empty() && crate::calendar::Window::parse(&d.transfer_hours).is_none() {
            let problem = format!("{:?} is no window", d.transfer_hours);
            return fault("dialout.transfer_hours", problem, "写作 08:00-21:00 / write 08:00-21:00");
        }
        for (key, value) in [
            ("dialout.daily_max", d.daily_max),
            ("dialout.daily_number_max", d.daily_number_max),
            ("dialout.daily_operator_max", d.daily_operator_max),
            ("dialout.daily_phone_max", d.daily_phone_max),
            ("dialout.concurrent_max", i64::try_from(d.concurrent_max).unwrap_or(i64::MAX)),
            ("dialout.redirects_max", i64::from(d.redirects_max)),
        ] {
            let most = if key == "dialout.redirects_max" { 5 } else { 1_000_000 };
            if !(0..=most).contains(&value) {
                return fault(key, format!("{value} is outside 0…{most}"), "取范围内的值 / choose a value inside");
            }
        }
        self.judge_rosters()
    }

    /// Whoever is on call is found out at the start, and not at night, to be nobody we may call.
    fn judge_rosters(&self) -> Result<(), Fault> {
        for (name, queue) in &self.queues {
            let is_forbidden = |n: &&String| self.dialout.forbid_prefixes.iter().any(|p| n.starts_with(p.as_str()));
            if let Some(odd) = queue.on_call.iter().find(is_forbidden) {
                let problem = format!("{odd:?} has a prefix of dialout.forbid_prefixes");
                return fault(&format!("queue.{name}.on_call"), problem, "换一个号码 / choose another number");
            }
            if let Some(odd) = queue.on_call.iter().find(|n| crate::dialout::is_of_hotline(self, n)) {
                let problem = format!("{odd:?} is a number of this hotline");
                return fault(
                    &format!("queue.{name}.on_call"),
                    problem,
                    "写值班人员的号码 / write somebody's own number",
                );
            }
        }
        Ok(())
    }

    fn judge_texts(&self) -> Result<(), Fault> {
        let signature = &self.intake.signature;
        if signature.chars().count() > 20 || signature.contains(['【', '】']) || signature.chars().any(char::is_control)
        {
            let problem = format!("{signature:?} is no signature");
            return fault("intake.signature", problem, "至多 20 字,不含【】 / at most 20 characters, without 【】");
        }
        match crate::channels::template::Templates::new(&self.texts.own, signature) {
            Ok(_) => Ok(()),
            Err(e) => fault("texts.own", e.to_string(), "对照示例修改 / see ops/hotline.example.toml"),
        }
    }

    fn judge_trace(&self) -> Result<(), Fault> {
        let hep = &self.trace.hep;
        let port = hep.address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if !hep.address.is_empty() && port.is_none_or(|p| p == 0) {
            let problem = format!("{:?} has no port", hep.address);
            return fault("trace.hep.address", problem, "写作 homer.example:9060 / write homer.example:9060");
        }
        if hep.password.len() > 255 {
            return fault("trace.hep.password", "is longer than 255 bytes".into(), "缩短 / shorten it");
        }
        Ok(())
    }
}

/// A value that makes no sense.
pub(super) struct Fault {
    key: String,
    problem: String,
    remedy: &'static str,
}

pub(super) fn fault(key: &str, problem: String, remedy: &'static str) -> Result<(), Fault> {
    Err(Fault { key: key.into(), problem, remedy })
}

/// RFC 7616's names.
#[must_use]
pub fn digest_algorithm(name: &str) -> Option<hotline_sip::digest::Algorithm> {
    match name {
        "SHA-256" => Some(hotline_sip::digest::Algorithm::Sha256),
        "MD5" => Some(hotline_sip::digest::Algorithm::Md5),
        _ => None,
    }
}
