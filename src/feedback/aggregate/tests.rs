//! Reports as senders write, pack and break them.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

use super::*;
use crate::domain::aggregate::{AggregateKind, DmarcRow, TlsRow};

/// A report of RFC 7489 with what senders do to it: a BOM, white space, upper case, unknown elements, fractions.
const OLD: &str = "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<feedback>
  <report_metadata><org_name>google.com &amp; co</org_name><email>x@google.com</email><report_id> 123 </report_id>
    <date_range><begin>1764201600.0</begin><end>1764287999</end></date_range></report_metadata>
  <policy_published><domain>Example.ORG</domain><adkim>r</adkim><p>none</p><pct>100</pct></policy_published>
  <record><row><source_ip> 192.0.2.1 </source_ip><count>3</count>
    <policy_evaluated><disposition>none</disposition><dkim>PASS</dkim><spf>fail</spf><reason><type>sampled_out</type></reason></policy_evaluated></row>
    <identifiers><header_from>example.org</header_from></identifiers><auth_results><dkim><domain>x</domain><result>pass</result></dkim></auth_results></record>
  <record><row><source_ip>192.0.2.1</source_ip><count>4</count>
    <policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>
    <identifiers><header_from>example.org</header_from></identifiers></record>
  <record><row><source_ip>198.51.100.9</source_ip><count>2</count>
    <policy_evaluated><disposition>none</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row>
    <identifiers><header_from>example.org</header_from></identifiers></record>
</feedback>\n\ntrailing < junk";

/// One of RFC 9990, in its name space, with a prefix.
const NEW: &str = "<?xml version=\"1.0\"?><d:feedback xmlns:d=\"urn:ietf:params:xml:ns:dmarc-2.0\"><d:version>1.0</d:version>
  <d:report_metadata><d:org_name>receiver.example</d:org_name><d:report_id>a@b</d:report_id><d:date_range>
  <d:begin>2026-11-26T00:00:00Z</d:begin><d:end>2026-11-26T23:59:59</d:end></d:date_range><d:generator>g</d:generator></d:report_metadata>
  <d:policy_published><d:domain>example.org</d:domain><d:np>reject</d:np><d:testing>n</d:testing><d:discovery_method>treewalk</d:discovery_method></d:policy_published>
  <d:record><d:row><d:source_ip>2001:db8::1</d:source_ip><d:count>1</d:count><d:policy_evaluated><d:disposition>pass</d:disposition>
  <d:dkim>fail</d:dkim><d:spf>pass</d:spf></d:policy_evaluated></d:row><d:identifiers><d:header_from>example.org</d:header_from></d:identifiers></d:record></d:feedback>";

const TLS: &str = r#"{"organization-name": "Company-X", "date-range": {"start-datetime": "2026-11-26T00:00:00Z", "end-datetime": "2026-11-26T23:59:59Z"},
  "contact-info": "x@company-x.example", "report-id": "5065427c", "policies": [{"policy": {"policy-type": "sts", "policy-string": ["version: STSv1"],
  "policy-domain": "example.org", "mx-host": ["*.mail.example.org"]}, "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
  "failure-details": [{"result-type": "certificate-expired", "sending-mta-ip": "2001:db8:abcd:12::1", "receiving-mx-hostname": "mx1.mail.example.org",
  "failed-session-count": 100}, {"result-type": "starttls-not-supported", "receiving-mx-hostname": "mx2.mail.example.org", "failed-session-count": 200}]}]}"#;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An archive as streams write it: sizes and sum stand behind the data.
