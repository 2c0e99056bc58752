//! Mailboxes in one text, and what a message that was sent looks like when it is read again.

use mail_parser::{MessageParser, MimeHeaders, PartType};
use serde_json::Value;

use super::inner::{Call, Caller, Inner, Refusal};
use super::service::list;
use crate::domain::nesting::bounded;

/// Mailboxes that stand in one text with commas between (RFC 5322 §3.4): a comma in quotes, in a comment or in angle brackets is none.
pub fn mailboxes(text: &str, separator: char) -> Vec<String> {
    let (mut found, mut one) = (Vec::new(), String::new());
    let (mut is_quoted, mut is_escaped, mut depth) = (false, false, 0_usize);
    for c in text.chars() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '(' | '<' if !is_quoted => depth += 1,
            ')' | '>' if !is_quoted => depth = depth.saturating_sub(1),
            _ if c == separator && !is_quoted && depth == 0 => {
                found.push(std::mem::take(&mut one));
                continue;
            }
            _ => {}
        }
        one.push(c);
    }
    found.push(one);
    found.into_iter().map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
}

/// What can be read again in a message.
#[derive(Debug, Default)]
pub struct Letter {
    pub raw: Vec<u8>,
    pub text: Option<String>,
    pub html: Option<String>,
    pub reply_to: Option<Vec<String>>,
    /// The names of its files.
    pub attachments: Vec<String>,
}

impl Letter {
    /// Of a message, as long as its bytes are kept; nothing else of it is asked here.
    pub async fn of(inner: &Inner, caller: &Caller, id: &str) -> Result<Self, Refusal> {
        let raw = match inner.call(caller, Call::get(format!("/v1/messages/{id}/raw"))).await {
            Ok(answer) => answer.bytes,
            Err(refusal) if refusal.kind == "body-not-kept" => Vec::new(),
            Err(refusal) => return Err(refusal),
        };
        let Some(parsed) = MessageParser::default().parse(bounded(&raw)) else { return Ok(Self::default()) };
        let part = |is_html: bool| {
            parsed.parts.iter().find_map(|part| match &part.body {
                PartType::Html(text) if is_html => Some(text.to_string()),
                PartType::Text(text) if !is_html => Some(text.to_string()),
                _ => None,
            })
        };
        let (text, html) = (part(false), part(true));
        let addresses = |list: &mail_parser::Address<'_>| {
            list.iter().filter_map(|one| one.address.as_ref().map(ToString::to_string)).collect()
        };
        let reply_to = parsed.reply_to().map(addresses);
        let attachments = parsed.attachments().filter_map(|file| file.attachment_name().map(str::to_owned)).collect();
        drop(parsed);
        Ok(Self { raw, text, html, reply_to, attachments })
    }
}

/// All events of a message, oldest first.
pub async fn events_of(inner: &Inner, caller: &Caller, id: &str) -> Result<Vec<Value>, Refusal> {
    let (mut events, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let behind = cursor.as_ref().map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let path = format!("/v1/messages/{id}/events?limit=500{behind}");
        let page = inner.call(caller, Call::get(path)).await?.json();
        events.extend(list(&page, "data").iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(events),
        }
    }
}

/// The addresses of a message's recipients of that kind.
pub fn of_kind<'m>(message: &'m Value, kind: &str) -> Vec<&'m Value> {
    let recipients = list(message, "recipients").iter();
    recipients.filter(|recipient| recipient["kind"] == kind).map(|recipient| &recipient["email"]).collect()
}

/// A message of a list with all of its recipients: a list names the first few.
pub async fn whole(inner: &Inner, caller: &Caller, listed: &Value) -> Result<Value, Refusal> {
    let named = list(listed, "recipients").len();
    let count = listed["recipient_count"].as_u64().and_then(|count| usize::try_from(count).ok());
    if count.is_none_or(|count| count <= named) {
        return Ok(listed.clone());
    }
    let path = format!("/v1/messages/{}", super::service::text(listed, "id"));
    Ok(inner.call(caller, Call::get(path)).await?.json())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_part_mailboxes_where_they_are_no_part_of_one() {
        for (text, wanted) in [
            ("a@b.c, \"Doe, Ann\" <d@e.f>", vec!["a@b.c", "\"Doe, Ann\" <d@e.f>"]),
            ("\"a\\\",b\" <a@b.c>,,d@e.f,", vec!["\"a\\\",b\" <a@b.c>", "d@e.f"]),
            ("Ann (x, y) <a@b.c>", vec!["Ann (x, y) <a@b.c>"]),
            ("\"open, a@b.c", vec!["\"open, a@b.c"]),
            ("", vec![]),
        ] {
            assert_eq!(mailboxes(text, ','), wanted, "{text}");
        }
        assert_eq!(mailboxes("a@b.c;d@e.f", ';'), ["a@b.c", "d@e.f"]);
    }
}
