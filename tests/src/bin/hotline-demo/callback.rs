//! The case is handled: the gateway calls the citizen, whose keys close the case.

use std::time::Duration;

use hotline_tests::sip::{Call, Side};
use serde_json::Value;

use crate::desk::Desk;
use crate::ear::{Ear, Speech};
use crate::item::{Item, in_state};
use crate::look::{self, demand, text};
use crate::show::{Failed, Show};
use crate::site::HOTLINE;

/// The citizen lets it ring so long.
const RING_MS: u64 = 1_000;
/// Prompt, key that answers it, and the step's name.
const QUESTIONS: [(&str, &str, &str, &str); 4] = [
    ("contacted", "callback_contacted", "问“有人联系您吗”,按 1(有)", "“did somebody contact you?”, key 1 (yes)"),
    ("solved", "callback_solved", "问“是否解决”,按 1(已解决)", "“is it solved?”, key 1 (yes)"),
    ("satisfied", "callback_satisfied", "问“是否满意”,按 1(满意)", "“are you satisfied?”, key 1 (satisfied)"),
    ("may_close", "callback_may_close", "问“是否同意结案”,按 1(同意)", "“may we close?”, key 1 (yes)"),
];

struct Line {
    call: String,
    citizen: Call,
    ear: Ear,
}

/// From 已处置 to 已结案.
pub(crate) async fn close(show: &mut Show, desk: &Desk, item: &Item) -> Result<(), Failed> {
    let task = handled(show, desk, item).await?;
    let mut line = answer(show, desk).await?;
    for (key, prompt, zh, en) in QUESTIONS {
        question(show, desk, &mut line, (key, prompt), (zh, en)).await?;
    }
    stored(show, desk, &mut line, &task).await?;
    closed(show, desk, item).await
}

async fn handled(show: &mut Show, desk: &Desk, item: &Item) -> Result<String, Failed> {
    show.step("处置单位报告“已处置”", "the unit in charge reports the case as handled", 30_000, async {
        desk.api.set_stage(&item.case_no, "已处置", "井盖已补装").await?;
        let story = in_state(desk, item, "待回访").await?;
        Ok(((), format!("案件 / case {} · 诉求状态 / item state {}", item.case_no, text(&story["item"]["state"]))))
    })
    .await?;
    show.step("办结回访任务已生成", "a callback task is born from it", 15_000, async {
        let path = format!("/api/v1/callbacks?item={}", item.id);
        let wanted = |tasks: &Value| tasks.as_array()?.iter().find(|t| t["kind"] == "办结回访").cloned();
        let task = desk.api.wait_for(&path, 10_000, wanted).await?;
        Ok((text(&task["id"]), format!("{} · {}", text(&task["kind"]), text(&task["id"]))))
    })
    .await
}

async fn answer(show: &mut Show, desk: &Desk) -> Result<Line, Failed> {
    show.step(
        "网关回拨市民,市民接听并听到说明",
        "the gateway calls the citizen, who answers and hears why",
        90_000,
        async {
            let citizen = desk.citizen.next_call(30_000).await?;
            citizen.ring(180, false)?;
            tokio::time::sleep(Duration::from_millis(RING_MS)).await;
            citizen.accept()?;
            citizen.wait_acknowledged(10_000).await?;
            let mut ear = Ear::new(citizen.rtp());
            let greeting = ear.hear(&Speech::prompt("callback_greeting")?, 25_000).await?;
            ear.hear(&Speech::prompt("callback_item_finished")?, 40_000).await?;
            let shown = citizen.caller_user();
            demand(shown == HOTLINE, format!("the citizen sees {shown} as the caller"))?;
            let call = look::call_id(&desk.api, "direction", "outbound").await?;
            let detail = format!("来电显示 / caller id {shown} · 说明一致 / greeting alike {} %", greeting.percent());
            Ok((Line { call, citizen, ear }, detail))
        },
    )
    .await
}

async fn question(
    show: &mut Show,
    desk: &Desk,
    line: &mut Line,
    (key, prompt): (&str, &str),
    (zh, en): (&str, &str),
) -> Result<(), Failed> {
    show.step(zh, en, 40_000, async {
        let heard = line.ear.hear(&Speech::prompt(prompt)?, 25_000).await?;
        line.citizen.send_digits("1")?;
        let answered = |e: &Value| e["kind"] == "answer" && e["data"]["key"] == key;
        let event = look::event(&desk.api, &line.call, key, answered).await?;
        Ok((
            (),
            format!(
                "提示音一致 / prompt alike {} % · 已收 / received: {key} = {}",
                heard.percent(),
                text(&event["data"]["value"])
            ),
        ))
    })
    .await
}

async fn stored(show: &mut Show, desk: &Desk, line: &mut Line, task: &str) -> Result<(), Failed> {
    show.step("回访结束,评价已保存", "the callback is over, the verdict is stored", 40_000, async {
        line.ear.hear(&Speech::prompt("callback_thanks")?, 15_000).await?;
        let end = line.citizen.wait_ended(10_000).await?;
        demand(end.by == Side::Remote, format!("ended by {:?}", end.by))?;
        let path = format!("/api/v1/callbacks/{task}");
        let done = |answer: &Value| (answer["survey"].is_object()).then(|| answer.clone());
        let answer = desk.api.wait_for(&path, 15_000, done).await?;
        let survey = &answer["survey"];
        demand(survey["satisfied"] == 1 && survey["may_close"] == true, format!("not what was keyed: {survey}"))?;
        let detail = format!(
            "响应 / contacted {} · 解决 / solved {} · 满意 / satisfied {} · 同意结案 / may close {} · 结果 / result {}",
            text(&survey["contacted"]),
            text(&survey["solved"]),
            text(&survey["satisfied"]),
            text(&survey["may_close"]),
            text(&answer["task"]["result"])
        );
        Ok(((), detail))
    })
    .await
}

async fn closed(show: &mut Show, desk: &Desk, item: &Item) -> Result<(), Failed> {
    show.step("案件核心已结案", "the case core has closed the case", 30_000, async {
        let path = format!("/api/v1/items/{}", item.id);
        let row = |story: &Value, list: &str, field: &str, word: &str| {
            story[list].as_array()?.iter().find(|row| row[field] == word).cloned()
        };
        // The item closes with the verdict; the ledger's own word comes after the hand-off.
        let both = |story: &Value| {
            let event = row(story, "case_events", "stage", "已结案")?;
            Some((event, row(story, "handoffs", "kind", "close")?, story["item"]["state"].clone()))
        };
        let (event, close, state) = desk.api.wait_for(&path, 25_000, both).await?;
        demand(state == "已结案", format!("the item is {state}"))?;
        let detail = format!(
            "案件 / case {} {} · 结案请求 / request to close: {} · 诉求 / item {}",
            text(&event["case_no"]),
            text(&event["stage"]),
            text(&close["state"]),
            text(&state)
        );
        Ok(((), detail))
    })
    .await
}
