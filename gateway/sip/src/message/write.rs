//! Writing messages

use super::method::Method;

/// Builds a message front to back; line breaks in values become spaces
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Starts a request
    #[must_use]
    pub fn request(method: Method, uri: &[u8]) -> Self {
        let mut writer = Self { out: Vec::with_capacity(1_024) };
        writer.out.extend_from_slice(method.text().as_bytes());
        writer.out.push(b' ');
        writer.put(uri);
        writer.out.extend_from_slice(b" SIP/2.0\r\n");
        writer
    }

    /// Starts a response
    #[must_use]
    pub fn status(code: u16, reason: &str) -> Self {
        let mut writer = Self { out: Vec::with_capacity(1_024) };
        writer.out.extend_from_slice(format!("SIP/2.0 {code:03} ").as_bytes());
        writer.put(reason.as_bytes());
        writer.out.extend_from_slice(b"\r\n");
        writer
    }

    /// Adds a header field
    pub fn header(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        self.put(value.as_ref());
        self.out.extend_from_slice(b"\r\n");
        self
    }

    // Values may come from strangers: a line break would smuggle in a header.
    fn put(&mut self, value: &[u8]) {
        self.out.extend(value.iter().map(|b| if matches!(b, b'\r' | b'\n' | 0) { b' ' } else { *b }));
    }

    /// Ends the message with its body (content type, bytes), `Content-Length` included
    #[must_use]
    pub fn finish(mut self, body: Option<(&str, &[u8])>) -> Vec<u8> {
        let body = body.filter(|(_, bytes)| !bytes.is_empty());
        if let Some((content_type, _)) = body {
            self.header("Content-Type", content_type);
        }
        let length = body.map_or(0, |(_, bytes)| bytes.len());
        self.header("Content-Length", length.to_string());
        self.out.extend_from_slice(b"\r\n");
        if let Some((_, bytes)) = body {
            self.out.extend_from_slice(bytes);
        }
        self.out
    }
}
