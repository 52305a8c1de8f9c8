//! The report page's address as a QR code for posters, with the place it hangs at.

use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};

use super::limits::PLACE_CHARS_MAX;
use super::token;
use crate::privacy::Sealer;

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub enum QrError {
    /// No address to print.
    #[error("请先设置 web.public_url / set web.public_url first")]
    NoAddress,
    /// A place of this length makes no readable code.
    #[error("地点过长(最多 60 字)/ the place is too long (at most 60 characters)")]
    TooLong,
}

/// Characters of a place on a poster: more makes a code phones read badly.
const PLACE_MAX: usize = 60;

/// The address a poster leads to.
///
/// # Errors
/// [`QrError`].
pub fn address(sealer: &Sealer, web: &crate::config::Web, place: Option<&str>) -> Result<String, QrError> {
    let place = place.map(str::trim).filter(|p| !p.is_empty());
    if place.is_some_and(|p| p.chars().count() > PLACE_MAX.min(PLACE_CHARS_MAX)) {
        return Err(QrError::TooLong);
    }
    let path = place.map_or_else(|| "/r".to_owned(), |p| format!("/r?p={}", token::sign_place(sealer, p)));
    web.address_of(&path).ok_or(QrError::NoAddress)
}

/// The code as SVG, black on white with its quiet zone (ISO/IEC 18004 §5.3.8).
///
/// # Errors
/// [`QrError::TooLong`].
pub fn svg(address: &str) -> Result<String, QrError> {
    // A quarter of a poster may be torn or dirty.
    let code = QrCode::with_error_correction_level(address, EcLevel::Q).map_err(|_| QrError::TooLong)?;
    let mut picture = code.render::<svg::Color<'_>>();
    picture.min_dimensions(480, 480).quiet_zone(true);
    Ok(picture.dark_color(svg::Color("#000000")).light_color(svg::Color("#ffffff")).build())
}

/// The code as PNG, `scale` pixels a module.
///
/// # Errors
/// [`QrError::TooLong`].
pub fn png(address: &str, scale: u32) -> Result<Vec<u8>, QrError> {
    let code = QrCode::with_error_correction_level(address, EcLevel::Q).map_err(|_| QrError::TooLong)?;
    let quiet = 4_u32;
    let width = u32::try_from(code.width()).unwrap_or(u32::MAX);
    let edge = (width + 2 * quiet) * scale.clamp(1, 40);
    let picture = image::GrayImage::from_fn(edge, edge, |x, y| {
        let module = |at: u32| (at / scale.clamp(1, 40)).checked_sub(quiet).filter(|m| *m < width);
        let dark = match (module(x), module(y)) {
            (Some(x), Some(y)) => code[(x as usize, y as usize)] == qrcode::Color::Dark,
            _ => false,
        };
        image::Luma([if dark { 0 } else { 255 }])
    });
    let mut out = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut out, image::ImageFormat::Png).map_err(|_| QrError::TooLong)?;
    Ok(out.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Web;

    #[test]
    fn a_poster_leads_to_the_page_with_its_place() {
        let sealer = Sealer::from_key([1; 32]);
        let web = Web { public_url: "https://12319.example.cn/".into(), ..Web::default() };
        assert_eq!(address(&sealer, &web, None).unwrap(), "https://12319.example.cn/r");
        let placed = address(&sealer, &web, Some(" 文三路公交站 ")).unwrap();
        let signed = placed.strip_prefix("https://12319.example.cn/r?p=").unwrap();
        assert_eq!(token::read_place(&sealer, signed).as_deref(), Some("文三路公交站"));
        assert!(matches!(address(&sealer, &web, Some(&"路".repeat(61))), Err(QrError::TooLong)));
        assert!(matches!(address(&sealer, &Web::default(), None), Err(QrError::NoAddress)));
        assert!(svg(&placed).unwrap().contains("<svg") && png(&placed, 4).unwrap().starts_with(b"\x89PNG"));
        let longest = address(&sealer, &web, Some(&"路".repeat(60))).unwrap();
        assert!(svg(&longest).is_ok(), "the longest place still fits");
    }
}
