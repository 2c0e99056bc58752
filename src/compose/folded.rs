//! A header field being written: what would reach over the line starts the next one (RFC 5322 §2.2.3).

/// Text with line ends, and how full its last line is.
pub struct Folded {
    pub text: String,
    line: usize,
    most: usize,
}

impl Folded {
    /// Begins with a field's name and colon; lines are to have at most `most` octets.
    pub fn new(name: &str, most: usize) -> Self {
        let mut text = String::with_capacity(256);
        text.push_str(name);
        Self { line: text.len(), text, most }
    }

    /// Octets that still fit into the line.
    pub const fn room(&self) -> usize {
        self.most.saturating_sub(self.line)
    }

    /// Whether the line has at most `most` octets with so many more.
    pub const fn fits(&self, more: usize, most: usize) -> bool {
        self.line + more <= most
    }

    /// Starts the next line.
    pub fn fold(&mut self) {
        self.text.push_str("\r\n ");
        self.line = 1;
    }

    /// Writes `gap` and `word`, with a line end before the gap if the line has no room for both. Without a gap the next
    /// line begins with a space. The octet behind the word is kept for what separates words.
    pub fn put(&mut self, gap: &str, word: &str) {
        if self.line + gap.len() + word.len() >= self.most {
            self.text.push_str("\r\n");
            self.line = 0;
            self.push(if gap.is_empty() { " " } else { gap });
        } else {
            self.push(gap);
        }
        self.push(word);
    }

    /// Writes on in the same line, however full it is.
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.line += text.len();
    }

    /// Writes ASCII that may be folded between any two octets.
    pub fn put_anywhere(&mut self, mut word: &str) {
        loop {
            let (now, later) = word.split_at(word.len().min(self.room()));
            self.push(now);
            if later.is_empty() {
                return;
            }
            self.fold();
            word = later;
        }
    }
}
