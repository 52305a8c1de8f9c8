//! What the pages are given to prove where they come from: links, forms, places on posters.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::limits::{FILL_MIN_MS, FORM_AGE_MAX_MS};
use crate::privacy::{Sealer, constant_time_eq, sha256_hex};

/// Hex digits of a signature that are kept: 96 bits.
const SIGNATURE_LEN: usize = 24;

/// A fresh link: 128 random bits, short enough for a text.
#[must_use]
pub(super) fn new_link() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}

/// What is kept of it; `None` for what can't be one.
#[must_use]
pub(super) fn link_hash(token: &str) -> Option<String> {
    let good = token.len() == 22 && token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    good.then(|| sha256_hex(token.as_bytes()))
}

/// Why a form isn't taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadForm {
    /// Not one of ours, or of another page.
    Forged,
    /// Filled in faster than a person can.
    TooFast,
    /// Left open too long.
    TooOld,
}

/// A form of ours: its random part, when it was given out, and a signature over both and its page.
#[must_use]
pub(super) fn new_form(sealer: &Sealer, page: &str, now: i64) -> String {
    let random = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 15]>());
    let body = format!("{random}.{now:x}");
    format!("{body}.{}", signature(sealer, "form", page, &body))
}

/// The form's random part, by which the same form sent twice is told.
pub(super) fn read_form<'a>(sealer: &Sealer, page: &str, form: &'a str, now: i64) -> Result<&'a str, BadForm> {
    let (random, at) = genuine_form(sealer, page, form).ok_or(BadForm::Forged)?;
    match now - at {
        age if age > FORM_AGE_MAX_MS => Err(BadForm::TooOld),
        age if age < FILL_MIN_MS => Err(BadForm::TooFast),
        _ => Ok(random),
    }
}

/// The same for somebody who only wants to see what became of it.
pub(super) fn genuine_form<'a>(sealer: &Sealer, page: &str, form: &'a str) -> Option<(&'a str, i64)> {
    let (body, signed) = form.rsplit_once('.')?;
    let (random, at) = body.split_once('.')?;
    let right = signature(sealer, "form", page, body);
    let is_ours = constant_time_eq(right.as_bytes(), signed.as_bytes()) && random.len() == 20;
    Some((random, i64::from_str_radix(at, 16).ok()?)).filter(|_| is_ours)
}

/// A place printed into a QR code, so that nobody else can put words there.
#[must_use]
pub(super) fn sign_place(sealer: &Sealer, place: &str) -> String {
    let body = URL_SAFE_NO_PAD.encode(place);
    format!("{body}.{}", signature(sealer, "place", "", &body))
}

/// The place again, if it is ours.
#[must_use]
pub(super) fn read_place(sealer: &Sealer, signed: &str) -> Option<String> {
    let (body, signed) = signed.rsplit_once('.')?;
    if !constant_time_eq(signature(sealer, "place", "", body).as_bytes(), signed.as_bytes()) {
        return None;
    }
    String::from_utf8(URL_SAFE_NO_PAD.decode(body).ok()?).ok()
}

fn signature(sealer: &Sealer, purpose: &str, page: &str, body: &str) -> String {
    let mut hash = sealer.hash(&format!("web|{purpose}|{page}|{body}"));
    hash.truncate(SIGNATURE_LEN);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_kept_as_a_hash_and_nothing_else_is_one() {
        let link = new_link();
        assert_eq!(link_hash(&link).unwrap().len(), 64);
        assert_ne!(link_hash(&link), link_hash(&new_link()));
        for bad in ["", "a", "../../../../etc/passwd", &"a".repeat(23), "aaaaaaaaaaaaaaaaaaaaa/", "井井井井井井井a"]
        {
            assert_eq!(link_hash(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_form_is_ours_of_its_page_and_of_its_time() {
        let (ours, theirs) = (Sealer::from_key([1; 32]), Sealer::from_key([2; 32]));
        let form = new_form(&ours, "page", 1_000_000);
        let read = |sealer: &Sealer, page: &str, form: &str, now| read_form(sealer, page, form, now).map(str::len);
        assert_eq!(read(&ours, "page", &form, 1_000_000 + FILL_MIN_MS), Ok(20));
        assert_eq!(read(&ours, "page", &form, 1_000_001), Err(BadForm::TooFast));
        assert_eq!(read(&ours, "page", &form, 1_000_001 + FORM_AGE_MAX_MS), Err(BadForm::TooOld));
        assert_eq!(read(&ours, "other", &form, 1_100_000), Err(BadForm::Forged));
        assert_eq!(read(&theirs, "page", &form, 1_100_000), Err(BadForm::Forged));
        for cut in 0..form.len() {
            assert_eq!(read(&ours, "page", &form[..cut], 1_100_000), Err(BadForm::Forged));
        }
        for odd in ["", ".", "..", "a.b.c", &form.replace('.', ""), &format!("x{form}")] {
            assert_eq!(read(&ours, "page", odd, 1_100_000), Err(BadForm::Forged), "{odd}");
        }
    }

    #[test]
    fn a_place_on_a_poster_is_ours_or_nothing() {
        let sealer = Sealer::from_key([1; 32]);
        let signed = sign_place(&sealer, "文三路公交站");
        assert_eq!(read_place(&sealer, &signed).as_deref(), Some("文三路公交站"));
        assert_eq!(read_place(&Sealer::from_key([2; 32]), &signed), None);
        assert_eq!(read_place(&sealer, &signed[1..]), None);
        assert_eq!(read_place(&sealer, "x"), None);
    }
}
