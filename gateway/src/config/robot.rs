//! The self-test robot: which ways it tries, how often, and whom it tells.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Config;
use super::judge::{Fault, fault};

/// The self-test. Each way is tried where its setting is not empty.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Robot {
    /// Pause between rounds; 0: no self-test.
    pub every_s: u64,
    /// A test must have come through after so long.
    pub timeout_s: u64,
    /// Hotline number to call.
    pub call: String,
    /// Loopback address of the robot's phone; one of the trunks must have it among its `sources`.
    pub call_from: IpAddr,
    /// Address of the report page, for example `https://12319.city.gov.cn/r`.
    pub web: String,
    /// Address of our WeChat webhook as the platform reaches it, for example `https://12319.city.gov.cn/hooks/wechat`.
    pub wechat: String,
    /// Number a test is texted to; it has passed when the carrier reports its arrival.
    pub sms: String,
    /// Line it leaves by; empty: any.
    pub sms_line: String,
    /// Mail to ourselves, through both servers.
    pub mail: bool,
    /// Number told by text of the first miss and of the end of it; empty: nobody.
    pub alarm_number: String,
}

impl Default for Robot {
    fn default() -> Self {
        Self {
            every_s: 0,
            timeout_s: 60,
            call: String::new(),
            call_from: IpAddr::from([127, 0, 0, 9]),
            web: String::new(),
            wechat: String::new(),
            sms: String::new(),
            sms_line: String::new(),
            mail: false,
            alarm_number: String::new(),
        }
    }
}

impl Config {
    pub(super) fn judge_robot(&self) -> Result<(), Fault> {
        let robot = &self.robot;
        if robot.every_s == 0 {
            return Ok(());
        }
        let bounds = [("robot.every_s", robot.every_s, 1, 86_400), ("robot.timeout_s", robot.timeout_s, 1, 600)];
        for (key, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                let problem = format!("{value} is outside {least}…{most}");
                return fault(key, problem, "取范围内的值 / choose a value inside");
            }
        }
        if !robot.call.is_empty() {
            let known = self.hotlines.iter().any(|h| h.number == robot.call);
            if !known {
                let problem = format!("{} is no hotline number", robot.call);
                return fault("robot.call", problem, "填写一个 [[hotline]] 号码 / name one of the hotline numbers");
            }
            let is_source =
                |net: &String| net.parse::<hotline_sip::IpNet>().is_ok_and(|net| net.contains(robot.call_from));
            if !self.trunks.iter().any(|t| t.sources.iter().any(is_source)) {
                let problem = format!("no trunk has {} among its sources", robot.call_from);
                let remedy = "加一条 sources 含此地址的中继 / add a trunk with this address among its sources";
                return fault("robot.call_from", problem, remedy);
            }
        }
        for (key, url) in [("robot.web", &robot.web), ("robot.wechat", &robot.wechat)] {
            if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
                return fault(key, format!("{url:?} is no address"), "写作 https://… / write https://…");
            }
        }
        if robot.mail && (self.mail.imap.host.is_empty() || self.mail.smtp.host.is_empty()) {
            let remedy = "填写 [mail.imap] 和 [mail.smtp] / set up [mail.imap] and [mail.smtp]";
            return fault("robot.mail", "mail goes out or comes in nowhere".into(), remedy);
        }
        Ok(())
    }
}
