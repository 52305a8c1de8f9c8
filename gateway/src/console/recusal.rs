//! 回避: who is complained about sees nothing of it, and of their colleagues only who supervises does.
//! Every route shaped like an item asks here.

use std::collections::BTreeSet;

use hotline_db::Id;

use super::Api;
use super::auth::{Role, User};
use super::error::ApiError;

pub(super) fn supervises(user: &User) -> bool {
    user.has(&[Role::Leader, Role::Qa, Role::Manager])
}

/// 404 for an item this person must not know of.
pub(super) async fn item(api: &Api, user: &User, id: Id) -> Result<(), ApiError> {
    let hidden = api.sv.store.items_recused(user.0.id, supervises(user), id, id).await?;
    if hidden.is_empty() { Ok(()) } else { Err(ApiError::missing()) }
}

/// The items of a list this person must not know of.
pub(super) async fn hidden(api: &Api, user: &User, items: &[Id]) -> Result<BTreeSet<Id>, ApiError> {
    let (Some(from), Some(to)) = (items.iter().min(), items.iter().max()) else { return Ok(BTreeSet::new()) };
    Ok(api.sv.store.items_recused(user.0.id, supervises(user), *from, *to).await?.into_iter().collect())
}

/// 404 for a callback task this person must not know of.
pub(super) async fn callback(api: &Api, user: &User, id: Id) -> Result<(), ApiError> {
    if callbacks_hidden(api, user, &[id]).await?.is_empty() { Ok(()) } else { Err(ApiError::missing()) }
}

/// The callback tasks of a list this person must not know of.
pub(super) async fn callbacks_hidden(api: &Api, user: &User, tasks: &[Id]) -> Result<BTreeSet<Id>, ApiError> {
    let (Some(from), Some(to)) = (tasks.iter().min(), tasks.iter().max()) else { return Ok(BTreeSet::new()) };
    let hidden = api.sv.store.callbacks_recused(user.0.id, supervises(user), *from, *to).await?;
    Ok(hidden.into_iter().collect())
}

/// 404 for a contact or conversation that this person must not know of.
pub(super) async fn contact(api: &Api, user: &User, id: Id, conversation: Option<Id>) -> Result<(), ApiError> {
    let is_hidden = api.sv.store.contact_recused(user.0.id, supervises(user), id, conversation).await?;
    if is_hidden { Err(ApiError::missing()) } else { Ok(()) }
}

/// 404 for an attachment of what this person must not know of.
pub(super) async fn attachment(api: &Api, user: &User, sha256: &str) -> Result<(), ApiError> {
    let is_hidden = api.sv.store.attachment_recused(user.0.id, supervises(user), sha256).await?;
    if is_hidden { Err(ApiError::missing()) } else { Ok(()) }
}
