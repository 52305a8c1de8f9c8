//! A registrar small enough to be trusted: it challenges with both hashes, checks
//! the answers, and calls its phones.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::agent::{Agent, AgentConfig, lock, new_tag, without_dialog};
use super::call::Call;
use super::digest::{Algorithm, Credentials, verify};
use super::message::{Message, param, uri_of, user_of};
use super::outgoing::Dial;
use crate::rtp::Source;
use crate::{Error, Result, until};

const REALM: &str = "harness";

/// Where a registered phone is.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Its Contact's URI.
    pub contact: String,
    /// Where its REGISTER came from.
    pub source: SocketAddr,
    /// Hash it used.
    pub algorithm: Algorithm,
}

/// What it grants.
#[derive(Clone, Copy, Debug, Default)]
struct Terms {
    /// Shorter wishes get 423 with this as Min-Expires (RFC 3261 §10.3).
    least_s: u32,
    /// Longer wishes are cut to this.
    most_s: Option<u32>,
}

/// A registrar for the users it was given.
#[derive(Clone)]
pub struct Registrar {
    agent: Agent,
    terms: Arc<Mutex<Terms>>,
    bindings: Arc<Mutex<HashMap<String, Binding>>>,
}

impl Registrar {
    /// Starts on the address in `config`; `offered` are the hashes it challenges with.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn start(config: AgentConfig, users: Vec<Credentials>, offered: Vec<Algorithm>) -> Result<Self> {
        let agent = Agent::start(config).await?;
        let bindings: Arc<Mutex<HashMap<String, Binding>>> = Arc::default();
        let nonce = new_tag();
        let known = bindings.clone();
        let terms: Arc<Mutex<Terms>> = Arc::default();
        let granted = terms.clone();
        let service = move |request: &Message, source: SocketAddr| {
            if request.method() == "REGISTER" {
                register(request, source, &users, &offered, &nonce, &known, *lock(&granted))
            } else {
                without_dialog(request)
            }
        };
        *lock(&agent.0.service) = Some(Arc::new(service));
        Ok(Self { agent, bindings, terms })
    }

    /// The user agent beneath.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Refuses wishes shorter than `least_s` with 423, and grants `most_s` at most.
    pub fn set_terms(&self, least_s: u32, most_s: Option<u32>) {
        *lock(&self.terms) = Terms { least_s, most_s };
    }

    /// The binding of a user.
    #[must_use]
    pub fn binding(&self, user: &str) -> Option<Binding> {
        lock(&self.bindings).get(user).cloned()
    }

    /// Waits for a user to register.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn wait_registered(&self, user: &str, timeout_ms: u64) -> Result<Binding> {
        let what = format!("registration of {user}");
        until(&what, timeout_ms, || async { self.binding(user) }).await
    }

    /// Calls a registered phone.
    ///
    /// # Errors
    /// [`Error::Sip`] when it isn't registered.
    pub fn call(&self, user: &str, source: Source) -> Result<Call> {
        let binding = self.binding(user);
        let binding = binding.ok_or_else(|| Error::Sip(format!("{user} isn't registered")))?;
        let mut dial = Dial::new(binding.source, user).sending(source);
        dial.uri = binding.contact;
        self.agent.dial(dial)
    }
}

fn register(
    request: &Message,
    source: SocketAddr,
    users: &[Credentials],
    offered: &[Algorithm],
    nonce: &str,
    bindings: &Mutex<HashMap<String, Binding>>,
    terms: Terms,
) -> Message {
    let tagged = |code, reason| {
        let mut response = Message::response_to(request, code, reason);
        response.set("To", format!("{};tag={nonce}", request.header("To").unwrap_or("")));
        response
    };
    let aor = user_of(uri_of(request.header("To").unwrap_or("")));
    let user = users.iter().find(|u| u.user == aor);
    let answer = request.header("Authorization");
    let proven = user.zip(answer).is_some_and(|(u, a)| verify(a, u, REALM, nonce, "REGISTER"));
    if !proven {
        return offered.iter().fold(tagged(401, "Unauthorized"), |response, algorithm| {
            let token = algorithm.token();
            response.with(
                "WWW-Authenticate",
                format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\", algorithm={token}, qop=\"auth\""),
            )
        });
    }
    let contact = request.header("Contact").unwrap_or("");
    let expires = param(contact, "expires").or(request.header("Expires")).unwrap_or("3600").trim();
    if expires == "0" {
        lock(bindings).remove(aor);
        return tagged(200, "OK");
    }
    let wished: u32 = expires.parse().unwrap_or(0);
    if wished < terms.least_s {
        return tagged(423, "Interval Too Brief").with("Min-Expires", terms.least_s.to_string());
    }
    let expires = terms.most_s.map_or(wished, |most| wished.min(most));
    let sha = answer.is_some_and(|a| a.to_ascii_uppercase().contains("SHA-256"));
    let algorithm = if sha { Algorithm::Sha256 } else { Algorithm::Md5 };
    let binding = Binding { contact: uri_of(contact).to_owned(), source, algorithm };
    let granted = format!("<{}>;expires={expires}", binding.contact);
    lock(bindings).insert(aor.to_owned(), binding);
    tagged(200, "OK").with("Contact", granted)
}
