//! How much of what a client of HTTP/2 sends is content.
//!
//! What is inside DATA frames waits in memory until an application takes it; nobody else tells
//! how much that is. The frames themselves are parsed, and judged, by the HTTP/2 library.

/// "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" (RFC 9113 §3.4).
const PREFACE: usize = 24;

/// RFC 9113 §4.1: length (24 bits), type, flags, stream.
const HEADER: usize = 9;

/// RFC 9113 §6.1.
const DATA: u8 = 0;

/// Walks over the frames of one connection.
#[derive(Debug)]
pub(crate) struct DataFrames {
    /// What is left of the preface, or of a payload.
    left: usize,
    is_data: bool,
    header: [u8; HEADER],
    /// Bytes of the header that have come.
    begun: usize,
}

impl DataFrames {
    pub(crate) fn new() -> Self {
        Self {
            left: PREFACE,
            is_data: false,
            header: [0; HEADER],
            begun: 0,
        }
    }

    /// How many of the next bytes of the connection are payload of DATA frames.
    pub(crate) fn count(&mut self, mut bytes: &[u8]) -> usize {
        let mut data = 0;
        while !bytes.is_empty() {
            let part = if self.left > 0 {
                let part = bytes.len().min(self.left);
                self.left -= part;
                data += if self.is_data { part } else { 0 };
                part
            } else {
                let part = bytes.len().min(HEADER - self.begun);
                self.header[self.begun..][..part].copy_from_slice(&bytes[..part]);
                self.begun += part;
                if self.begun == HEADER {
                    let [a, b, c, kind, ..] = self.header;
                    self.left = u32::from_be_bytes([0, a, b, c]) as usize;
                    self.is_data = kind == DATA;
                    self.begun = 0;
                }
                part
            };
            bytes = &bytes[part..];
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![a, b, c, kind, 0, 0, 0, 0, 1];
        frame.resize(HEADER + payload, DATA);
        frame
    }

    #[test]
    fn only_payload_of_data_frames_counts_however_it_is_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for (kind, payload) in [
            (4, 0),
            (1, 300),
            (DATA, 16_384),
            (8, 4),
            (DATA, 0),
            (DATA, 5),
        ] {
            bytes.extend(frame(kind, payload));
        }
        for size in [1, 7, 24, 1000, bytes.len()] {
            let mut frames = DataFrames::new();
            let counted: usize = bytes.chunks(size).map(|part| frames.count(part)).sum();
            assert_eq!(counted, 16_389, "{size} bytes at a time");
        }
    }
}
