//! Gauges and counters of `/metrics`, one label set a trunk.

use prometheus::{Encoder, IntGaugeVec, Opts, Registry, TextEncoder};

use super::registration::RegistrationState;
use super::state::Trunks;

/// The trunks' part of `/metrics` in the Prometheus text format.
#[must_use]
pub fn render(trunks: &Trunks) -> String {
    collect(trunks).unwrap_or_default()
}

fn collect(trunks: &Trunks) -> Result<String, prometheus::Error> {
    let registry = Registry::new();
    let gauge = |name: &str, help: &str, labels: &[&str]| {
        let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
        registry.register(Box::new(gauge.clone()))?;
        Ok::<_, prometheus::Error>(gauge)
    };
    let up = gauge("hotline_trunk_up", "1 while the trunk can be used", &["trunk"])?;
    let registered = gauge("hotline_trunk_registered", "1 while registered with the carrier", &["trunk"])?;
    let live = gauge("hotline_trunk_calls_live", "Calls going on", &["trunk", "direction"])?;
    let calls = gauge("hotline_trunk_calls", "Calls since start, tries included", &["trunk", "direction"])?;
    let failures = gauge("hotline_trunk_failures", "Failed tries since start", &["trunk", "code"])?;
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    for view in trunks.iter().map(|t| t.view()) {
        let name = view.name.as_str();
        up.with_label_values(&[name]).set(i64::from(view.up));
        if let Some(state) = view.registration {
            registered.with_label_values(&[name]).set(i64::from(state == RegistrationState::Registered));
        }
        live.with_label_values(&[name, "in"]).set(signed(view.live_in as u64));
        live.with_label_values(&[name, "out"]).set(signed(view.live_out as u64));
        calls.with_label_values(&[name, "in"]).set(signed(view.calls_in));
        calls.with_label_values(&[name, "out"]).set(signed(view.calls_out));
        for (code, count) in view.failures {
            failures.with_label_values(&[name, &code.to_string()]).set(signed(count));
        }
    }
    let mut out = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut out)?;
    Ok(String::from_utf8(out).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Trunk};

    #[test]
    fn each_trunk_has_its_lines() {
        let trunk = Trunk { name: "ims".into(), register: true, ..Trunk::default() };
        let trunks = super::Trunks::new(&Config { trunks: vec![trunk], ..Config::default() });
        let _call = trunks.named("ims").unwrap().begin_in();
        let text = super::render(&trunks);
        for line in [
            "hotline_trunk_up{trunk=\"ims\"} 0",
            "hotline_trunk_registered{trunk=\"ims\"} 0",
            "hotline_trunk_calls_live{direction=\"in\",trunk=\"ims\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
