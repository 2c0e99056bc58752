//! Header fields by which programs ask for something beside the message: ours, and those of the services that users come from. All of
//! them are taken out of the message. What other fields such services write into mail (`X-Mailgun-Sid`, `X-SES-Outgoing` and so on) is
//! content, and stays.

use serde_json::{Map, Value};
use time::format_description::FormatItem;
use time::macros::format_description;

use super::options::{Options, Wrong, object, truth};
use crate::compose::mail_date;
use crate::domain::clock::{Timestamp, rfc3339};
use crate::domain::named_tag::{CONFIGURATION_SET, STREAM};

/// What a header field asks for.
#[derive(Debug, Clone, Copy)]
pub enum Ask {
    Tag,
    /// With commas between.
    Tags,
    /// Metadata as a JSON object.
    Metadata,
    /// Metadata as `a=b, c=d`.
    Pairs,
    /// Metadata of this name.
    MetadataNamed(&'static str),
    /// Metadata, the name of which stands behind this much of the header field's.
    MetadataBehind(usize),
    Key,
    /// The text is that field's.
    Field(&'static str),
    /// The number is that field's.
    Number(&'static str),
    /// An instant as mail writes it.
    SendAtMail,
    /// An instant such as `2026-11-28 05:00:00`, in UTC.
    SendAtPlain,
    RequireTls,
    /// High, if it is true.
    Important,
    Script,
    Stream,
    Opens,
    Clicks,
    /// Says what is so anyway.
    Nothing,
    /// Says what is so anyway if it is this (true or false); what is not done here, otherwise.
    Only(bool),
    /// Says what is so anyway if it is one of these words; what is not done here, otherwise.
    Words(&'static [&'static str]),
    /// A tag with this before it, unless it is that, which is what all mail is.
    Named(&'static str, &'static str),
    SendGrid,
    SparkPost,
    /// What is not done here; what does it.
    Never(&'static str),
}

const BY_API: &str = "is not done to mail that is submitted: it is sent as it came; POST /v1/send does it";
const NOT_HERE: &str = "there is nothing like it here";

/// Every field that is understood, in lower case.
const KNOWN: [(&str, Ask); 92] = [
    ("idempotency-key", Ask::Key),
    ("x-mailwright-idempotency-key", Ask::Key),
    ("x-mailwright-tag", Ask::Tag),
    ("x-mailwright-tags", Ask::Tags),
    ("x-mailwright-metadata", Ask::Metadata),
    ("x-mailwright-priority", Ask::Field("priority")),
    ("x-mailwright-send-at", Ask::Field("send_at")),
    ("x-mailwright-expires-at", Ask::Field("expires_at")),
    ("x-mailwright-ttl-seconds", Ask::Number("ttl_seconds")),
    ("x-mailwright-tls", Ask::Field("tls")),
    ("x-mailwright-ip-pool", Ask::Field("ip_pool")),
    ("x-mailwright-sandbox", Ask::Script),
    ("x-mailwright-domain-pool", Ask::Field("domain_pool")),
    ("x-mailwright-unsubscribe", Ask::Stream),
    ("x-mailwright-track-opens", Ask::Opens),
    ("x-mailwright-track-clicks", Ask::Clicks),
    ("resend-idempotency-key", Ask::Key),
    ("x-pm-message-stream", Ask::Named(STREAM, "outbound")),
    ("x-pm-tag", Ask::Tag),
    ("x-pm-track-opens", Ask::Opens),
    ("x-pm-trackopens", Ask::Opens),
    ("x-pm-tracklinks", Ask::Words(&["none"])),
    ("x-pm-track-links", Ask::Words(&["none"])),
    // The id that a message has is always kept.
    ("x-pm-keepid", Ask::Nothing),
    ("x-smtpapi", Ask::SendGrid),
    ("x-ses-configuration-set", Ask::Named(CONFIGURATION_SET, "")),
    ("x-ses-message-tags", Ask::Pairs),
    // Who may send as whom, the key says.
    ("x-ses-source-arn", Ask::Nothing),
    ("x-ses-from-arn", Ask::Nothing),
    ("x-ses-return-path-arn", Ask::Nothing),
    ("x-ses-tenant", Ask::Never(NOT_HERE)),
    ("x-ses-list-management-options", Ask::Never(BY_API)),
    ("x-mailgun-tag", Ask::Tag),
    ("x-mailgun-variables", Ask::Metadata),
    ("x-mailgun-deliver-by", Ask::SendAtMail),
    ("x-mailgun-drop-message", Ask::Only(false)),
    ("x-mailgun-track", Ask::Only(false)),
    ("x-mailgun-track-opens", Ask::Opens),
    ("x-mailgun-track-clicks", Ask::Clicks),
    ("x-mailgun-require-tls", Ask::RequireTls),
    ("x-mailgun-skip-verification", Ask::Only(false)),
    ("x-mailgun-dkim", Ask::Only(true)),
    ("x-mailgun-recipient-variables", Ask::Never(BY_API)),
    ("x-mailgun-delivery-time-optimize-period", Ask::Never(NOT_HERE)),
    ("x-mailgun-time-zone-localize", Ask::Never(NOT_HERE)),
    ("x-mailgun-deliver-within", Ask::Never("say it by X-Mailwright-TTL-Seconds")),
    ("x-mailgun-archive-to", Ask::Never(NOT_HERE)),
    ("x-mailgun-secondary-dkim", Ask::Never(NOT_HERE)),
    ("x-mailgun-secondary-dkim-public", Ask::Never(NOT_HERE)),
    ("x-mailgun-track-pixel-location-top", Ask::Nothing),
    ("x-mailgun-sending-ip-pool", Ask::Field("ip_pool")),
    ("x-mailgun-template-name", Ask::Never(BY_API)),
    ("x-mailgun-template-variables", Ask::Never(BY_API)),
    ("x-mailgun-template-version", Ask::Never(BY_API)),
    ("x-msys-api", Ask::SparkPost),
    ("x-mj-customid", Ask::MetadataNamed("custom_id")),
    ("x-mj-eventpayload", Ask::MetadataNamed("event_payload")),
    ("x-mailjet-campaign", Ask::Tag),
    ("x-mailjet-trackopen", Ask::Words(&["0", "1"])),
    ("x-mailjet-trackclick", Ask::Words(&["0", "1"])),
    ("x-mailjet-prio", Ask::Words(&["0", "1", "2"])),
    ("x-mailjet-deduplicatecampaign", Ask::Never(NOT_HERE)),
    ("x-mj-templateid", Ask::Never(BY_API)),
    ("x-mj-templatelanguage", Ask::Only(false)),
    ("x-mj-vars", Ask::Never(BY_API)),
    ("x-mailin-tag", Ask::Tag),
    ("x-mailin-custom", Ask::MetadataNamed("custom")),
    ("x-sib-sandbox", Ask::Never("nothing is dropped: a test key keeps mail from the network")),
    ("x-mc-tags", Ask::Tags),
    ("x-mc-metadata", Ask::Metadata),
    ("x-mc-sendat", Ask::SendAtPlain),
    ("x-mc-important", Ask::Important),
    ("x-mc-ippool", Ask::Field("ip_pool")),
    ("x-mc-track", Ask::Words(&["none", "false", "no"])),
    ("x-mc-preserverecipients", Ask::Only(true)),
    ("x-mc-viewcontentlink", Ask::Nothing),
    ("x-mc-autotext", Ask::Only(false)),
    ("x-mc-autohtml", Ask::Only(false)),
    ("x-mc-inlinecss", Ask::Only(false)),
    ("x-mc-urlstripqs", Ask::Only(false)),
    ("x-mc-template", Ask::Never(BY_API)),
    ("x-mc-mergevars", Ask::Never(BY_API)),
    ("x-mc-mergelanguage", Ask::Never(BY_API)),
    ("x-mc-googleanalytics", Ask::Never(NOT_HERE)),
    ("x-mc-googleanalyticscampaign", Ask::Never(NOT_HERE)),
    ("x-mc-bccaddress", Ask::Never("the envelope says who gets it: name the address in RCPT")),
    ("x-mc-subaccount", Ask::Never(NOT_HERE)),
    ("x-mc-signingdomain", Ask::Never(NOT_HERE)),
    ("x-mc-trackingdomain", Ask::Never(NOT_HERE)),
    ("x-mc-returnpathdomain", Ask::Never(NOT_HERE)),
    ("x-ee-idempotency-key", Ask::Key),
    ("x-ee-send-at", Ask::Field("send_at")),
];

const OURS: &str = "x-mailwright-";
const NAMED: [&str; 2] = ["x-mailwright-metadata-", "x-pm-metadata-"];

/// What the header field of that name asks for; `None`: it is content.
pub fn asks(name: &str) -> Option<Ask> {
    if !name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"))
        && !name.to_ascii_lowercase().ends_with("idempotency-key")
    {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let known = KNOWN.iter().find(|(known, _)| *known == lower).map(|(_, ask)| *ask);
    let named = || {
        let prefix = NAMED.iter().find(|prefix| lower.len() > prefix.len() && lower.starts_with(**prefix))?;
        Some(Ask::MetadataBehind(prefix.len()))
    };
    // A misspelt one of ours is not content; all that begins so is Mandrill's word for an option.
    let ours = || {
        let is_option = lower.starts_with(OURS) || lower.starts_with("x-mc-");
        is_option.then_some(Ask::Never("no such header field is known"))
    };
    known.or_else(named).or_else(ours)
}

impl Ask {
    /// Writes down what a value asks for.
    pub fn apply(self, options: &mut Options, name: &str, value: &str) -> Result<(), Wrong> {
        match self {
            Self::Named(_, usual) if usual.eq_ignore_ascii_case(value) => Ok(()),
            Self::Named(begin, _) => options.tag(&format!("{begin}{value}")),
            Self::Tag => options.tag(value),
            Self::Tags => options.tags(value.split(',')),
            Self::Metadata => options.metadata_object(value),
            Self::Pairs => options.metadata_pairs(value),
            Self::MetadataNamed(name) => options.metadata(name, value),
            Self::MetadataBehind(prefix) => options.metadata(&name[prefix..], value),
            Self::Key => options.key(value),
            Self::Field(field) => options.set(field, value),
            Self::Number(field) => {
                let number: i64 = value.parse().map_err(|_| "must be a whole number")?;
                options.set(field, number)
            }
            Self::SendAtMail => {
                let at = mail_date(value).ok_or("must be a date such as Fri, 25 Nov 2026 12:00:00 +0800")?;
                options.set("send_at", rfc3339(at))
            }
            Self::SendAtPlain => {
                const PLAIN: &[FormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
                let at = time::PrimitiveDateTime::parse(value, PLAIN);
                let at = at.map_err(|_| "must be an instant in UTC such as 2026-11-28 05:00:00")?;
                options.set("send_at", rfc3339(at.assume_utc()))
            }
            Self::RequireTls if truth(value)? => options.set("tls", "required"),
            Self::Important if truth(value)? => options.set("priority", "high"),
            Self::Script => options.set("sandbox", serde_json::json!({"script": value})),
            Self::Stream => options.set("unsubscribe", serde_json::json!({"stream": value})),
            Self::Opens | Self::Clicks if truth(value)? => Err(BY_API.to_owned()),
            Self::RequireTls | Self::Important | Self::Nothing | Self::Opens | Self::Clicks => Ok(()),
            Self::Only(wanted) if truth(value)? == wanted => Ok(()),
            Self::Words(words) if words.iter().any(|word| word.eq_ignore_ascii_case(value)) => Ok(()),
            Self::Only(_) | Self::Words(_) => Err(BY_API.to_owned()),
            Self::SendGrid => sendgrid(options, object(value)?),
            Self::SparkPost => sparkpost(options, object(value)?),
            Self::Never(why) => Err(why.to_owned()),
        }
    }
}

/// `X-SMTPAPI`
fn sendgrid(options: &mut Options, map: Map<String, Value>) -> Result<(), Wrong> {
    for (name, value) in map {
        match (name.as_str(), value) {
            ("category", Value::String(tag)) => options.tag(&tag)?,
            ("category", Value::Array(tags)) => options.tags(tags.iter().filter_map(Value::as_str))?,
            ("unique_args", Value::Object(pairs)) => {
                pairs.into_iter().try_for_each(|(name, value)| options.metadata(&name, value))?;
            }
            ("send_at", value) => {
                let seconds = value.as_i64().or_else(|| value.as_str()?.parse().ok());
                let at = seconds.and_then(|seconds| Timestamp::from_unix_timestamp(seconds).ok());
                options.set("send_at", rfc3339(at.ok_or("send_at must be seconds since 1970")?))?;
            }
            ("ip_pool", Value::String(pool)) => options.set("ip_pool", pool)?,
            ("filters", Value::Object(filters)) => filters.iter().try_for_each(|(name, filter)| {
                let enabled = &filter["settings"]["enable"];
                let is_on =
                    enabled.as_i64() == Some(1) || enabled.as_str() == Some("1") || enabled.as_bool() == Some(true);
                if is_on { Err(format!("filters.{name} {BY_API}")) } else { Ok(()) }
            })?,
            (_, value) if is_empty(&value) => {}
            (name, _) => return Err(format!("{name} {BY_API}")),
        }
    }
    Ok(())
}

/// `X-MSYS-API`
fn sparkpost(options: &mut Options, map: Map<String, Value>) -> Result<(), Wrong> {
    for (name, value) in map {
        match (name.as_str(), value) {
            ("metadata", Value::Object(pairs)) => {
                pairs.into_iter().try_for_each(|(name, value)| options.metadata(&name, value))?;
            }
            ("tags", Value::Array(tags)) => options.tags(tags.iter().filter_map(Value::as_str))?,
            ("campaign_id", Value::String(tag)) => options.tag(&tag)?,
            ("options", Value::Object(asked)) => {
                for (name, value) in asked {
                    match (name.as_str(), value) {
                        ("ip_pool", Value::String(pool)) => options.set("ip_pool", pool)?,
                        ("transactional", Value::Bool(_)) | (_, Value::Bool(false) | Value::Null) => {}
                        (name, _) => return Err(format!("options.{name} {BY_API}")),
                    }
                }
            }
            (_, value) if is_empty(&value) => {}
            (name, _) => return Err(format!("{name} {BY_API}")),
        }
    }
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a header field comes to.
    fn said(name: &str, value: &str) -> Result<Value, Wrong> {
        let mut options = Options::new(10);
        asks(name).expect(name).apply(options.by(name), name, value)?;
        let (mut map, key) = options.take();
        map.extend(key.map(|(key, _)| ("key".to_owned(), key.into())));
        Ok(Value::Object(map))
    }

    #[test]
    fn fields_of_all_services_come_to_fields_of_ours() {
        for (name, value, wanted) in [
            ("X-Mailwright-Tag", "a", json!({"tags": ["a"]})),
            ("X-Mailwright-TTL-Seconds", "60", json!({"ttl_seconds": 60})),
            ("X-Mailwright-Metadata-Order-Id", "7", json!({"metadata": {"Order-Id": "7"}})),
            ("Resend-Idempotency-Key", "k", json!({"key": "k"})),
            ("X-PM-Tag", "a, b", json!({"tags": ["a, b"]})),
            ("X-PM-Metadata-color", "red", json!({"metadata": {"color": "red"}})),
            ("X-PM-Message-Stream", "outbound", json!({})),
            ("X-PM-Message-Stream", "receipts", json!({"tags": ["stream:receipts"]})),
            ("X-PM-TrackLinks", "None", json!({})),
            ("X-SES-MESSAGE-TAGS", "a=b, c=d", json!({"metadata": {"a": "b", "c": "d"}})),
            ("X-SES-CONFIGURATION-SET", "main", json!({"tags": ["configuration-set:main"]})),
            (
                "X-Mailgun-Variables",
                r#"{"a": 1, "b": {"c": true}}"#,
                json!({"metadata": {"a": "1", "b": "{\"c\":true}"}}),
            ),
            (
                "X-Mailgun-Deliver-By",
                "Fri, 27 Nov 2026 12:00:00 +0800",
                json!({"send_at": "2026-11-27T04:00:00.000000Z"}),
            ),
            ("X-Mailgun-Require-TLS", "yes", json!({"tls": "required"})),
            ("X-MC-SendAt", "2026-11-28 05:00:00", json!({"send_at": "2026-11-28T05:00:00.000000Z"})),
            ("X-MC-Tags", "a, b", json!({"tags": ["a", "b"]})),
            ("X-MC-Important", "true", json!({"priority": "high"})),
            ("X-MJ-CustomID", "7", json!({"metadata": {"custom_id": "7"}})),
            ("X-Mailin-Tag", "a", json!({"tags": ["a"]})),
            (
                "X-SMTPAPI",
                r#"{"category": ["a"], "unique_args": {"b": "c"}, "send_at": 1795842000, "filters": {"clicktrack": {"settings": {"enable": 0}}}}"#,
                json!({"tags": ["a"], "metadata": {"b": "c"}, "send_at": "2026-11-28T05:00:00.000000Z"}),
            ),
            (
                "X-MSYS-API",
                r#"{"campaign_id": "a", "metadata": {"b": "c"}, "options": {"open_tracking": false, "transactional": true}}"#,
                json!({"tags": ["a"], "metadata": {"b": "c"}}),
            ),
        ] {
            assert_eq!(said(name, value), Ok(wanted), "{name}");
        }
    }

    #[test]
    fn what_is_not_done_here_is_refused_and_what_is_content_stays() {
        for (name, value) in [
            ("X-Mailwright-Snd-At", "x"),
            ("X-Mailwright-TTL-Seconds", "soon"),
            ("X-SMTPAPI", r#"{"to": ["a@example.org"]}"#),
            ("X-SMTPAPI", "{"),
            ("X-SMTPAPI", r#"{"filters": {"clicktrack": {"settings": {"enable": 1}}}}"#),
            ("X-MSYS-API", r#"{"options": {"open_tracking": true}}"#),
            ("X-PM-Track-Opens", "true"),
            ("X-PM-TrackLinks", "HtmlOnly"),
            ("X-Mailgun-Drop-Message", "yes"),
            ("X-Mailgun-Deliver-By", "tomorrow"),
            ("X-Mailgun-Require-TLS", "perhaps"),
            ("X-MC-MergeVars", "{}"),
            ("X-SES-MESSAGE-TAGS", "a"),
            ("X-MC-Anything", "x"),
            ("X-MC-Tags", "a,b,c,d,e,f,g,h,i,j,k"),
        ] {
            assert!(said(name, value).is_err(), "{name}: {value}");
        }
        for name in ["Subject", "X-Mailer", "X-Mailgun-Sid", "X-SES-Outgoing", "X-PM-Message-Id", "X", "ä"] {
            assert!(asks(name).is_none(), "{name}");
        }
    }

    #[test]
    fn names_stand_once_and_in_lower_case() {
        let mut names: Vec<_> = KNOWN.iter().map(|(name, _)| *name).collect();
        assert!(names.iter().all(|name| *name == name.to_ascii_lowercase() && asks(name).is_some()));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KNOWN.len());
    }
}
