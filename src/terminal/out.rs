//! Writing to standard output and error. A full disk or a closed pipe is an answer, never a panic.

use std::io::{self, Write};

use super::CommandError;

/// Writes a line to standard output.
pub fn line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Writes a line of a command's answer to standard output. A reader that has seen enough and closed the pipe (`| head`)
/// is no error.
pub fn print(text: &str) -> Result<(), CommandError> {
    match line(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(CommandError::new),
    }
}

/// Writes a word about what is going on to standard error, as far as that is possible.
pub fn note(text: &str) {
    error(text);
}

/// Writes an error to standard error, as far as that is possible.
pub fn error(text: &str) {
    let _ = writeln!(io::stderr().lock(), "mailwright: {text}");
}
