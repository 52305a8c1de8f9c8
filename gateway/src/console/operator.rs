//! Operators: their state, and the queues they serve.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use hotline_db::{OperatorSkill, OperatorState as StateRow};
use serde::{Deserialize, Serialize};

use super::auth::{Role, User};
use super::error::ApiError;
use super::seen::{is_away, soon};
use super::signing::{Brief, served};
use super::{Api, audit, id_of};
use crate::acd::{AcdError, OperatorState, Profile, QueueView, Refused, Standing};
use crate::app::Services;
use crate::clock::now_ms;
use crate::desk_phone::is_outside;
use crate::patience::patiently;

/// A database that failed is asked for operators' states again after so long.
const RESTORE_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);
/// Queues of one operator.
const QUEUES_MAX: usize = 64;

/// What the operator wants to be.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct StateForm {
    /// `ready`, `busy`, `break`, `away` or `off`.
    #[schema(value_type = String)]
    state: OperatorState,
    /// Reason of a break.
    #[serde(default)]
    reason: String,
    /// Queue to serve; absent: see `queues`.
    queue: Option<String>,
    /// Queues to serve; absent with `queue`: those served so far, on signing in the first.
    queues: Option<Vec<String>>,
}

/// What holds now.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct StateView {
    state: String,
    /// What comes after the call at hand.
    next: Option<String>,
    queue: String,
    /// All queues served.
    queues: Vec<String>,
    /// Whether the operator's phone is registered: no call comes before it is.
    phone_registered: bool,
}

impl StateView {
    pub(super) fn new(standing: &Standing, queues: Vec<String>, phone_registered: bool) -> Self {
        Self {
            state: standing.state.as_str().into(),
            next: standing.next.map(|s| s.as_str().to_owned()),
            queue: queues.first().cloned().unwrap_or_default(),
            queues,
            phone_registered,
        }
    }
}

/// 切换坐席状态
#[utoipa::path(post, path = "/api/v1/operators/me/state", request_body = StateForm, responses((status = 200, body = StateView), (status = 400), (status = 403), (status = 409, description = "duty forbids it, or the nailed-up leg wasn't picked up")))]
pub(crate) async fn set_state(
    State(api): State<Api>,
    user: User,
    body: Result<Json<StateForm>, JsonRejection>,
) -> Result<Json<StateView>, ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Operator])?;
    from_a_call(form.state)?;
    if form.reason.chars().count() > 64 {
        return Err(ApiError::bad("reason: ≤ 64 字 / characters"));
    }
    let who =
        api.sv.desk_phones.reference(&user.0).ok_or_else(|| {
            ApiError::bad("该用户没有话机 / this user has no SIP phone: `hotline user add --sip-user`")
        })?;
    let queues = match form.queues.or(form.queue.map(|q| vec![q])) {
        Some(queues) => queues,
        None => match served(&api.sv.acd.view().await, &who.id) {
            served if served.is_empty() => vec![api.sv.config.first_queue()],
            served => served,
        },
    };
    if !(1..=QUEUES_MAX).contains(&queues.len()) {
        return Err(ApiError::bad(format!("queues: 1–{QUEUES_MAX}")));
    }
    let for_leaders = queues.iter().any(|q| api.sv.config.queue(q).leaders_only);
    if for_leaders && !user.has(&[Role::Leader]) {
        return Err(ApiError::forbidden("该队列只由值班长受理 / only shift leaders serve this queue"));
    }
    super::line::before_ready(&api, &user, &who, (form.state, &queues)).await?;
    let mut profile = profile(&api.sv, user.0.id, queues.clone(), false).await?;
    let brief = Brief::of(&api, &user, form.state, &queues).await?;
    // One at a time: two people can't both leave because the other stays.
    let turn = match &brief {
        Some(brief) => {
            let turn = api.sv.duty.lock().await;
            brief.judge(&api, &user).await?;
            Some(turn)
        }
        None => None,
    };
    // Last: a phone often registers at the same moment.
    let registered = is_outside(&who) || !api.sv.sip.bindings(&who.sip_user).is_empty();
    profile.registered = registered;
    let standing = api
        .sv
        .acd
        .want(who, profile, form.state, form.reason.trim())
        .await
        .map_err(|e| ApiError::bad(e.to_string()))?;
    drop(turn);
    keep_seat(&api.sv, user.0.id, &queues);
    Ok(Json(StateView::new(&standing, queues, registered)))
}

/// A state nobody chooses.
pub(super) fn from_a_call(state: OperatorState) -> Result<(), ApiError> {
    if state.may_be_chosen() { Ok(()) } else { Err(ApiError::bad(Refused::StateOfACall.to_string())) }
}

pub(super) async fn profile(
    sv: &Services,
    operator: hotline_db::Id,
    queues: Vec<String>,
    registered: bool,
) -> Result<Profile, hotline_db::DbError> {
    let skills = match soon(sv.store.operator_skills(operator)).await {
        Ok(skills) => skills.into_iter().map(level).collect(),
        // The queues go on without the database: so does who serves them.
        Err(e) if is_away(&e) => sv.acd.skills_of(&operator.to_string()).await.ok_or(e)?,
        Err(e) => return Err(e),
    };
    Ok(Profile { queues, skills, registered, node: String::new() })
}

/// What a restart begins with. Nobody's change of state waits for it; of two changes the later one stays.
fn keep_seat(sv: &Arc<Services>, operator: hotline_db::Id, queues: &[String]) {
    let (sv, queues, at) = (Arc::clone(sv), queues.to_vec(), now_ms());
    sv.calls.clone().spawn(async move {
        if let Err(e) = patiently("seat", || sv.store.operator_seat_set(operator, &queues, at)).await {
            tracing::warn!(%operator, error = %e, "the queues somebody serves are not written: a restart forgets them");
        }
    });
}

