//! The citizen's call: notice, queue, talk, recording, verdict.

use std::time::Instant;

use hotline_tests::sip::{Call, Side};
use hotline_tests::until;
use hotline_tests::wav::Wav;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::desk::{Desk, set_state};
use crate::ear::{Ear, Speech};
use crate::look::{self, demand, text, unexpected};
use crate::show::{Failed, Show};
use crate::site::HOTLINE;

/// The call as rows know it.
pub(crate) struct Talk {
    pub(crate) call: String,
    pub(crate) recording: String,
}

/// Both ends of the line.
struct Line {
    call: String,
    citizen: Call,
    citizen_ear: Ear,
}

/// From the first ring to the citizen's verdict.
pub(crate) async fn call(show: &mut Show, desk: &Desk) -> Result<Talk, Failed> {
    let mut line = dial(show, desk).await?;
    let operator = connect(show, desk, &line).await?;
    talk(show, desk, &mut line, &operator).await?;
    let recording = recording(show, desk, &line).await?;
    verdict(show, desk, &mut line).await?;
    Ok(Talk { call: line.call, recording })
}

async fn dial(show: &mut Show, desk: &Desk) -> Result<Line, Failed> {
    let mut line = show
        .step("市民拨打 12319,已接通", "the citizen's call to 12319 is answered", 15_000, async {
            let began = Instant::now();
            let citizen = desk.citizen.call_answered(HOTLINE, 10_000).await?;
            let took_ms = began.elapsed().as_millis();
            let call = look::call_id(&desk.api, "sip_call_id", &citizen.call_id()).await?;
            let row = desk.api.get(&format!("/api/v1/calls/{call}")).await?;
            let detail = format!(
                "INVITE → 200 OK {took_ms} ms · 来电 / caller {} · 到达序号 / arrival no. {}",
                text(&row["caller_masked"]),
                text(&row["seq"])
            );
            let citizen_ear = Ear::new(citizen.rtp());
            Ok((Line { call, citizen, citizen_ear }, detail))
        })
        .await?;
    show.step(
        "来电已进入队列(先排队,后放提示音)",
        "the call is in the queue, before any word is played",
        15_000,
        async {
            let event = look::event(&desk.api, &line.call, "queue_enter", |e| e["kind"] == "queue_enter").await?;
            Ok((
                (),
                format!(
                    "队列 / queue {} · 通道 / lane {}",
                    text(&event["data"]["queue"]),
                    text(&event["data"]["lane"])
                ),
            ))
        },
    )
    .await?;
    show.step("市民听到录音告知", "the citizen hears the recording notice", 30_000, async {
        let greeting = Speech::prompt("greeting")?;
        let heard = line.citizen_ear.hear(&greeting, 25_000).await?;
        demand(heard.sound_ms > 0, "only silence")?;
        let detail = format!(
            "声音 {} ms,与 greeting.wav 一致 {} % / {} ms of sound, {} % of it as in greeting.wav",
            heard.sound_ms,
            heard.percent(),
            heard.sound_ms,
            heard.percent()
        );
        Ok(((), detail))
    })
    .await?;
    Ok(line)
}

async fn connect(show: &mut Show, desk: &Desk, line: &Line) -> Result<Call, Failed> {
    let operator = show
        .step("受理员示闲,话机振铃", "the operator is ready, the phone rings", 30_000, async {
            set_state(&desk.api, "ready").await?;
            let operator = desk.phone.next_call(15_000).await?;
            let invite = operator.invite();
            let named = invite.header("X-Hotline-Call").unwrap_or_default();
            demand(named == line.call, format!("the phone rings for another call: {named:?}"))?;
            look::event(&desk.api, &line.call, "operator_ring", |e| e["kind"] == "operator_ring").await?;
            Ok((operator, "队列选中空闲最久的受理员 / the queue chose the operator idle longest".into()))
        })
        .await?;
    show.step("受理员接听,双方通话", "the operator answers, the two are connected", 15_000, async {
        operator.wait_answered(10_000).await?;
        look::event(&desk.api, &line.call, "talk_start", |e| e["kind"] == "talk_start").await?;
        let row = desk.api.get(&format!("/api/v1/calls/{}", line.call)).await?;
        let waited = row["operator_answer_at"].as_i64().zip(row["queue_at"].as_i64()).map_or(0, |(a, q)| a - q);
        Ok(((), format!("排队 / waited {waited} ms · 编码 / codec {}", text(&row["codec"]))))
    })
    .await?;
    Ok(operator)
}

