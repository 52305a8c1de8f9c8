//! Copies of a picture that are safe to show: decoded under limits, turned upright, written anew
//! without metadata.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use super::kind::Kind;
use super::limits::{DECODED_BYTES_MAX, EDGE_MAX_PX, JPEG_QUALITY, PAGE_EDGE_PX, PIXELS_MAX, THUMB_EDGE_PX};
use super::refusal::Refusal;

/// The copies.
#[derive(Debug)]
pub(super) struct Views {
    /// Width of the upright picture, pixels.
    pub(super) width: u32,
    /// Its height.
    pub(super) height: u32,
    /// JPEG for a page.
    pub(super) page: Vec<u8>,
    /// JPEG for a list.
    pub(super) thumb: Vec<u8>,
}

/// Decodes a picture and writes its copies.
///
/// # Errors
/// [`Refusal::TooManyPixels`] before anything large is allocated, [`Refusal::Damaged`],
/// [`Refusal::Unknown`] for a kind that isn't decoded here.
pub(super) fn views(bytes: &[u8], kind: Kind) -> Result<Views, Refusal> {
    let format = match kind {
        Kind::Jpeg => ImageFormat::Jpeg,
        Kind::Png => ImageFormat::Png,
        Kind::Webp => ImageFormat::WebP,
        other => return Err(Refusal::Unknown(other.as_str().into())),
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(EDGE_MAX_PX);
    limits.max_image_height = Some(EDGE_MAX_PX);
    limits.max_alloc = Some(DECODED_BYTES_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(refusal)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > PIXELS_MAX || decoder.total_bytes() > DECODED_BYTES_MAX {
        return Err(Refusal::TooManyPixels);
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(refusal)?;
    let mut page = smaller(&picture, PAGE_EDGE_PX);
    drop(picture);
    page.apply_orientation(orientation);
    let thumb = smaller(&page, THUMB_EDGE_PX);
    let sideways = matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    );
    let (width, height) = if sideways { (height, width) } else { (width, height) };
    Ok(Views { width, height, page: jpeg(&page)?, thumb: jpeg(&thumb)? })
}

fn refusal(e: ImageError) -> Refusal {
    match e {
        ImageError::Limits(_) => Refusal::TooManyPixels,
        _ => Refusal::Damaged,
    }
}

/// A copy whose edges are `edge` at most; a smaller picture stays as it is.
fn smaller(picture: &DynamicImage, edge: u32) -> DynamicImage {
    if picture.width() <= edge && picture.height() <= edge {
        return picture.clone();
    }
    picture.thumbnail(edge, edge)
}

fn jpeg(picture: &DynamicImage) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY);
    flat(picture).write_with_encoder(encoder).map_err(|_| Refusal::Damaged)?;
    Ok(out)
}

/// What is transparent becomes white paper.
fn flat(picture: &DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.to_rgb8();
    }
    let from = picture.to_rgba8();
    let mut out = RgbImage::new(from.width(), from.height());
    for (to, image::Rgba([r, g, b, a])) in out.pixels_mut().zip(from.pixels()) {
        let over = |c: &u8| {
            let (c, a) = (u16::from(*c), u16::from(*a));
            u8::try_from((c * a + 255 * (255 - a)) / 255).unwrap_or(u8::MAX)
        };
        *to = image::Rgb([over(r), over(g), over(b)]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachment::samples;

    #[test]
    fn a_sideways_photo_is_shown_upright_and_without_metadata() {
        let photo = samples::photo_with_exif(6, (119.9, 31.8), "2026:11:21 08:30:00");
        let views = views(&photo, Kind::Jpeg).unwrap();
        assert_eq!((views.width, views.height), (48, 64), "64×48 turned by a quarter");
        for copy in [&views.page, &views.thumb] {
            assert!(!copy.windows(4).any(|w| w == b"Exif"), "metadata left");
            let shown = image::load_from_memory(copy).unwrap();
            assert_eq!((shown.width(), shown.height()), (48, 64));
        }
    }

    #[test]
    fn a_large_picture_shrinks_and_what_is_transparent_becomes_white() {
        let clear = samples::png(&DynamicImage::ImageRgba8(image::RgbaImage::new(2_000, 500)));
        let views = views(&clear, Kind::Png).unwrap();
        assert_eq!((views.width, views.height), (2_000, 500));
        let page = image::load_from_memory(&views.page).unwrap().to_rgb8();
        assert_eq!((page.width(), page.height()), (PAGE_EDGE_PX, 400));
        assert!(page.pixels().all(|p| p.0.iter().all(|c| *c > 250)));
        let thumb = image::load_from_memory(&views.thumb).unwrap();
        assert_eq!((thumb.width(), thumb.height()), (THUMB_EDGE_PX, 80));
    }

    #[test]
    fn a_bomb_is_refused_by_its_header() {
        let bomb = samples::png_header(50_000, 50_000);
        assert_eq!(views(&bomb, Kind::Png).unwrap_err(), Refusal::TooManyPixels);
        let wide = samples::png_header(19_000, 19_000);
        assert_eq!(views(&wide, Kind::Png).unwrap_err(), Refusal::TooManyPixels);
        let mut photo = samples::photo(64, 48);
        samples::claim_size(&mut photo, 60_000, 60_000);
        assert_eq!(views(&photo, Kind::Jpeg).unwrap_err(), Refusal::TooManyPixels);
    }

    #[test]
    fn damaged_pictures_are_refused_or_shown_and_never_panic() {
        assert_eq!(views(b"\xFF\xD8\xFF", Kind::Jpeg).unwrap_err(), Refusal::Damaged);
        assert_eq!(views(b"\x89PNG\r\n\x1a\n", Kind::Png).unwrap_err(), Refusal::Damaged);
        let samples = [
            (samples::photo(64, 48), Kind::Jpeg),
            (samples::png(&DynamicImage::ImageRgb8(RgbImage::new(20, 20))), Kind::Png),
            (samples::webp(20, 20), Kind::Webp),
        ];
        let mut seed = 11_u64;
        for (good, kind) in samples {
            assert!(views(&good, kind).is_ok(), "{kind:?}");
            for cut in (0..good.len()).step_by(good.len().div_ceil(40)) {
                let _ = views(&good[..cut], kind);
            }
            for _ in 0..150 {
                let mut hostile = good.clone();
                for _ in 0..3 {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let at = (seed >> 33) as usize % hostile.len();
                    hostile[at] = (seed >> 20) as u8;
                }
                let _ = views(&hostile, kind);
            }
        }
    }
}
