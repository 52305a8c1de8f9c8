//! Sessions the database has confirmed lately. Call control writes no row before it acts: while the database is away
//! it goes on by these. Nobody signs in by them, and what the rows don't know any more is forgotten here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hotline_db::{DbError, User};

/// Sessions kept; who was confirmed longest ago goes first.
const SEEN_MAX: usize = 4_096;
/// A session is believed for so long after its last confirmation; it may outlive its own end by as much.
const LIFE: Duration = Duration::from_secs(900);
/// Who is known waits so long for the database, which may hang instead of refusing.
const PATIENCE: Duration = Duration::from_secs(1);

/// By the hash of the token.
#[derive(Default)]
pub(crate) struct Seen(Mutex<HashMap<String, (User, Instant)>>);

impl Seen {
    pub(super) fn keep(&self, token_hash: &str, user: &User, now: Instant) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= SEEN_MAX && !seen.contains_key(token_hash) {
            seen.retain(|_, (_, at)| now.saturating_duration_since(*at) < LIFE);
            if seen.len() >= SEEN_MAX
                && let Some(oldest) = seen.iter().min_by_key(|(_, (_, at))| *at).map(|(hash, _)| hash.clone())
            {
                seen.remove(&oldest);
            }
        }
        // Secrets stay in the rows.
        let user = User { password_hash: String::new().into(), ha1_md5: None, ha1_sha256: None, ..user.clone() };
        seen.insert(token_hash.to_owned(), (user, now));
    }

    pub(super) fn forget(&self, token_hash: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(token_hash);
    }

    pub(super) fn user(&self, token_hash: &str, now: Instant) -> Option<User> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (user, at) = seen.get(token_hash)?;
        (now.saturating_duration_since(*at) < LIFE).then(|| user.clone())
    }
}

/// A read that something else can stand in for: a database that hangs is away.
pub(super) async fn soon<T>(read: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    tokio::time::timeout(PATIENCE, read).await.unwrap_or(Err(DbError::Busy))
}

/// Whether another try might find the database back.
pub(super) fn is_away(error: &DbError) -> bool {
    error.is_away() || error.is_transient()
}

#[cfg(test)]
mod tests {
    use hotline_db::{Id, Json};

    use super::*;

    fn user() -> User {
        User {
            id: Id::new(),
            login: "1001".into(),
            name: "1001".into(),
            password_hash: "$argon2id$".to_owned().into(),
            roles: Json(serde_json::json!(["operator"])),
            sip_user: Some("1001".into()),
            ha1_md5: Some("0123".to_owned().into()),
            ha1_sha256: None,
            active: true,
        }
    }

    #[test]
    fn a_session_is_known_for_a_while_without_its_secrets_and_forgotten_when_told() {
        let (seen, now) = (Seen::default(), Instant::now());
        assert!(seen.user("a", now).is_none());
        seen.keep("a", &user(), now);
        let known = seen.user("a", now + LIFE / 2).unwrap();
        assert!(known.password_hash.expose().is_empty() && known.ha1_md5.is_none());
        assert!(seen.user("a", now + LIFE).is_none(), "it lives a short time");
        seen.forget("a");
        assert!(seen.user("a", now).is_none());
    }

    #[test]
    fn so_many_sessions_are_kept_and_who_was_confirmed_longest_ago_goes() {
        let (seen, now) = (Seen::default(), Instant::now());
        for n in 0..=SEEN_MAX {
            seen.keep(&n.to_string(), &user(), now + Duration::from_millis(n as u64));
        }
        assert_eq!(seen.0.lock().unwrap().len(), SEEN_MAX);
        let later = now + Duration::from_secs(10);
        assert!(seen.user("0", later).is_none() && seen.user("1", later).is_some());
    }
}
