use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};

/// Argon2id hash in PHC text form (RFC 9106). `None` only if the operating system has no randomness.
#[must_use]
pub fn hash_password(password: &str) -> Option<String> {
    Argon2::default().hash_password(password.as_bytes()).ok().map(|h| h.to_string())
}

/// Whether `password` belongs to `hash`; a damaged hash never matches.
#[must_use]
pub fn verify_password(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|parsed| Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_verifies() {
        let hash = hash_password("市民热线12319").unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(verify_password("市民热线12319", &hash));
        assert!(!verify_password("市民热线12318", &hash));
        assert!(!verify_password("x", "not a hash"));
    }
}
