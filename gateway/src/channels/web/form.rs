//! The report as it arrives: a multipart stream under limits, judged field by field.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use multer::{Constraints, Multipart, SizeLimit};

use super::limits::{FIELD_BYTES_MAX, FIELDS_BYTES_MAX, PARTS_MAX, PLACE_CHARS_MAX, TEXT_CHARS_MAX, TEXT_CHARS_MIN};
use super::pace::{Pace, TooSlow, paced};
use super::places::Places;
use super::words::{CLASSES, Lang};
use crate::attachment::{self, Refusal};

/// What the citizen filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Form {
    /// Proof that the page is ours.
    pub(super) form: String,
    /// Left empty by people, who can't see it.
    pub(super) trap: String,
    /// The report.
    pub(super) text: String,
    /// Where, in words.
    pub(super) place: String,
    /// Where, on the map: degrees WGS-84 as text.
    pub(super) lon: String,
    /// Latitude.
    pub(super) lat: String,
    /// Number in [`CLASSES`], or nothing.
    pub(super) class: String,
    /// A telephone number, or nothing.
    pub(super) phone: String,
    /// Sums of the kept files.
    pub(super) files: Vec<String>,
    /// The first position a photo itself told, longitude and latitude.
    pub(super) photo_place: Option<(f64, f64)>,
    /// What was wrong with files, one line each.
    pub(super) file_errors: Vec<String>,
}

/// Why the stream wasn't read to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Not the form's encoding.
    NotAForm,
    /// More bytes, parts or files than allowed.
    TooLarge,
    /// It stopped in the middle.
    CutOff,
    /// It came too slowly.
    TooSlow,
    /// The form's proof didn't come first: no file is read for a stranger.
    NoProof,
    /// Too many send files now.
    Busy,
}

/// What a form may hold.
pub(super) struct Bounds {
    /// All of it, bytes.
    pub(super) bytes_max: u64,
    /// Files.
    pub(super) files_max: usize,
    /// How slowly it may come.
    pub(super) pace: Pace,
}

