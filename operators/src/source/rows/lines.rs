//! Lines of a file that may hold anything: never more than one of bounded length in memory.

use std::io::{self, BufRead};

use flowrun_engine::operator::Stop;

/// The longest line that is read.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;

/// Reads lines.
pub(super) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    number: u64,
    stop: Stop,
}

/// A line without its end.
pub(super) struct NumberedLine<'a> {
    /// From 1.
    pub number: u64,
    pub text: &'a [u8],
}

/// Why there is no line.
pub(super) enum LineError {
    /// This one is too long; the next one may be read.
    Refused(String),
    /// The file cannot be read any further.
    Broken(io::Error),
}

impl<R: BufRead> Lines<R> {
    pub fn new(reader: R, stop: Stop) -> Self {
        Lines {
            reader,
            buffer: Vec::new(),
            number: 0,
            stop,
        }
    }

    /// The next line that is not blank; none at the end of the file, or of the run.
    pub fn next(&mut self) -> Result<Option<NumberedLine<'_>>, LineError> {
        loop {
            self.buffer.clear();
            self.number += 1;
            let whole = self.fill()?;
            if !whole && self.buffer.is_empty() {
                return Ok(None);
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        Ok(Some(NumberedLine {
            number: self.number,
            text: self.buffer.trim_ascii(),
        }))
    }

    /// Puts one line into the buffer; whether it had an end.
    fn fill(&mut self) -> Result<bool, LineError> {
        let mut skipped = 0u64;
        let ended = loop {
            if self.stop.asked() {
                self.buffer.clear();
                return Ok(false);
            }
            let bytes = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LineError::Broken(error)),
            };
            if bytes.is_empty() {
                break false;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (part, taken) = match end {
                Some(end) => (&bytes[..end], end + 1),
                None => (bytes, bytes.len()),
            };
            if self.buffer.len() + part.len() > MAX_LINE_BYTES {
                skipped += part.len() as u64;
            } else {
                self.buffer.extend_from_slice(part);
            }
            self.reader.consume(taken);
            if end.is_some() {
                break true;
            }
        };
        if skipped > 0 {
            let length = skipped + self.buffer.len() as u64;
            let cause = format!("line {}: {length} bytes long, more than {MAX_LINE_BYTES}", self.number);
            return Err(LineError::Refused(cause));
        }
        Ok(ended)
    }
}