fn level(row: OperatorSkill) -> (String, u8) {
    // The table takes 1 to 9.
    (row.skill, u8::try_from(row.level).unwrap_or(1))
}

/// What somebody can do.
#[derive(Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SkillsForm {
    /// Name → level, 1 (some) to 9 (best).
    skills: BTreeMap<String, i64>,
}

/// 技能
#[utoipa::path(get, path = "/api/v1/users/{id}/skills", responses((status = 200, body = SkillsForm), (status = 403)))]
pub(crate) async fn skills(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<SkillsForm>, ApiError> {
    user.staff()?;
    let rows = api.sv.store.operator_skills(id_of(&id)?).await?;
    Ok(Json(SkillsForm { skills: rows.into_iter().map(|r| (r.skill, r.level)).collect() }))
}

/// 设置技能
#[utoipa::path(put, path = "/api/v1/users/{id}/skills", request_body = SkillsForm, responses((status = 200, body = SkillsForm), (status = 400), (status = 403), (status = 404)))]
pub(crate) async fn set_skills(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Result<Json<SkillsForm>, JsonRejection>,
) -> Result<Json<SkillsForm>, ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Leader, Role::Manager])?;
    let id = id_of(&id)?;
    let rows: Vec<_> =
        form.skills.iter().map(|(skill, level)| OperatorSkill { skill: skill.clone(), level: *level }).collect();
    audit(&api.sv, &user.0, "skills_set", &format!("user:{id}"), None).await?;
    api.sv.store.operator_skills_set(id, rows.clone()).await?;
    api.sv.acd.set_skills(&id.to_string(), rows.into_iter().map(level).collect()).await;
    Ok(Json(form))
}

/// 队列
#[utoipa::path(get, path = "/api/v1/queues", responses((status = 200, body = [QueueView])))]
pub(crate) async fn queues(State(api): State<Api>, user: User) -> Result<Json<Vec<QueueView>>, ApiError> {
    user.staff()?;
    Ok(Json(api.sv.acd.view().await))
}

/// After a restart operators are what they were before it; their calls come once their phones register again.
pub async fn restore(sv: &Arc<Services>) -> Result<(), hotline_db::DbError> {
    for row in sv.store.queue_overrides(now_ms()).await? {
        sv.acd.open_by_hand(&row.queue, Some((row.open, row.until_at))).await;
    }
    sv.desk_phones.load(&sv.store, &sv.sealer).await?;
    let rows = sv.store.operator_states().await?;
    // The start doesn't wait for a leader of queues that several gateways share: calls are taken, and turned away.
    if let Some(left) = restore_people(sv, rows).await? {
        tracing::warn!(operators = left, "nobody leads the queues: operators are restored once somebody does");
        let sv = Arc::clone(sv);
        tokio::spawn(async move {
            tokio::select! {
                () = restore_later(&sv) => {}
                () = sv.cancel.cancelled() => {}
            }
        });
    }
    Ok(())
}

/// Until somebody leads the queues. Who signs in or out meanwhile, at whichever gateway, is in the rows read anew.
async fn restore_later(sv: &Arc<Services>) {
    loop {
        let rows = sv.store.operator_states().await;
        // It waits for a leader itself.
        let restored = match rows {
            Ok(rows) => restore_people(sv, rows).await,
            Err(e) => Err(e),
        };
        match restored {
            Ok(None) => return,
            Ok(Some(_)) => {}
            Err(e) => {
                tracing::warn!(error = %e, "operators' states not restored yet");
                tokio::time::sleep(RESTORE_AGAIN).await;
            }
        }
    }
}

/// `Some`: the queues didn't answer, and so many are left.
async fn restore_people(sv: &Arc<Services>, rows: Vec<StateRow>) -> Result<Option<usize>, hotline_db::DbError> {
    // Where several gateways share the queues, another may know better.
    let known: std::collections::BTreeSet<String> = match sv.peers {
        Some(_) => sv.acd.led_view().await.into_iter().flat_map(|q| q.operators).map(|o| o.id).collect(),
        None => std::collections::BTreeSet::new(),
    };
    let rows: Vec<_> = rows.into_iter().filter(|row| !known.contains(&row.operator.to_string())).collect();
    for (n, row) in rows.iter().enumerate() {
        match restore_one(sv, row).await? {
            Err(AcdError::Unavailable) => return Ok(Some(rows.len() - n)),
            Err(e) => tracing::warn!(error = %e, "operator's state not restored"),
            Ok(()) => {}
        }
    }
    Ok(None)
}

async fn restore_one(sv: &Arc<Services>, row: &StateRow) -> Result<Result<(), AcdError>, hotline_db::DbError> {
    let state = match OperatorState::parse(row.state.as_str()) {
        Some(OperatorState::Off) | None => return Ok(Ok(())),
        // A call of before the restart is over.
        Some(state) if state.may_be_chosen() => state,
        Some(_) => OperatorState::Ready,
    };
    let Some(user) = sv.store.user_by_id(row.operator).await?.filter(|user| user.active) else { return Ok(Ok(())) };
    let Some(who) = sv.desk_phones.reference(&user) else { return Ok(Ok(())) };
    // A queue may have been taken out of the configuration meanwhile.
    let known = sv.config.queue_names();
    let mut queues = sv.store.operator_seat(user.id).await?;
    queues.retain(|q| known.contains(q));
    if queues.is_empty() {
        queues.push(sv.config.first_queue());
    }
    let profile = profile(sv, user.id, queues, is_outside(&who)).await?;
    let wanted = sv.acd.want(who, profile, state, row.reason.as_deref().unwrap_or_default()).await;
    Ok(wanted.map(drop))
}
