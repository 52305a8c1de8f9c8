//! Access tokens: one request at a time, kept until shortly before they run out, asked for anew once
//! the platform refuses one.

use tokio::sync::Mutex;

use super::limits::{TOKEN_MARGIN_MS, TOKEN_REFRESH_MS};

/// A token and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    value: String,
    until_ms: i64,
}

/// What the platform answered.
pub struct Granted {
    /// The token.
    pub value: String,
    /// Seconds it lives.
    pub expires_s: i64,
}

/// The token of one account.
#[derive(Default)]
pub struct Tokens(Mutex<State>);

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// The last one the platform refused: getting it again means it must be forced.
    refused: Option<String>,
    refused_at: i64,
}

impl Tokens {
    /// The token, fetched by `fetch(force)` where there is none. Who comes meanwhile waits for the same one.
    ///
    /// # Errors
    /// `fetch`'s.
    pub async fn get<E, F>(&self, now_ms: i64, fetch: impl Fn(bool) -> F) -> Result<String, E>
    where
        F: Future<Output = Result<Granted, E>>,
    {
        let mut state = self.0.lock().await;
        if let Some(token) = state.token.as_ref().filter(|t| now_ms < t.until_ms) {
            return Ok(token.value.clone());
        }
        let mut granted = fetch(false).await?;
        if state.refused.as_deref() == Some(granted.value.as_str()) {
            granted = fetch(true).await?;
        }
        // A life shorter than the margin still serves this once.
        let life_ms = granted.expires_s.clamp(0, 86_400) * 1_000;
        let until_ms = now_ms + (life_ms - TOKEN_MARGIN_MS).max(life_ms / 2);
        state.token = Some(Token { value: granted.value.clone(), until_ms });
        Ok(granted.value)
    }

    /// The platform refused `value` (40001, 42001): the next [`Tokens::get`] asks anew. A storm of
    /// refusals asks once in [`TOKEN_REFRESH_MS`]; `false` when it is too soon.
    pub async fn refuse(&self, value: &str, now_ms: i64) -> bool {
        let mut state = self.0.lock().await;
        if state.token.as_ref().is_none_or(|t| t.value != value) {
            // Somebody else got a new one meanwhile.
            return true;
        }
        if now_ms < state.refused_at + TOKEN_REFRESH_MS && state.refused_at != 0 {
            return false;
        }
        state.refused_at = now_ms;
        state.refused = state.token.take().map(|t| t.value);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    async fn take(tokens: &Tokens, calls: &AtomicI64, now: i64) -> String {
        let fetch = |force: bool| async move {
            tokio::task::yield_now().await;
            let n = calls.fetch_add(1, Ordering::SeqCst);
            let value = if force { format!("forced-{n}") } else { "stable".into() };
            Ok::<_, ()>(Granted { value, expires_s: 7_200 })
        };
        tokens.get(now, fetch).await.unwrap()
    }

    #[tokio::test]
    async fn many_who_need_a_token_cause_one_request() {
        let (tokens, calls) = (Arc::new(Tokens::default()), Arc::new(AtomicI64::new(0)));
        let all = (0..50).map(|_| {
            let (tokens, calls) = (Arc::clone(&tokens), Arc::clone(&calls));
            tokio::spawn(async move { take(&tokens, &calls, 1).await })
        });
        for one in all.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap(), "stable");
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        take(&tokens, &calls, 7_000_000).await;
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        take(&tokens, &calls, 7_100_000).await;
        assert_eq!(calls.load(Ordering::SeqCst), 2, "asked for anew before it runs out");
    }

    #[tokio::test]
    async fn a_refused_token_is_forced_only_if_the_platform_gives_it_again() {
        let (tokens, calls) = (Tokens::default(), AtomicI64::new(0));
        let first = take(&tokens, &calls, 1_000_000).await;
        assert!(tokens.refuse(&first, 1_000_001).await);
        let second = take(&tokens, &calls, 1_000_002).await;
        assert_eq!((second.as_str(), calls.load(Ordering::SeqCst)), ("forced-2", 3));
        assert!(!tokens.refuse(&second, 1_000_003).await, "not twice at once");
        assert!(tokens.refuse("older", 1_000_004).await, "another's refusal is known already");
        assert!(tokens.refuse(&second, 1_010_000).await);
    }
}
