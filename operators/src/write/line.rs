//! One JSON object on one line, written key by key straight into a buffer of bytes.

use flowrun_dsl::schema::{Cell, ColumnType};
use flowrun_engine::rows::{At, Rect};

/// An object that is being written; what follows is appended to the same bytes.
pub(crate) struct Line<'a> {
    out: &'a mut Vec<u8>,
}

/// JSON of a value. Floats come in the shortest form that reads back to the same bits, and as `null` when not finite.
fn json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("numbers and text always have a form, and memory takes bytes");
}

impl<'a> Line<'a> {
    /// Begins an object.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Line { out }
    }
    /// Begins an object that starts like another: with the bytes of one that has not ended.
    pub fn resume(out: &'a mut Vec<u8>, head: &[u8]) -> Self {
        out.extend_from_slice(head);
        Line { out }
    }
    /// Where and when, but for what `own` says that the row itself tells.
    pub fn location(&mut self, camera: &str, at: &At, own: impl Fn(&str) -> bool) {
        if !own("camera") {
            self.text("camera", camera);
        }
        if !own("frame") {
            self.unsigned("frame", at.frame);
        }
        if !own("time") {
            self.signed("time_ns", at.event_time.0);
        }
    }
    /// `key` is a word of the schema: nothing in it needs escaping.
    fn key(&mut self, key: &str) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
    pub fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        json(self.out, value);
    }
    pub fn unsigned(&mut self, key: &str, value: u64) {
        self.key(key);
        json(self.out, &value);
    }
    pub fn signed(&mut self, key: &str, value: i64) {
        self.key(key);
        json(self.out, &value);
    }
    pub fn float(&mut self, key: &str, value: f32) {
        self.key(key);
        json(self.out, &value);
    }
    pub fn floats(&mut self, key: &str, values: &[f32]) {
        self.key(key);
        json(self.out, values);
    }
    pub fn unsigneds(&mut self, key: &str, values: &[u32]) {
        self.key(key);
        json(self.out, values);
    }
    /// A list whose members are JSON already, separated by commas.
    pub fn raw_list(&mut self, key: &str, members: &[u8]) {
        self.key(key);
        self.out.push(b'[');
        self.out.extend_from_slice(members);
        self.out.push(b']');
    }
    pub fn rect(&mut self, key: &str, rect: &Rect) {
        self.floats(key, &[rect.x1, rect.y1, rect.x2, rect.y2]);
    }
    /// A value of a table; its column may have any name.
    pub fn cell(&mut self, column: &str, ty: ColumnType, value: &Cell) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        match ty {
            ColumnType::Time | ColumnType::Duration => json(self.out, &format!("{column}_ns")),
            _ => json(self.out, column),
        }
        self.out.push(b':');
        match value {
            Cell::Null => json(self.out, &()),
            Cell::Bool(flag) => json(self.out, flag),
            Cell::Int(number) | Cell::Time(number) | Cell::Duration(number) => json(self.out, number),
            Cell::Float(number) => json(self.out, number),
            Cell::Text(text) => json(self.out, &**text),
        }
    }
    /// Ends the object.
    pub fn close(self) {
        self.out.push(b'}');
    }
    /// Ends object and line.
    pub fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }
}
