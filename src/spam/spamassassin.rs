//! The protocol of spamd: `REPORT SPAMC/1.5`, and a report for people whose table of rules is read.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{ANSWER_MAX, Rule, Verdict};

pub async fn check(address: &str, raw: &[u8]) -> Result<Verdict, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(address).await.map_err(text)?;
    let head = format!("REPORT SPAMC/1.5\r\nContent-length: {}\r\n\r\n", raw.len());
    stream.write_all(head.as_bytes()).await.map_err(text)?;
    stream.write_all(raw).await.map_err(text)?;
    stream.shutdown().await.map_err(text)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX as u64).read_to_end(&mut answer).await.map_err(text)?;
    read(&String::from_utf8_lossy(&answer))
}

/// `SPAMD/1.1 0 EX_OK`, header fields with `Spam: True ; 7.5 / 5.0`, and the report.
fn read(answer: &str) -> Result<Verdict, String> {
    let (head, report) = answer.split_once("\r\n\r\n").ok_or("spamd broke off its answer")?;
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("SPAMD/") || status.split_whitespace().nth(1) != Some("0") {
        return Err(format!("spamd answered: {status}"));
    }
    let spam = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("spam").then_some(value)
    });
    let (flag, scores) = spam.and_then(|value| value.split_once(';')).ok_or("spamd gave no verdict")?;
    let (score, threshold) = scores.split_once('/').ok_or("spamd gave no score")?;
    let number = |text: &str| text.trim().parse::<f64>().map_err(|_| format!("spamd gave no number: {text}"));
    Ok(Verdict {
        engine: "spamassassin",
        score: number(score)?,
        threshold: number(threshold)?,
        is_spam: flag.trim().eq_ignore_ascii_case("true"),
        rules: rules(report),
    })
}

/// ` 0.8 RULE_NAME   What it found`; lines without a score go on with the description before.
fn rules(report: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let table = report.lines().skip_while(|line| !line.trim_start().starts_with("----")).skip(1);
    for line in table {
        let mut words = line.split_whitespace();
        let score = words.next().and_then(|word| word.parse().ok());
        match (score, words.next()) {
            (Some(score), Some(name)) => {
                let description = words.collect::<Vec<_>>().join(" ");
                rules.push(Rule { name: name.to_owned(), score, description });
            }
            _ if line.trim().is_empty() => {}
            _ => {
                if let Some(last) = rules.last_mut() {
                    last.description.push(' ');
                    last.description.push_str(line.trim());
                }
            }
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let answer = "SPAMD/1.1 0 EX_OK\r\nContent-length: 9\r\nSpam: True ; 6.9 / 5.0\r\n\r\nSpam detection software\n\n\
            Content analysis details:   (6.9 points, 5.0 required)\n\n pts rule name              description\n\
            ---- ---------------------- --------------------------------------------------\n \
            0.8 BAYES_50               BODY: Bayes spam probability is 40 to 60%\n                            [score: 0.5]\n\
            -0.1 DKIM_VALID             Message has a valid signature\n\n";
        let verdict = read(answer).unwrap();
        assert_eq!((verdict.score, verdict.threshold, verdict.is_spam), (6.9, 5.0, true));
        assert_eq!(verdict.rules.len(), 2);
        assert_eq!(verdict.rules[0].description, "BODY: Bayes spam probability is 40 to 60% [score: 0.5]");
        assert_eq!((&*verdict.rules[1].name, verdict.rules[1].score), ("DKIM_VALID", -0.1));
        for broken in ["", "SPAMD/1.1 76 EX_PROTOCOL\r\n\r\n", "SPAMD/1.1 0 EX_OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            assert!(read(broken).is_err(), "{broken:?}");
        }
    }
}
