//! A picture of a street with a hole in it, as a PNG made by hand (RFC 2083, stored blocks of RFC 1951).

/// What the picture is like.
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Default for Picture {
    fn default() -> Self {
        Self { width: 96, height: 72 }
    }
}

impl Picture {
    fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let (w, h) = (f64::from(self.width), f64::from(self.height));
        let (u, v) = (f64::from(x) / w, f64::from(y) / h);
        let grain = ((x * 7919 + y * 104_729) % 17) as u8;
        let d = ((u - 0.55) / 0.2).hypot((v - 0.66) / 0.15);
        match () {
            () if v < 0.3 => [150 + (v * 90.0) as u8, 185, 205],
            () if d < 0.85 => [28, 26, 25],
            () if d < 1.0 => [92, 88, 84],
            () if (u - 0.18 - v * 0.12).abs() < 0.012 => [222, 218, 205],
            () => [116 + grain, 114 + grain, 110 + grain],
        }
    }
}

/// The file.
pub(crate) fn png(picture: &Picture) -> Vec<u8> {
    let mut raw = Vec::new();
    for y in 0..picture.height {
        raw.push(0);
        for x in 0..picture.width {
            raw.extend(picture.pixel(x, y));
        }
    }
    let mut zlib = vec![0x78, 0x01];
    let blocks = raw.chunks(65_535);
    let last = blocks.len() - 1;
    for (n, block) in blocks.enumerate() {
        let length = u16::try_from(block.len()).unwrap();
        zlib.push(u8::from(n == last));
        zlib.extend(length.to_le_bytes());
        zlib.extend((!length).to_le_bytes());
        zlib.extend(block);
    }
    let (a, b) = raw.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    zlib.extend((b << 16 | a).to_be_bytes());
    let size = [picture.width.to_be_bytes(), picture.height.to_be_bytes()].concat();
    let header = [size, vec![8, 2, 0, 0, 0]].concat();
    let chunks = [chunk(*b"IHDR", &header), chunk(*b"IDAT", &zlib), chunk(*b"IEND", &[])];
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat()].concat()
}

fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&kind[..], data].concat();
    let crc = body.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xEDB8_8320 } else { c >> 1 })
    });
    [u32::try_from(data.len()).unwrap().to_be_bytes().to_vec(), body, (!crc).to_be_bytes().to_vec()].concat()
}
