//! The records of a domain in the forms in which people take them elsewhere: a table, a zone file (RFC 1035 §5), Terraform,
//! and the `dig` lines that show whether they are there.

use std::fmt::Write;

use super::record::{RecordType, WantedRecord};
use crate::domain::words::words;

words! {
    /// A form.
    pub enum RecordsForm {
        Table = "table",
        Zone = "zone",
        Terraform = "terraform",
        Dig = "dig",
    }
}

/// Bytes of one string of a TXT record (RFC 1035 §3.3).
const STRING_MAX: usize = 255;

/// Writes the records; `zone` is the domain that they are of.
pub fn write(form: RecordsForm, zone: &str, records: &[WantedRecord]) -> String {
    let line: fn(&WantedRecord, &str) -> String = match form {
        RecordsForm::Table => table_line,
        RecordsForm::Zone => zone_line,
        RecordsForm::Terraform => terraform_block,
        RecordsForm::Dig => dig_line,
    };
    let mut text = match form {
        RecordsForm::Zone => format!("$ORIGIN {zone}.\n"),
        RecordsForm::Terraform => "variable \"zone_id\" {\n  type = string\n}\n".to_owned(),
        RecordsForm::Table | RecordsForm::Dig => String::new(),
    };
    for record in records {
        let _ = writeln!(text, "{}", line(record, zone));
    }
    text
}

fn table_line(record: &WantedRecord, _: &str) -> String {
    let needed = if record.is_required { "required" } else { "advised" };
    format!("{}\t{}\t{}\t{needed}", record.host, record.record_type, record.value)
}

fn zone_line(record: &WantedRecord, zone: &str) -> String {
    let name = relative(&record.host, zone);
    let data = match record.record_type {
        RecordType::Txt => quoted(&record.value),
        RecordType::Cname => format!("{}.", record.value),
    };
    format!("{name}\t3600\tIN\t{}\t{data}", record.record_type)
}

/// For Cloudflare's provider, whose resource others resemble; a TXT value goes in whole.
fn terraform_block(record: &WantedRecord, zone: &str) -> String {
    let name = relative(&record.host, zone);
    let label: String =
        format!("{}_{name}", record.purpose).chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let value = record.value.replace('\\', "\\\\").replace('"', "\\\"");
    format!(
        "\nresource \"cloudflare_dns_record\" \"{label}\" {{\n  zone_id = var.zone_id\n  name    = \"{}\"\n  type    = \"{}\"\n  content = \"{value}\"\n  ttl     = 3600\n  proxied = false\n}}",
        record.host, record.record_type,
    )
}

fn dig_line(record: &WantedRecord, _: &str) -> String {
    format!("dig +short {} {}", record.record_type, record.host)
}

/// A host as it stands in the zone of a domain.
fn relative<'h>(host: &'h str, zone: &str) -> &'h str {
    if host == zone { "@" } else { host.strip_suffix(zone).and_then(|host| host.strip_suffix('.')).unwrap_or(host) }
}

/// A text as the strings of a TXT record in a zone file.
pub fn quoted(text: &str) -> String {
    // What is written is ASCII: no character is cut.
    let strings = (0..text.len()).step_by(STRING_MAX).map(|at| &text[at..text.len().min(at + STRING_MAX)]);
    strings.map(|part| format!("\"{}\"", escaped(part))).collect::<Vec<_>>().join(" ")
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::super::record::{Expected, Purpose};
    use super::*;

    #[test]
    fn each_form_has_each_record() {
        let key = format!("v=DKIM1; k=rsa; p={}", "A".repeat(392));
        let records = [
            WantedRecord {
                purpose: Purpose::Dkim,
                host: "s1._domainkey.example.org".to_owned(),
                record_type: RecordType::Txt,
                value: key.clone(),
                is_required: true,
                expected: Expected::Policy,
            },
            WantedRecord {
                purpose: Purpose::ReturnPath,
                host: "bounce.example.org".to_owned(),
                record_type: RecordType::Cname,
                value: "in.example.net".to_owned(),
                is_required: false,
                expected: Expected::Policy,
            },
        ];
        let of = |form| write(form, "example.org", &records);
        assert!(of(RecordsForm::Table).starts_with(&format!("s1._domainkey.example.org\tTXT\t{key}\trequired\n")));
        let zone = of(RecordsForm::Zone);
        let first = zone.lines().nth(1).unwrap();
        assert!(first.starts_with("s1._domainkey\t3600\tIN\tTXT\t\"v=DKIM1; k=rsa; p=A"), "{zone}");
        assert!(first.split('"').filter(|part| part.len() > 1).all(|part| part.len() <= 255), "{zone}");
        assert!(zone.contains("bounce\t3600\tIN\tCNAME\tin.example.net.\n"), "{zone}");
        assert_eq!(of(RecordsForm::Dig).lines().last(), Some("dig +short CNAME bounce.example.org"));
        assert!(of(RecordsForm::Terraform).contains("\"dkim_s1__domainkey\""));
    }
}
