//! The people: the operator with phone and sign-in, the citizen, and what they say.

use hotline_tests::api::Api;
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Behaviour, Citizen, CitizenConfig, Credentials, Phone, PhoneConfig};
use serde_json::json;

use crate::look::{demand, text};
use crate::show::{Failed, Show};
use crate::site::{LOGIN, Site};
use crate::speech::Sentence;

/// The citizen's number; nobody is dialled outside this machine.
const NUMBER: &str = "13812345678";
/// The operator lets it ring so long.
const RING_MS: u64 = 1_500;

/// Everybody at their places.
pub(crate) struct Desk {
    pub(crate) api: Api,
    pub(crate) phone: Phone,
    pub(crate) citizen: Citizen,
    pub(crate) lines: Lines,
}

/// What is said, in this order.
pub(crate) struct Lines {
    pub(crate) hello: Sentence,
    pub(crate) report: Sentence,
    pub(crate) promise: Sentence,
}

/// Speech, phone, sign-in.
pub(crate) async fn open(show: &mut Show, site: &Site) -> Result<Desk, Failed> {
    let lines = show
        .step("普通话语音已合成(espeak-ng)", "the spoken Mandarin is rendered by espeak-ng", 60_000, async {
            let folder = site.speech_dir()?;
            let lines = Lines {
                hello: Sentence::render(&folder, "operator-hello", "您好,请讲").await?,
                report: Sentence::render(&folder, "citizen", "您好,人民路八十八号门前的井盖缺失了,很危险").await?,
                promise: Sentence::render(&folder, "operator-promise", "好的,已经为您登记,马上派人处置").await?,
            };
            let said =
                |who: &str, line: &Sentence| format!("{who} {:.1} s:{}", line.duration_ms as f64 / 1e3, line.text);
            let detail = [
                said("受理员 / operator", &lines.hello),
                said("市民 / citizen", &lines.report),
                said("受理员 / operator", &lines.promise),
            ];
            Ok((lines, detail.join("\n")))
        })
        .await?;
    let phone = show
        .step("受理员话机已注册", "the operator's phone is registered", 15_000, async {
            let mut config = PhoneConfig::new(site.sip, Credentials::new(LOGIN, &site.phone_password));
            config.behaviour = Behaviour::Answer { after_ms: RING_MS };
            config.source = Source::Silence;
            let phone = Phone::start(config).await?;
            let detail = format!("sip:{LOGIN}@{} ← {} (digest)", site.sip, phone.agent().local());
            Ok((phone, detail))
        })
        .await?;
    let api = show
        .step("受理员已登录,小休中", "the operator is signed in, on a break", 15_000, async {
            let api = site.api().sign_in(LOGIN, &site.password).await?;
            let state = set_state(&api, "break").await?;
            demand(state["phone_registered"] == true, format!("the gateway doesn't see the phone: {state}"))?;
            Ok((api, format!("状态 / state: {} · 队列 / queue: {}", text(&state["state"]), text(&state["queue"]))))
        })
        .await?;
    let citizen = show
        .step("市民的电话已就绪", "the citizen's telephone is there", 15_000, async {
            let mut config = CitizenConfig::new(site.sip, NUMBER);
            (config.ip, config.port, config.source) = (site.citizen.ip(), site.citizen.port(), Source::Silence);
            let citizen = Citizen::start(config).await?;
            let detail = format!("经中继 demo / through the trunk demo, {}", citizen.agent().local());
            Ok((citizen, detail))
        })
        .await?;
    Ok(Desk { api, phone, citizen, lines })
}

/// 示闲, 小休 …
pub(crate) async fn set_state(api: &Api, state: &str) -> hotline_tests::Result<serde_json::Value> {
    api.post("/api/v1/operators/me/state", &json!({"state": state, "reason": "演示"})).await
}
