//! Pictures for tests.

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

/// A JPEG with colours in it.
pub(crate) fn photo(width: u32, height: u32) -> Vec<u8> {
    let picture = RgbImage::from_fn(width, height, |x, y| Rgb([(x * 3) as u8, (y * 5) as u8, (x + y) as u8]));
    encode(&DynamicImage::ImageRgb8(picture), ImageFormat::Jpeg)
}

pub(crate) fn png(picture: &DynamicImage) -> Vec<u8> {
    encode(picture, ImageFormat::Png)
}

pub(crate) fn webp(width: u32, height: u32) -> Vec<u8> {
    encode(&DynamicImage::ImageRgb8(RgbImage::new(width, height)), ImageFormat::WebP)
}

fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// 64×48 with an APP1 segment: orientation, position (lon, lat), time.
pub(crate) fn photo_with_exif(orientation: u16, at: (f64, f64), taken: &str) -> Vec<u8> {
    let segment = [b"Exif\0\0".as_slice(), &tiff(orientation, at, taken)].concat();
    let plain = photo(64, 48);
    let length = u16::try_from(segment.len() + 2).unwrap().to_be_bytes();
    [&plain[..2], &[0xFF, 0xE1], &length, &segment, &plain[2..]].concat()
}

/// A little-endian TIFF with IFD0, Exif IFD and GPS IFD, written by hand (Exif 2.32 §4.6).
fn tiff(orientation: u16, at: (f64, f64), taken: &str) -> Vec<u8> {
    let entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes(), &value].concat()
    };
    let offset = |n: u32| n.to_le_bytes();
    let thirds = |degrees: f64| {
        let (d, m) = (degrees.trunc(), degrees.fract() * 60.0);
        let s = (m.fract() * 60.0 * 10_000.0).round() as u32;
        let pairs = [(d as u32, 1_u32), (m.trunc() as u32, 1), (s, 10_000)];
        pairs.iter().flat_map(|(n, d)| [n.to_le_bytes(), d.to_le_bytes()].concat()).collect::<Vec<u8>>()
    };
    // Header 8, IFD0 with 3 entries at 8 (42 bytes), Exif IFD with 1 at 50 (18), GPS IFD with 4 at 68 (54), data at 122.
    let mut out = [b"II*\0".as_slice(), &offset(8)].concat();
    out.extend(3_u16.to_le_bytes());
    out.extend(entry(0x0112, 3, 1, [orientation as u8, 0, 0, 0]));
    out.extend(entry(0x8769, 4, 1, offset(50)));
    out.extend(entry(0x8825, 4, 1, offset(68)));
    out.extend(offset(0));
    out.extend(1_u16.to_le_bytes());
    out.extend(entry(0x9003, 2, 20, offset(122)));
    out.extend(offset(0));
    out.extend(4_u16.to_le_bytes());
    out.extend(entry(1, 2, 2, *b"N\0\0\0"));
    out.extend(entry(2, 5, 3, offset(142)));
    out.extend(entry(3, 2, 2, *b"E\0\0\0"));
    out.extend(entry(4, 5, 3, offset(166)));
    out.extend(offset(0));
    assert_eq!(out.len(), 122);
    out.extend(taken.as_bytes());
    out.push(0);
    out.extend(thirds(at.1));
    out.extend(thirds(at.0));
    out
}

/// The beginning of a PNG that claims a size; the checksum is right.
pub(crate) fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut ihdr = b"IHDR".to_vec();
    ihdr.extend(width.to_be_bytes());
    ihdr.extend(height.to_be_bytes());
    ihdr.extend([8, 2, 0, 0, 0]);
    let crc = ihdr.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xEDB8_8320 } else { c >> 1 })
    });
    let mut out = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    out.extend(&ihdr);
    out.extend((!crc).to_be_bytes());
    out.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    out
}

/// Writes another size into a JPEG's frame header.
pub(crate) fn claim_size(jpeg: &mut [u8], width: u16, height: u16) {
    let sof = jpeg.windows(2).position(|w| w[0] == 0xFF && matches!(w[1], 0xC0 | 0xC2)).unwrap();
    jpeg[sof + 5..sof + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[sof + 7..sof + 9].copy_from_slice(&width.to_be_bytes());
}
