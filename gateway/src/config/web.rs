//! The citizens' report page and the links that lead to it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Config;
use super::judge::{Fault, fault};

/// Report page, links, survey page.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// Where citizens reach this gateway's pages, e.g. `https://12319.example.gov.cn`; empty: no links are sent.
    pub public_url: String,
    /// What the page calls itself.
    pub title: String,
    /// The same in English.
    pub title_en: String,
    /// `/r` without a link, for the QR code.
    pub open: bool,
    /// A link to the report page lives so long.
    pub link_hours: u32,
    /// A link to the survey lives so long.
    pub survey_hours: u32,
    /// Files of one report.
    pub files_max: usize,
    /// All files of one report together, MB.
    pub upload_max_mb: usize,
    /// Reports through the QR code in an hour, all together; further ones are asked to call.
    pub open_hour_max: u32,
    /// The same from one address; many mobile phones share one.
    pub address_hour_max: u32,
    /// Networks of proxies whose `X-Forwarded-For` is believed.
    pub proxies: Vec<String>,
    /// A picture of the city (PNG, JPEG or WebP) for the pin; empty: a plain grid.
    pub map: Option<PathBuf>,
    /// Its edges: west, south, east, north, degrees WGS-84.
    pub map_bounds: Vec<f64>,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            public_url: String::new(),
            title: "城市管理服务热线".into(),
            title_en: "City services hotline".into(),
            open: true,
            link_hours: 72,
            survey_hours: 72,
            files_max: 6,
            upload_max_mb: 60,
            open_hour_max: 600,
            address_hour_max: 60,
            proxies: Vec::new(),
            map: None,
            map_bounds: Vec::new(),
        }
    }
}

impl Web {
    /// The absolute address of a path of ours; `None` without `public_url`.
    #[must_use]
    pub fn address_of(&self, path: &str) -> Option<String> {
        (!self.public_url.is_empty()).then(|| format!("{}{path}", self.public_url.trim_end_matches('/')))
    }
}

impl Config {
    pub(super) fn judge_web(&self) -> Result<(), Fault> {
        let web = &self.web;
        let url = &web.public_url;
        let is_http = url.starts_with("https://") || url.starts_with("http://");
        if !url.is_empty() && (!is_http || url.contains(['?', '#', ' ', '"', '<', '>'])) {
            let problem = format!("{url:?} is no address");
            return fault("web.public_url", problem, "如 https://12319.example.cn / write https://12319.example.cn");
        }
        for (key, value, least, most) in [
            ("web.link_hours", u64::from(web.link_hours), 1, 720),
            ("web.survey_hours", u64::from(web.survey_hours), 1, 720),
            ("web.files_max", web.files_max as u64, 0, 20),
            ("web.upload_max_mb", web.upload_max_mb as u64, 1, 200),
            ("web.open_hour_max", u64::from(web.open_hour_max), 1, 1_000_000),
            ("web.address_hour_max", u64::from(web.address_hour_max), 1, 1_000_000),
        ] {
            if !(least..=most).contains(&value) {
                let problem = format!("{value} is outside {least}…{most}");
                return fault(key, problem, "取范围内的值 / choose a value inside");
            }
        }
        if let Some(bad) = web.proxies.iter().find(|net| net.parse::<hotline_sip::IpNet>().is_err()) {
            let problem = format!("{bad:?} is no network");
            return fault("web.proxies", problem, "如 127.0.0.0/8 / write 127.0.0.0/8");
        }
        let right = match web.map_bounds.as_slice() {
            [] => web.map.is_none(),
            [west, south, east, north] => {
                west < east
                    && south < north
                    && west.abs() <= 180.0
                    && east.abs() <= 180.0
                    && south.abs() <= 90.0
                    && north.abs() <= 90.0
            }
            _ => false,
        };
        if !right {
            let problem = format!("{:?} are no edges", web.map_bounds);
            return fault("web.map_bounds", problem, "依次为西、南、东、北(度) / west, south, east, north in degrees");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_settings_of_the_page_are_refused() {
        let judged = |text: &str| Config::parse(std::path::Path::new("c.toml"), &format!("[web]\n{text}"));
        for (text, key) in [
            ("public_url = \"ftp://x\"", "web.public_url"),
            ("public_url = \"https://x/?a\"", "web.public_url"),
            ("link_hours = 0", "web.link_hours"),
            ("files_max = 21", "web.files_max"),
            ("proxies = [\"x\"]", "web.proxies"),
            ("map = \"city.png\"", "web.map_bounds"),
            ("map_bounds = [120.0, 31.0, 119.0, 32.0]", "web.map_bounds"),
        ] {
            let e = judged(text).unwrap_err().to_string();
            assert!(e.contains(key), "{e}");
        }
        let good = judged("public_url = \"https://x.cn/\"\nmap = \"m.png\"\nmap_bounds = [119.0, 31.0, 120.0, 32.0]");
        assert_eq!(good.unwrap().web.address_of("/r").as_deref(), Some("https://x.cn/r"));
    }
}
