//! Reports for machines: RFC 3464, and RFC 6533 for addresses beyond ASCII.

use mail_parser::Message;

use super::{Meaning, RECIPIENTS_MAX, Reported, fields, parts, reply_in, shown};
use crate::domain::reply::{EnhancedStatus, Reply};

/// The recipients that a report names.
pub fn recipients(message: &Message<'_>) -> Vec<Reported> {
    let is_status = |kind: &str, subtype: &str| {
        kind == "message" && matches!(subtype, "delivery-status" | "global-delivery-status")
    };
    let texts =
        parts(message, is_status).map(|part| String::from_utf8_lossy(part).replace("\r\n", "\n").replace('\r', "\n"));
    let mut recipients = Vec::new();
    for text in texts {
        // Groups stand apart by an empty line, some of which are not quite empty.
        let groups =
            text.split('\n').map(|line| if line.trim().is_empty() { "" } else { line }).collect::<Vec<_>>().join("\n");
        recipients.extend(groups.split("\n\n").filter_map(recipient));
    }
    recipients.truncate(RECIPIENTS_MAX);
    recipients
}

/// What a report says that names them: the worst of it.
pub fn meaning(recipients: &[Reported]) -> Option<Meaning> {
    [Meaning::Failed, Meaning::Delayed, Meaning::Delivered]
        .into_iter()
        .find(|meaning| recipients.iter().any(|recipient| recipient.meaning == *meaning))
}

fn recipient(group: &str) -> Option<Reported> {
    let fields = fields(group);
    let value = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let final_recipient = value("final-recipient").map(address);
    let original = value("original-recipient").map(address).filter(|address| !address.is_empty());
    let address = final_recipient.filter(|address| !address.is_empty()).or_else(|| original.clone())?;
    let status = value("status").and_then(status);
    let diagnostic = value("diagnostic-code").map(|text| text.split_once(';').map_or(text, |(_, text)| text).trim());
    Some(Reported {
        address,
        original,
        meaning: of_action(value("action").unwrap_or_default(), status),
        status,
        reply: diagnostic.and_then(|text| reply_in(text).or_else(|| reply_of(status, text))),
    })
}

/// By the first word; one that nobody knows says less than the status.
fn of_action(action: &str, status: Option<EnhancedStatus>) -> Meaning {
    let action = action.to_ascii_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| action.starts_with(word));
    if is(&["fail", "expire", "undeliver"]) {
        Meaning::Failed
    } else if is(&["delay"]) {
        Meaning::Delayed
    } else if is(&["deliver", "relay", "expand"]) {
        Meaning::Delivered
    } else {
        match status.map(|status| status.class) {
            Some(5) => Meaning::Failed,
            Some(4) => Meaning::Delayed,
            Some(2) => Meaning::Delivered,
            _ => Meaning::Other,
        }
    }
}

/// `rfc822; <a@example.net> (comment)`, with `\x{…}` of RFC 6533 §3 made letters.
fn address(value: &str) -> String {
    let address = value.split_once(';').map_or(value, |(_, address)| address).trim();
    let address = address.split(" (").next().unwrap_or_default().trim().trim_matches(['<', '>', '"']);
    let (mut text, mut rest) = (String::new(), address);
    while let Some((before, after)) = rest.split_once("\\x{") {
        text.push_str(before);
        let Some((hex, behind)) = after.split_once('}') else { break };
        text.extend(u32::from_str_radix(hex, 16).ok().and_then(char::from_u32));
        rest = behind;
    }
    text.push_str(rest);
    shown(&text)
}

/// `5.1.1`, with whatever stands behind it.
fn status(value: &str) -> Option<EnhancedStatus> {
    EnhancedStatus::split(value.split_once('(').map_or(value, |(status, _)| status).trim()).0
}

/// Of words without a code: the status tells its class.
fn reply_of(status: Option<EnhancedStatus>, text: &str) -> Option<Reply> {
    let status = status?;
    let code = match status.class {
        4 => 450,
        5 => 550,
        _ => return None,
    };
    Some(Reply { code, enhanced: Some(status), text: shown(text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_out_of_their_types() {
        for (value, wanted) in [
            ("rfc822; a@example.net", "a@example.net"),
            ("RFC822;<a@example.net>", "a@example.net"),
            ("rfc822; a@example.net (unknown user)", "a@example.net"),
            ("utf-8-addr-unitext; 用户@例子.中国", "用户@例子.中国"),
            (r"utf-8-addr-xtext; \x{7528}\x{6237}@example.net", "用户@example.net"),
            ("a@example.net", "a@example.net"),
        ] {
            assert_eq!(address(value), wanted);
        }
    }
}
