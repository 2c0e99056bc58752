//! An envelope in words: MAIL, RCPT and what begins the body, with the parameters that the server offers.

use crate::domain::envelope::Envelope;
use crate::domain::reply::{EnhancedStatus, Reply};
use crate::domain::stage::Stage;
use crate::smtp::capabilities::Capabilities;

/// The stages of [`commands`].
pub fn stages(capabilities: &Capabilities) -> impl Iterator<Item = Stage> + use<> {
    let data = (!capabilities.chunking).then_some(Stage::Data);
    [Stage::Mail, Stage::Rcpt].into_iter().chain(data)
}

/// The commands of a transaction; or the reply that the server would have to send, when it lacks what the message
/// needs.
pub fn commands(
    envelope: &Envelope,
    capabilities: &Capabilities,
    is_secured: bool,
) -> Result<impl Iterator<Item = (Stage, String)> + Clone + use<>, Reply> {
    check(envelope, capabilities, is_secured)?;
    let lines = [mail(envelope, capabilities), rcpt(envelope, capabilities), "DATA\r\n".to_owned()];
    Ok(stages(capabilities).zip(lines).collect::<Vec<_>>().into_iter())
}

fn mail(envelope: &Envelope, capabilities: &Capabilities) -> String {
    let mut line = format!("MAIL FROM:<{}>", envelope.reverse_path);
    if capabilities.size.is_some() {
        line.push_str(&format!(" SIZE={}", envelope.size));
    }
    if envelope.needs.smtputf8 {
        line.push_str(" SMTPUTF8");
    }
    if envelope.needs.eight_bit {
        line.push_str(" BODY=8BITMIME");
    }
    if envelope.needs.require_tls {
        line.push_str(" REQUIRETLS");
    }
    if capabilities.dsn {
        // RFC 3461 §4.3, §4.4.
        line.push_str(&format!(" RET=HDRS ENVID={}", xtext(&envelope.id)));
    }
    line.push_str("\r\n");
    line
}

/// Ends a transaction that may linger (RFC 5321 §4.1.1.5).
pub const RSET: &str = "RSET\r\n";

/// The command of a message that is one chunk (RFC 3030 §2).
pub fn chunk_head(size: usize) -> String {
    format!("BDAT {size} LAST\r\n")
}

fn rcpt(envelope: &Envelope, capabilities: &Capabilities) -> String {
    let mut line = format!("RCPT TO:<{}>", envelope.recipient);
    if capabilities.dsn {
        // RFC 3461 §4.1, §4.2; RFC 6533 §3 for what is not ASCII.
        let kind = if envelope.recipient.needs_smtputf8() { "utf-8" } else { "rfc822" };
        line.push_str(&format!(" NOTIFY=FAILURE,DELAY ORCPT={kind};{}", xtext(envelope.recipient.as_str())));
    }
    line.push_str("\r\n");
    line
}

/// RFC 3461 §4: everything but visible ASCII, `+` and `=` as `+` and two hex digits. Under SMTPUTF8 what is not
/// ASCII stands as it is (RFC 6533 §3, `utf-8-addr-unitext`).
fn xtext(text: &str) -> String {
    let mut coded = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '+' | '=' | '\\' => coded.push_str(&format!("+{:02X}", u32::from(c))),
            c if !c.is_ascii() || c.is_ascii_graphic() => coded.push(c),
            c => coded.push_str(&format!("+{:02X}", u32::from(c))),
        }
    }
    coded
}

fn check(envelope: &Envelope, capabilities: &Capabilities, is_secured: bool) -> Result<(), Reply> {
    let refuse = |code, subject, detail, text: String| {
        let enhanced = Some(EnhancedStatus { class: 5, subject, detail });
        Err(Reply { code, enhanced, text })
    };
    match capabilities.size {
        Some(limit) if limit != 0 && envelope.size > limit => {
            let text = format!("the message has {} bytes and the server takes {limit}", envelope.size);
            return refuse(552, 3, 4, text);
        }
        _ => {}
    }
    if envelope.needs.smtputf8 && !capabilities.smtputf8 {
        // RFC 6531 §3.5, RFC 5248.
        return refuse(553, 6, 7, "the message needs SMTPUTF8, which the server does not offer".to_owned());
    }
    if envelope.needs.eight_bit && !capabilities.eight_bit {
        // RFC 6152 §3, RFC 3463 §3.7.
        return refuse(554, 6, 3, "the message needs 8BITMIME, which the server does not offer".to_owned());
    }
    if envelope.needs.require_tls && !(is_secured && capabilities.require_tls) {
        // RFC 8689 §4.2.1.
        return refuse(550, 7, 30, "the message asks for REQUIRETLS, which the server does not offer".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_leaves_nothing_that_could_end_a_parameter() {
        assert_eq!(xtext("a+b=c d@x.example"), "a+2Bb+3Dc+20d@x.example");
        assert_eq!(xtext("\"a b\"@x"), "\"a+20b\"@x");
    }
}