async fn talk(show: &mut Show, desk: &Desk, line: &mut Line, operator: &Call) -> Result<(), Failed> {
    let lines = &desk.lines;
    let mut operator_ear = Ear::new(operator.rtp());
    show.step("市民听到受理员", "the citizen hears the operator", 20_000, async {
        operator.rtp().play(lines.hello.source());
        let heard = line.citizen_ear.hear(&lines.hello.speech, 15_000).await?;
        Ok(((), format!("“{}” 一致 / alike {} %", lines.hello.text, heard.percent())))
    })
    .await?;
    show.step("受理员听到市民", "the operator hears the citizen", 30_000, async {
        line.citizen.rtp().play(lines.report.source());
        let heard = operator_ear.hear(&lines.report.speech, 25_000).await?;
        Ok(((), format!("“{}” 一致 / alike {} %", lines.report.text, heard.percent())))
    })
    .await?;
    show.step("受理员答复后按“结束”", "the operator replies and presses “end”", 30_000, async {
        operator.rtp().play(lines.promise.source());
        let heard = line.citizen_ear.hear(&lines.promise.speech, 20_000).await?;
        // Nobody presses a button within the last syllable: the pause after the sentence
        // belongs to the talk, and keeps its last packets inside the recording.
        until("the operator's pause", 5_000, || async { operator.rtp().has_played().then_some(()) }).await?;
        desk.api.end_call(&line.call, None).await?;
        operator.wait_ended(5_000).await?;
        let event = look::event(&desk.api, &line.call, "talk_end", |e| e["kind"] == "talk_end").await?;
        let detail = format!(
            "“{}” 一致 / alike {} %\n结束方 / ended by {};市民仍在线 / the citizen is still on the line",
            lines.promise.text,
            heard.percent(),
            text(&event["data"]["by"])
        );
        let gone = matches!(line.citizen.state(), hotline_tests::sip::State::Ended(_));
        demand(!gone, "the citizen's line is gone: nobody may hang up on a citizen")?;
        Ok(((), detail))
    })
    .await
}

async fn recording(show: &mut Show, desk: &Desk, line: &Line) -> Result<String, Failed> {
    show.step("双声道录音已完成", "the two-channel recording is finished", 20_000, async {
        let path = format!("/api/v1/calls/{}", line.call);
        let finished = |row: &Value| {
            let recordings = row["recordings"].as_array()?;
            recordings.iter().find(|r| r["kind"] == "talk" && r["sha256"].is_string()).cloned()
        };
        let row = desk.api.wait_for(&path, 15_000, finished).await?;
        let id = row["id"].as_str().ok_or_else(|| unexpected(format!("a recording without an id: {row}")))?;
        let bytes = desk.api.audio(id, "演示 / demonstration").await?;
        let sha256 = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
        demand(
            row["sha256"] == sha256.as_str(),
            format!("sha256 of the file is {sha256}, of the row {}", row["sha256"]),
        )?;
        let wav = Wav::from_bytes(&bytes)?;
        let left = desk.lines.report.speech.find_in(wav.channel(0));
        let left = left.ok_or_else(|| unexpected("the citizen's words aren't in the left channel"))?;
        let right = desk.lines.promise.speech.find_in(wav.channel(1));
        let right = right.ok_or_else(|| unexpected("the operator's words aren't in the right channel"))?;
        let detail = format!(
            "时长 / length {:.2} s\n左 / left  = 市民 / citizen   {:.1} dBFS,原话一致 / alike {} %\n\
             右 / right = 受理员 / operator {:.1} dBFS,原话一致 / alike {} %\n\
             sha256 {sha256}(已核对 / checked)",
            wav.duration_ms() as f64 / 1e3,
            wav.level_dbov(0),
            left.percent(),
            wav.level_dbov(1),
            right.percent()
        );
        Ok((id.to_owned(), detail))
    })
    .await
}

async fn verdict(show: &mut Show, desk: &Desk, line: &mut Line) -> Result<(), Failed> {
    show.step(
        "市民听完评价提示,按 1(满意)",
        "the citizen hears the survey and presses 1 (satisfied)",
        40_000,
        async {
            let question = Speech::prompt("survey_question")?;
            let heard = line.citizen_ear.hear(&question, 30_000).await?;
            line.citizen.send_digits("1")?;
            let answer = |e: &Value| e["kind"] == "answer" && e["data"]["value"] == "1";
            let event = look::event(&desk.api, &line.call, "the key", answer).await?;
            Ok((
                (),
                format!(
                    "提示音一致 / prompt alike {} % · 已存 / stored: {} = 1",
                    heard.percent(),
                    text(&event["data"]["key"])
                ),
            ))
        },
    )
    .await?;
    show.step("市民通话结束", "the citizen's call is over", 30_000, async {
        let thanks = Speech::prompt("survey_thanks")?;
        line.citizen_ear.hear(&thanks, 15_000).await?;
        let end = line.citizen.wait_ended(10_000).await?;
        demand(end.by == Side::Remote, format!("ended by {:?}", end.by))?;
        let path = format!("/api/v1/calls/{}", line.call);
        let row = desk.api.wait_for(&path, 10_000, |row| row["end_at"].is_i64().then(|| row.clone())).await?;
        let detail = format!(
            "听到致谢后挂断 / after the thanks · 通话 / talk {} ms · 等待 / wait {} ms · 结束方 / ended by {}",
            text(&row["talk_ms"]),
            text(&row["wait_ms"]),
            text(&row["end_side"])
        );
        Ok(((), detail))
    })
    .await
}
