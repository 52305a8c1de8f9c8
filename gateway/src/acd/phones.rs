//! At which gateways each phone is registered, the latest last.

use std::collections::BTreeMap;

/// Phones by SIP user. As many as there are registrations.
#[derive(Debug, Default)]
pub(super) struct Phones(BTreeMap<String, Vec<String>>);

impl Phones {
    /// A phone came to a gateway, or went.
    pub(super) fn set(&mut self, node: &str, user: &str, registered: bool) {
        let nodes = self.0.entry(user.to_owned()).or_default();
        nodes.retain(|n| n != node);
        if registered {
            nodes.push(node.to_owned());
        }
        if nodes.is_empty() {
            self.0.remove(user);
        }
    }

    /// Where it is rung.
    pub(super) fn place(&self, user: &str) -> Option<&str> {
        self.0.get(user)?.last().map(String::as_str)
    }

    /// Those of a gateway.
    pub(super) fn of(&self, node: &str) -> Vec<String> {
        let there = |nodes: &Vec<String>| nodes.iter().any(|n| n == node);
        self.0.iter().filter(|(_, nodes)| there(nodes)).map(|(user, _)| user.clone()).collect()
    }

    /// Exactly these are registered at a gateway from now on. Returns whose place changed.
    pub(super) fn replace(&mut self, node: &str, users: &[String]) -> Vec<String> {
        let before: Vec<String> = self.of(node).into_iter().filter(|user| !users.contains(user)).collect();
        for user in &before {
            self.set(node, user, false);
        }
        let fresh = users.iter().filter(|user| self.0.get(*user).is_none_or(|nodes| nodes.iter().all(|n| n != node)));
        let fresh: Vec<String> = fresh.cloned().collect();
        for user in &fresh {
            self.set(node, user, true);
        }
        before.into_iter().chain(fresh).collect()
    }

    /// Of the others nothing is known any more.
    pub(super) fn keep_only(&mut self, node: &str) {
        self.0.retain(|_, nodes| {
            nodes.retain(|n| n == node);
            !nodes.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_is_where_it_registered_last_and_at_the_other_gateway_when_it_leaves_there() {
        let mut phones = Phones::default();
        phones.set("a", "8001", true);
        phones.set("b", "8001", true);
        assert_eq!(phones.place("8001"), Some("b"));
        phones.set("b", "8001", false);
        assert_eq!(phones.place("8001"), Some("a"));
        assert_eq!(phones.replace("a", &["8002".into()]), ["8001", "8002"]);
        assert_eq!((phones.place("8001"), phones.of("a")), (None, vec!["8002".to_owned()]));
        phones.set("b", "8003", true);
        phones.keep_only("b");
        assert_eq!((phones.place("8002"), phones.place("8003")), (None, Some("b")));
    }
}