/// Reads a form; files are kept as they come, one in memory at a time, and only once `proof` holds and
/// the sender has a place.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    bounds: &Bounds,
    files: &Arc<attachment::Store>,
    lang: Lang,
    proof: impl Fn(&str) -> bool,
    (places, from): (&Places, IpAddr),
) -> Result<Form, Broken> {
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).ok_or(Broken::NotAForm)?;
    let boundary = multer::parse_boundary(kind).map_err(|_| Broken::NotAForm)?;
    let sizes = SizeLimit::new().whole_stream(bounds.bytes_max);
    let constraints = Constraints::new().size_limit(sizes);
    let stream = paced(body.into_data_stream(), bounds.pace);
    let mut parts = Multipart::with_constraints(stream, boundary, constraints);
    let mut form = Form::default();
    let (mut place, mut fields) = (None, 0_u64);
    for _ in 0..PARTS_MAX {
        let Some(mut part) = parts.next_field().await.map_err(broken)? else { return Ok(form) };
        let name = part.name().unwrap_or_default().to_owned();
        if name == "files" {
            if place.is_none() {
                if !proof(&form.form) {
                    return Err(Broken::NoProof);
                }
                place = Some(places.take(from).await.ok_or(Broken::Busy)?);
            }
            let claimed = part.content_type().map(ToString::to_string).unwrap_or_default();
            let mut bytes = Vec::new();
            let mut too_large = false;
            while let Some(chunk) = part.chunk().await.map_err(broken)? {
                too_large |= bytes.len() + chunk.len() > attachment::limits::VIDEO_BYTES_MAX;
                if !too_large {
                    bytes.extend_from_slice(&chunk);
                }
            }
            // A browser sends an empty part where no file was chosen.
            if !bytes.is_empty() {
                keep(&mut form, bytes, &claimed, too_large, bounds, files, lang).await;
            }
            continue;
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = part.chunk().await.map_err(broken)? {
            fields += chunk.len() as u64;
            if (bytes.len() + chunk.len()) as u64 > FIELD_BYTES_MAX || fields > FIELDS_BYTES_MAX {
                return Err(Broken::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        form.set(&name, clean(&String::from_utf8_lossy(&bytes)));
    }
    Err(Broken::TooLarge)
}

async fn keep(
    form: &mut Form,
    bytes: Vec<u8>,
    claimed: &str,
    too_large: bool,
    bounds: &Bounds,
    files: &Arc<attachment::Store>,
    lang: Lang,
) {
    if form.files.len() + form.file_errors.len() >= bounds.files_max {
        let word = lang.pick("文件数量超过上限，多余的未上传", "Too many files: the last ones were left out");
        if !form.file_errors.iter().any(|e| e == word) {
            form.file_errors.push(word.to_owned());
        }
        return;
    }
    let kept = if too_large { Err(Refusal::TooLarge(attachment::Kind::Mp4)) } else { files.put(bytes, claimed).await };
    match kept {
        Ok(stored) => {
            if let (None, Some(lon), Some(lat)) = (form.photo_place, stored.lon, stored.lat) {
                form.photo_place = Some((lon, lat));
            }
            if !form.files.contains(&stored.sha256) {
                form.files.push(stored.sha256);
            }
        }
        Err(refusal) => form.file_errors.push(lang.pick(&refusal.zh(), &refusal.en()).to_owned()),
    }
}

fn broken(e: multer::Error) -> Broken {
    match e {
        multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => Broken::TooLarge,
        multer::Error::StreamReadFailed(why) if why.is::<TooSlow>() => Broken::TooSlow,
        multer::Error::IncompleteStream
        | multer::Error::IncompleteFieldData { .. }
        | multer::Error::StreamReadFailed(_) => Broken::CutOff,
        _ => Broken::NotAForm,
    }
}

/// Line ends as they should be, no control characters, no space at the ends.
fn clean(text: &str) -> String {
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    let kept: String = lines.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    kept.trim().to_owned()
}

impl Form {
    fn set(&mut self, name: &str, value: String) {
        match name {
            "form" => self.form = value,
            "website" => self.trap = value,
            "text" => self.text = value,
            "place" => self.place = value,
            "lon" => self.lon = value,
            "lat" => self.lat = value,
            "class" => self.class = value,
            "phone" => self.phone = value,
            _ => {}
        }
    }

    /// Where the pin is, if it is a place on earth.
    pub(super) fn pin(&self) -> Option<(f64, f64)> {
        let (lon, lat): (f64, f64) = (self.lon.parse().ok()?, self.lat.parse().ok()?);
        (lon.abs() <= 180.0 && lat.abs() <= 90.0).then_some((lon, lat))
    }

    /// The class chosen, by its Chinese name.
    pub(super) fn class_name(&self) -> Option<&'static str> {
        CLASSES.get(self.class.parse::<usize>().ok()?).map(|(zh, _)| *zh)
    }

    /// What is wrong, by field, in the citizen's language: what to do about it.
    pub(super) fn judge(&self, lang: Lang, area_code: &str) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        let mut wrong = |field, zh: String, en: String| errors.push((field, lang.pick(&zh, &en).to_owned()));
        let chars = |text: &str| text.chars().count();
        if self.files.is_empty() && chars(&self.text) < TEXT_CHARS_MIN {
            wrong(
                "text",
                format!("请写明发生了什么（至少 {TEXT_CHARS_MIN} 个字），或附上一张照片"),
                format!("Say what happened (at least {TEXT_CHARS_MIN} characters) or add a photo"),
            );
        }
        if chars(&self.text) > TEXT_CHARS_MAX {
            wrong(
                "text",
                format!("最多 {TEXT_CHARS_MAX} 个字，请删减"),
                format!("At most {TEXT_CHARS_MAX} characters: make it shorter"),
            );
        }
        if chars(&self.place) > PLACE_CHARS_MAX {
            wrong(
                "place",
                format!("最多 {PLACE_CHARS_MAX} 个字，请删减"),
                format!("At most {PLACE_CHARS_MAX} characters: make it shorter"),
            );
        }
        if self.place.is_empty() && self.pin().is_none() && self.photo_place.is_none() {
            wrong("place", "请填写地点，或点“使用我的位置”".into(), "Say where it is, or use “Use my position”".into());
        }
        if !self.phone.is_empty() && mobile_or_fixed(&self.phone, area_code).is_none() {
            wrong(
                "phone",
                "号码不完整：请填 11 位手机号，或带区号的固定电话；也可以留空".into(),
                "The number is incomplete: 11 digits, or a fixed line with its area code; you may leave it empty"
                    .into(),
            );
        }
        if let Some(first) = self.file_errors.first() {
            errors.push(("files", first.clone()));
        }
        errors
    }
}

/// A number one can call back, as E.164.
pub(super) fn mobile_or_fixed(raw: &str, area_code: &str) -> Option<String> {
    crate::privacy::normalize_phone(raw, area_code).filter(|n| n.starts_with('+') && n.len() >= 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Form {
        Form { text: "路口井盖缺失".into(), place: "文三路".into(), ..Form::default() }
    }

    fn fields(form: &Form) -> Vec<&'static str> {
        form.judge(Lang::Zh, "571").into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn a_report_needs_words_or_a_photo_and_a_place_in_some_form() {
        assert!(fields(&good()).is_empty());
        assert_eq!(fields(&Form::default()), ["text", "place"]);
        let photo = Form { files: vec!["a".into()], photo_place: Some((119.0, 31.0)), ..Form::default() };
        assert!(fields(&photo).is_empty(), "a photo that knows where it was taken says it all");
        let pinned = Form { place: String::new(), lon: "119.9".into(), lat: "31.8".into(), ..good() };
        assert!(fields(&pinned).is_empty());
        for (lon, lat) in [("NaN", "1"), ("181", "1"), ("1", "-91"), ("x", "1"), ("", "1"), ("inf", "1")] {
            let form = Form { place: String::new(), lon: lon.into(), lat: lat.into(), ..good() };
            assert_eq!(fields(&form), ["place"], "{lon} {lat}");
        }
    }

    #[test]
    fn what_is_too_long_or_incomplete_is_said_at_its_field() {
        let long = Form { text: "井".repeat(TEXT_CHARS_MAX + 1), place: "路".repeat(PLACE_CHARS_MAX + 1), ..good() };
        assert_eq!(fields(&long), ["text", "place"]);
        for phone in ["13812345678", "+86 138 1234 5678", "0571-85201234", "85201234"] {
            assert!(fields(&Form { phone: phone.into(), ..good() }).is_empty(), "{phone}");
        }
        for phone in ["12345", "abc", "1381234567", "000000"] {
            assert_eq!(fields(&Form { phone: phone.into(), ..good() }), ["phone"], "{phone}");
        }
        let refused = Form { file_errors: vec!["damaged".into()], ..good() };
        assert_eq!(refused.judge(Lang::En, ""), [("files", "damaged".to_owned())]);
    }

    #[test]
    fn control_characters_and_foreign_line_ends_are_cleaned() {
        assert_eq!(clean(" a\r\nb\rc\0\u{1b}[31m "), "a\nb\nc[31m");
        let form = Form { class: "1".into(), ..good() };
        assert!(form.class_name().is_some());
        for odd in ["", "99", "-1", "x"] {
            assert_eq!(Form { class: odd.into(), ..good() }.class_name(), None);
        }
    }
}
