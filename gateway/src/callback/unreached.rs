//! Whom the calls about a finished case didn't reach gets one text instead (domain rules §4), at most once whatever
//! becomes of it.

use hotline_db::{CallbackKind, CallbackTask, DbError, NewOutgoing, OutgoingPurpose};
use tracing::warn;

use crate::app::Services;
use crate::channels::template::{Template, params_json};
use crate::intake::envelope::Channel;
use crate::intake::reply::recipient_of;
use crate::patience::patiently;

/// The citizen's answer is wanted for so long.
const WORTH_MS: i64 = 72 * 3_600_000;

/// Writes the text. Called before the task is concluded: after a crash in between it is called again, and the key
/// makes it one text.
pub(super) async fn text(sv: &Services, task: &CallbackTask, now: i64) -> Result<(), DbError> {
    let is_wanted = sv.config.callback.unreachable_text && !sv.config.sms.lines.is_empty();
    if !is_wanted || task.kind != CallbackKind::CaseFinished {
        return Ok(());
    }
    let (Some(item), Some(party)) = (task.item, task.party) else { return Ok(()) };
    let (Some(item), Some(party)) = (sv.store.item_get(item).await?, sv.store.party_get(party).await?) else {
        return Ok(());
    };
    // 拒访 stops surveys of every kind.
    let Some(recipient) = recipient_of(Channel::Sms, "", &party).filter(|_| !party.do_not_call) else {
        return Ok(());
    };
    let params = [("acceptance_no", item.acceptance_no.as_str())];
    let language = party.language.as_deref().unwrap_or(&sv.config.site.language);
    let text = match sv.texts.render(Template::SurveyPlain, language, &params) {
        Ok(text) => text,
        Err(e) => {
            warn!(task = %task.id, error = %e, "no text for a citizen who wasn't reached");
            return Ok(());
        }
    };
    let new = NewOutgoing {
        channel: recipient.channel.as_str().into(),
        line: None,
        to: recipient.to,
        template: Template::SurveyPlain.as_str().into(),
        params: params_json(&params).into(),
        text,
        purpose: OutgoingPurpose::Survey,
        dedup_key: Some(format!("survey:{}", task.id)),
        conversation: None,
        item: Some(item.id),
        party: Some(party.id),
        once: true,
        test: false,
        next_at: now,
        expires_at: now.saturating_add(WORTH_MS),
    };
    patiently("text to a citizen who wasn't reached", || sv.store.outgoing_add(new.clone(), now)).await.map(drop)
}