fn zip(bytes: &[u8]) -> Vec<u8> {
    let mut archive = b"PK\x03\x04\x14\0\x08\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\x02\0a.xml\xff\xff".to_vec();
    let mut encoder = DeflateEncoder::new(&mut archive, Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap();
    archive.extend_from_slice(b"PK\x07\x08whatever follows");
    archive
}

fn letter(kind: &str, bytes: &[u8]) -> Vec<u8> {
    let encoded = STANDARD.encode(bytes);
    let lines: Vec<_> = encoded.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!(
        "From: a@b.example\r\nSubject: Report Domain: example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
         --x\r\nContent-Type: text/plain\r\n\r\nThis is a report.\r\n--x\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n--x--\r\n",
        lines.join("\r\n")
    )
    .into_bytes()
}

#[test]
fn reports_are_read_in_every_packing_whatever_it_is_called() {
    for packed in [OLD.as_bytes().to_vec(), gzip(OLD.as_bytes()), zip(OLD.as_bytes())] {
        for kind in
            ["application/gzip", "application/zip", "application/octet-stream", "text/xml", "application/tlsrpt+gzip"]
        {
            let report = read(&letter(kind, &packed)).unwrap_or_else(|| panic!("{kind}"));
            assert_eq!((report.kind, report.total, report.passed), (AggregateKind::Dmarc, 9, 7));
            assert_eq!((report.reporter.as_str(), report.report_id.as_str()), ("google.com & co", "123"));
            assert_eq!((report.domain.as_str(), report.begin.unix_timestamp()), ("example.org", 1_764_201_600));
            let row = DmarcRow {
                source_ip: "192.0.2.1".to_owned(),
                disposition: "none".to_owned(),
                dkim: true,
                spf: false,
                header_from: "example.org".to_owned(),
                messages: 7,
            };
            assert_eq!(report.rows[0], AggregateRow::Dmarc(row), "rows that say the same are one");
            assert_eq!(report.rows.len(), 2);
        }
    }
    let alone = [b"From: a@b.example\r\nContent-Type: application/xml\r\n\r\n".as_slice(), NEW.as_bytes()].concat();
    let report = read(&alone).unwrap();
    assert_eq!((report.reporter.as_str(), report.total, report.passed), ("receiver.example", 1, 1));
    assert_eq!(report.end.unix_timestamp() - report.begin.unix_timestamp(), 86_399);
}

#[test]
fn reports_of_tls_sessions_are_read() {
    let report = read(&letter("application/tlsrpt+gzip", &gzip(TLS.as_bytes()))).unwrap();
    assert_eq!((report.kind, report.total, report.passed), (AggregateKind::Tls, 5629, 5326));
    let row = TlsRow {
        policy_type: "sts".to_owned(),
        result: "starttls-not-supported".to_owned(),
        mx_host: "mx2.mail.example.org".to_owned(),
        sending_ip: String::new(),
        sessions: 200,
    };
    assert_eq!(report.rows[0], AggregateRow::Tls(row));
}

#[test]
fn bombs_and_nonsense_are_no_reports() {
    let zeros = vec![b' '; 64 << 20];
    let bomb =
        [OLD.as_bytes().strip_suffix(b"</feedback>\n\ntrailing < junk").unwrap(), &zeros, b"</feedback>"].concat();
    let deep = format!("<feedback>{}", "<a>".repeat(100_000));
    let entities = OLD.replace("<feedback>", "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><feedback>");
    let many = OLD.replace(
        "</feedback>",
        &format!("{}</feedback>", "<record><row><count>1</count></row></record>".repeat(100_001)),
    );
    let later = OLD.replace("1764287999", "1");
    let text = OLD.replace("google.com", &"x".repeat(1 << 20));
    for xml in [
        bomb,
        deep.into_bytes(),
        entities.into_bytes(),
        many.into_bytes(),
        later.into_bytes(),
        OLD.as_bytes()[..900].to_vec(),
    ] {
        assert_eq!(read(&letter("application/gzip", &gzip(&xml))), None);
        assert_eq!(read(&letter("application/zip", &zip(&xml))), None);
    }
    assert_eq!(read(&letter("text/xml", text.as_bytes())).unwrap().reporter.len(), TEXT_MAX);
    let packed_twice = gzip(&gzip(OLD.as_bytes()));
    for bytes in [&b""[..], b"PK\x03\x04", b"\x1f\x8b", b"<", b"{", b"{}", b"<feedback/>", &packed_twice] {
        assert_eq!(read(&letter("x/y", bytes)), None, "{bytes:?}");
    }
    assert_eq!(read(b""), None);
}

#[test]
fn whatever_is_changed_in_a_report_nothing_panics() {
    let originals =
        [letter("x/y", &gzip(OLD.as_bytes())), letter("x/y", &zip(NEW.as_bytes())), letter("x/y", TLS.as_bytes())];
    let plain = [OLD.as_bytes(), NEW.as_bytes(), TLS.as_bytes()];
    let mut state = 7_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for n in 0..10_000 {
        let mut bytes = if n % 2 == 0 { originals[n % 3].clone() } else { plain[n % 3].to_vec() };
        for _ in 0..=next(4) {
            let at = next(bytes.len());
            match next(3) {
                0 => bytes[at] = u8::try_from(next(256)).unwrap(),
                1 => drop(bytes.drain(at..(at + next(40)).min(bytes.len()))),
                _ => {
                    let copied = bytes[at..(at + next(40)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, copied);
                }
            }
        }
        let letter = if n % 2 == 0 { bytes } else { letter("x/y", &bytes) };
        if let Some(report) = read(&letter) {
            assert!(report.rows.len() <= ROWS_MAX && report.reporter.chars().count() <= TEXT_MAX);
        }
    }
}
