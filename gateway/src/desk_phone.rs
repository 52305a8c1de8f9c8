//! What operators' phones are where they aren't simply those that register: an outside number, or a phone that is told
//! to answer by itself. In memory, so that no offer waits for the database.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use hotline_db::{DbError, Store, User};
use tracing::error;

use crate::acd::OperatorRef;
use crate::privacy::{Pii, Sealer};

/// The SIP user the queues know a person with an outside number by: it never registers.
const OUTSIDE: &str = "outside-";

#[derive(Clone)]
struct Known {
    number: Option<Pii<String>>,
    auto_answer: bool,
    home: bool,
    nailed_up: bool,
}

/// By user id.
#[derive(Default)]
pub struct DeskPhones(RwLock<HashMap<String, Known>>);

impl DeskPhones {
    /// Takes what the rows say now.
    ///
    /// # Errors
    /// As any read; what was known stays.
    pub async fn load(&self, store: &Store, sealer: &Sealer) -> Result<(), DbError> {
        let mut phones = HashMap::new();
        for row in store.desk_phones().await? {
            let number = match row.number_sealed.as_deref().map(|sealed| sealer.open_sealed(sealed)) {
                Some(Ok(number)) => Some(Pii::new(number)),
                Some(Err(e)) => {
                    error!(operator = %row.account, error = %e, "an operator's outside number can't be opened: restore secret.key");
                    None
                }
                None => None,
            };
            let (auto_answer, home, nailed_up) = (row.auto_answer, row.home, row.nailed_up);
            phones.insert(row.account.to_string(), Known { number, auto_answer, home, nailed_up });
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = phones;
        Ok(())
    }

    fn of(&self, operator: &str) -> Option<Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(operator).cloned()
    }

    /// The outside number that is rung for this operator.
    #[must_use]
    pub fn number(&self, who: &OperatorRef) -> Option<Pii<String>> {
        self.of(&who.id).filter(|_| is_outside(who))?.number
    }

    /// Whether their phone is told to answer by itself.
    #[must_use]
    pub fn answers_itself(&self, operator: &str) -> bool {
        self.of(operator).is_some_and(|known| known.auto_answer)
    }

    /// 居家坐席: whether their phone is asked for Opus first.
    #[must_use]
    pub fn is_home(&self, operator: &str) -> bool {
        self.of(operator).is_some_and(|known| known.home)
    }

    /// Whether their phone's leg stays up between citizens.
    #[must_use]
    pub fn is_nailed_up(&self, operator: &str) -> bool {
        self.of(operator).is_some_and(|known| known.nailed_up)
    }

    /// A person as the queues know them; `None` without any phone.
    #[must_use]
    pub fn reference(&self, user: &User) -> Option<OperatorRef> {
        let id = user.id.to_string();
        let sip_user = match self.of(&id).and_then(|known| known.number) {
            Some(_) => format!("{OUTSIDE}{id}"),
            None => user.sip_user.clone()?,
        };
        Some(OperatorRef { id, name: user.name.clone(), sip_user })
    }
}

/// Whether this person's phone is an outside number: always there, as far as we can know.
#[must_use]
pub fn is_outside(who: &OperatorRef) -> bool {
    who.sip_user.starts_with(OUTSIDE)
}
