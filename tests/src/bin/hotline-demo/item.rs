//! From the call to a case: form, hand-off, transcript, and the whole story at the end.

use serde_json::json;

use crate::desk::Desk;
use crate::inbound::Talk;
use crate::look::{self, demand, text, unexpected};
use crate::show::{Failed, Show};
use crate::site::Site;

/// With a model, a small machine may need so long for some seconds of speech.
const TRANSCRIBE_MS: u64 = 600_000;
/// Without one the job only has to be looked at.
const WAITING_MODEL_MS: u64 = 30_000;

/// The item and its case.
pub(crate) struct Item {
    pub(crate) id: String,
    pub(crate) acceptance_no: String,
    pub(crate) case_no: String,
}

/// The operator's form, and the hand-off it leads to.
pub(crate) async fn register(show: &mut Show, desk: &Desk, talk: &Talk) -> Result<Item, Failed> {
    let (id, acceptance_no) = show
        .step("受理员登记诉求", "the operator's form makes an item", 15_000, async {
            let form = json!({
                "call": talk.call, "kind": "投诉", "urgency": 2, "title": "人民路井盖缺失",
                "detail": "人民路88号门前井盖缺失,存在危险", "class_code": "01023", "location": "人民路88号门前"
            });
            let item = desk.api.post("/api/v1/items", &form).await?;
            let (id, number) = (text(&item["id"]), text(&item["acceptance_no"]));
            demand(number.len() == 19, format!("no acceptance number: {item}"))?;
            let detail =
                format!("受理编号 / acceptance no. {number} · 查询码 / query code {}", text(&item["query_code"]));
            Ok(((id, number), detail))
        })
        .await?;
    let case_no = show
        .step(
            "诉求已移交案件核心(内置台账)",
            "the item is handed to the case core, here the embedded ledger",
            30_000,
            async {
                let path = format!("/api/v1/items/{id}");
                let handoff = desk
                    .api
                    .wait_for(&path, 25_000, |story| {
                        let handoff = story["handoffs"].as_array()?.iter().find(|h| h["kind"] == "create")?;
                        handoff["case_no"].is_string().then(|| handoff.clone())
                    })
                    .await?;
                let case = text(&handoff["case_no"]);
                let detail = format!("案件号 / case no. {case} · 次数 / attempts {}", text(&handoff["attempts"]));
                Ok((case, detail))
            },
        )
        .await?;
    Ok(Item { id, acceptance_no, case_no })
}

/// What became of the recording's transcription: a text, or the honest "waits for a model".
pub(crate) async fn transcript(show: &mut Show, site: &Site, desk: &Desk, talk: &Talk) -> Result<(), Failed> {
    let has_model = site.has_model();
    let (zh, en, limit_ms) = if has_model {
        ("录音已转写", "the recording is transcribed", TRANSCRIBE_MS)
    } else {
        ("转写任务等待模型(未安装)", "the transcription waits: no model is installed", WAITING_MODEL_MS)
    };
    show.step(zh, en, limit_ms, async {
        let path = format!("/api/v1/recordings/{}/transcript", talk.recording);
        let ended = ["done", "failed", if has_model { "failed" } else { "waiting_model" }];
        let found = desk.api.wait_for(&path, limit_ms, |answer| {
            let status = answer["status"].as_str()?;
            ended.contains(&status).then(|| answer.clone())
        });
        let answer = found.await?;
        let detail = match answer["status"].as_str() {
            Some("done") => {
                format!("{} {}: {}", text(&answer["engine"]), text(&answer["model"]), text(&answer["text"]))
            }
            Some("waiting_model") => format!(
                "状态 / state: waiting_model。安装模型只需一条命令,之后自动转写:\n\
                 One command changes it, the recording is then transcribed by itself:\n    {}{}",
                site.model_command()?,
                built_without()
            ),
            _ => return Err(unexpected(format!("the transcription failed: {answer}"))),
        };
        Ok(((), detail))
    })
    .await
}

/// A build without whisper needs more than a model.
fn built_without() -> &'static str {
    if std::env::var_os("HOTLINE_DEMO_NO_WHISPER").is_some_and(|v| !v.is_empty() && v != "0") {
        "\n(本次编译不含 whisper:去掉 HOTLINE_DEMO_NO_WHISPER 后重新运行 / this build has no whisper: run again without HOTLINE_DEMO_NO_WHISPER)"
    } else {
        ""
    }
}

/// `hotline show`, as it is.
pub(crate) async fn story(show: &mut Show, site: &Site, item: &Item) -> Result<(), Failed> {
    let story = show
        .step("hotline show 打印全过程", "hotline show prints the whole story", 15_000, async {
            let story = site.story(&item.acceptance_no)?;
            demand(
                story.contains(&item.acceptance_no) && story.contains(&item.case_no),
                format!("not its story: {story}"),
            )?;
            Ok((story, format!("hotline show {}", item.acceptance_no)))
        })
        .await?;
    show.line("");
    for line in story.lines() {
        show.line(&format!("    {line}"));
    }
    Ok(())
}

/// Waits until the item is in `state`.
pub(crate) async fn in_state(desk: &Desk, item: &Item, state: &str) -> hotline_tests::Result<serde_json::Value> {
    let path = format!("/api/v1/items/{}", item.id);
    let found = desk.api.wait_for(&path, 20_000, |story| (story["item"]["state"] == state).then(|| story.clone()));
    found.await.map_err(|why| look::unexpected(format!("{state}: {why}")))
}
