//! Personal data: masked wherever it is shown, sealed where it is kept.

mod mask;
mod number;
mod password;
mod seal;

pub use mask::{Pii, mask_phone};
pub use number::{is_same_number, normalize_phone};
pub use password::{hash_password, verify_password};
pub use seal::{SealError, Sealer, constant_time_eq, hmac_hex, random_token, sha256_hex};
