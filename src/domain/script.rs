//! Scripts of the sandbox: what a receiver that is played answers, try by try, and what comes back after a delivery.
//!
//! `451*2,250` greylists twice and then accepts; the last step goes on for ever. A step is a reply (`550 5.1.1 No such user`) or
//! `drop after dot`; `*N` repeats it; `after SPAN` makes the first one wait. Behind a semicolon stands what comes back:
//! `250; dsn 5.2.2 after 5s`, `250; complain after 5s`.

use std::time::Duration;

use super::address::Address;
use super::fault::{FaultCode, Flaw};
use super::reply::{EnhancedStatus, Reply};
use super::span::Span;

const LENGTH_MAX: usize = 500;
const STEPS_MAX: usize = 20;
const COUNT_MAX: u32 = 1000;
const AFTERWARDS_MAX: usize = 4;
const SPAN_MAX: Duration = Duration::from_hours(24 * 30);

/// A script that can be played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    text: String,
    steps: Vec<Step>,
    /// How long the first try waits.
    pub wait: Duration,
    pub afterwards: Vec<Afterwards>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    answer: Answer,
    count: u32,
}

/// What a receiver answers to one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Reply(Reply),
    /// Nothing, behind the final dot: it may have taken the message.
    Drop,
}

/// What comes back after a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Afterwards {
    pub what: CameBack,
    pub after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameBack {
    /// A report that it could not be delivered after all (RFC 3464).
    Report(EnhancedStatus),
    /// A report of abuse (RFC 5965).
    Complaint,
}

impl Script {
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        let wrong = |why: String| Flaw::new(FaultCode::InvalidScript, why);
        if text.len() > LENGTH_MAX || text.chars().any(char::is_control) {
            return Err(wrong(format!("must have at most {LENGTH_MAX} bytes and no control characters")));
        }
        let mut parts = text.split(';').map(str::trim);
        let (mut steps, mut wait) = (Vec::new(), Duration::ZERO);
        for (at, step) in parts.next().unwrap_or_default().split(',').enumerate() {
            let (step, waits) = step_of(step.trim()).map_err(wrong)?;
            if waits.is_some() && at > 0 {
                return Err(wrong("only the first step may wait".to_owned()));
            }
            wait = waits.unwrap_or(wait);
            steps.push(step);
        }
        let afterwards = parts.map(afterwards_of).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        let accepts = steps.iter().any(|step| matches!(&step.answer, Answer::Reply(reply) if reply.is_positive()));
        if !afterwards.is_empty() && !accepts {
            return Err(wrong("nothing comes back of what is never accepted: a step must be 250".to_owned()));
        }
        if steps.len() > STEPS_MAX || afterwards.len() > AFTERWARDS_MAX {
            return Err(wrong(format!("has more than {STEPS_MAX} steps, or {AFTERWARDS_MAX} things that come back")));
        }
        Ok(Self { text: text.trim().to_owned(), steps, wait, afterwards })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What is answered to a try, counted from 1.
    pub fn answer(&self, number: u32) -> Option<&Answer> {
        let mut last = 0;
        let of_number = self.steps.iter().find(|step| {
            last += step.count;
            number <= last
        });
        of_number.or(self.steps.last()).map(|step| &step.answer)
    }

    /// The script that an address names by itself: at a domain that ends in `.test` (RFC 6761 §6.2), by its local part, with
    /// any `+label` behind it.
    pub fn of_address(address: &Address) -> Option<Self> {
        let text = match Self::name(address)? {
            "delivered" => "250 2.1.5 delivered",
            "bounced" => "550 5.1.1 no such user",
            "deferred" => "451 4.7.1 come back later",
            "complained" => "250 2.1.5 delivered; complain after 1s",
            "slow" => "250 2.1.5 delivered at last after 10s",
            _ => return None,
        };
        Self::parse(text).ok()
    }

    /// Whether an address is one that is suppressed by its name.
    pub fn is_suppressed(address: &Address) -> bool {
        Self::name(address) == Some("suppressed")
    }

    fn name(address: &Address) -> Option<&str> {
        let domain = address.domain();
        let is_test = domain.eq_ignore_ascii_case("test")
            || domain.len() > 5 && domain.as_bytes()[domain.len() - 5..].eq_ignore_ascii_case(b".test");
        let (local, _) = address.as_str().rsplit_once('@')?;
        is_test.then(|| local.split('+').next().unwrap_or(local))
    }
}

impl CameBack {
    /// As a script says it.
    pub fn text(self) -> String {
        match self {
            Self::Report(status) => format!("dsn {status}"),
            Self::Complaint => "complain".to_owned(),
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(' ') {
            None if text == "complain" => Some(Self::Complaint),
            Some(("dsn", status)) => match EnhancedStatus::split(status.trim()) {
                (Some(status), "") if status.class != 2 => Some(Self::Report(status)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What stands before `after SPAN`, and that span.
fn timed(text: &str) -> Result<(&str, Option<Duration>), String> {
    let Some((head, span)) = text.rsplit_once(" after ") else { return Ok((text, None)) };
    // "drop after dot" has the word too.
    if span.split('*').next() == Some("dot") {
        return Ok((text, None));
    }
    let Span(span) = span.parse()?;
    if span > SPAN_MAX {
        return Err(format!("waits longer than {}", Span(SPAN_MAX)));
    }
    Ok((head.trim_end(), Some(span)))
}

fn step_of(text: &str) -> Result<(Step, Option<Duration>), String> {
    let (text, wait) = timed(text)?;
    let (text, count) = match text.rsplit_once('*') {
        Some((step, count)) => {
            let number = count.parse().ok().filter(|count| (1..=COUNT_MAX).contains(count));
            (step.trim_end(), number.ok_or_else(|| format!("'*{count}' is not from *1 to *{COUNT_MAX}"))?)
        }
        None => (text, 1),
    };
    if text == "drop after dot" {
        return Ok((Step { answer: Answer::Drop, count }, wait));
    }
    let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
    let code = code.parse().ok().filter(|code: &u16| matches!(code / 100, 2 | 4 | 5) && *code < 600);
    let code = code.ok_or_else(|| {
        format!("'{text}' is no step: such are '250', '451 4.7.1 come back later', '550 5.1.1*2' and 'drop after dot'")
    })?;
    let (enhanced, words) = EnhancedStatus::split(rest.trim());
    if enhanced.is_some_and(|status| u16::from(status.class) != code / 100) {
        return Err(format!("'{text}': the enhanced status is of another class than the code"));
    }
    let text = if words.is_empty() { "as the script says" } else { words };
    Ok((Step { answer: Answer::Reply(Reply { code, enhanced, text: text.to_owned() }), count }, wait))
}

fn afterwards_of(text: &str) -> Result<Afterwards, String> {
    let (head, after) = timed(text)?;
    let what = CameBack::parse(head)
        .ok_or_else(|| format!("'{text}' does not come back: such are 'dsn 5.2.2 after 5s' and 'complain after 5s'"))?;
    Ok(Afterwards { what, after: after.unwrap_or_default() })
}

/// Whether an address fits a pattern: `*` stands for any text, letters are of either case.
pub fn fits(pattern: &str, address: &str) -> bool {
    let (pattern, address) = (pattern.to_lowercase(), address.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| address.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(script: &str, tries: u32) -> Vec<u16> {
        let script = Script::parse(script).unwrap();
        let code = |n| match script.answer(n) {
            Some(Answer::Reply(reply)) => reply.code,
            _ => 0,
        };
        (1..=tries).map(code).collect()
    }

    #[test]
    fn steps_follow_each_other_and_the_last_one_goes_on() {
        assert_eq!(codes("451*2,250", 4), [451, 451, 250, 250]);
        assert_eq!(codes("550 5.1.1", 2), [550, 550]);
        assert_eq!(codes("drop after dot*2, 451 4.7.1 later , 250", 4), [0, 0, 451, 250]);
        let script = Script::parse("451 4.7.1 come back later").unwrap();
        let Some(Answer::Reply(reply)) = script.answer(1) else { panic!() };
        assert_eq!(reply.to_string(), "451 4.7.1 come back later");
    }

    #[test]
    fn what_comes_back_and_what_waits_is_read() {
        let script = Script::parse("250 2.0.0 taken after 10s; dsn 5.2.2 after 5s; complain").unwrap();
        assert_eq!(script.wait, Duration::from_secs(10));
        let [report, complaint] = &script.afterwards[..] else { panic!("{script:?}") };
        assert_eq!((report.what.text(), report.after), ("dsn 5.2.2".to_owned(), Duration::from_secs(5)));
        assert_eq!((complaint.what, complaint.after), (CameBack::Complaint, Duration::ZERO));
        for one in &script.afterwards {
            assert_eq!(CameBack::parse(&one.what.text()), Some(one.what));
        }
    }

    #[test]
    fn what_is_no_script_is_refused() {
        for text in [
            "",
            "250,",
            "600",
            "150",
            "354",
            "2500",
            "250*0",
            "250*x",
            "250*1001",
            "451 5.1.1",
            "drop",
            "250; dsn",
            "250; dsn 2.0.0",
            "250; sing",
            "550; complain",
            "250; complain after",
            "250; complain after never",
            "451, 250 after 5s",
            "250 after 9999d",
            "250\n",
            "250;",
        ] {
            assert!(Script::parse(text).is_err(), "{text:?}");
        }
        assert!(Script::parse(&vec!["250"; 21].join(",")).is_err());
    }

    #[test]
    fn names_at_test_domains_are_scripts_and_others_are_not() {
        let of =
            |text: &str| Script::of_address(&Address::parse(text).unwrap()).map(|script| script.as_str().to_owned());
        assert!(of("bounced@example.test").unwrap().starts_with("550"));
        assert!(of("deferred+order-7@shop.Example.TEST").unwrap().starts_with("451"));
        for other in ["bounced@example.com", "ada@example.test", "bounced@examplestest.com", "xbounced@example.test"] {
            assert_eq!(of(other), None, "{other}");
        }
        assert!(Script::is_suppressed(&Address::parse("suppressed+x@a.test").unwrap()));
    }

    #[test]
    fn patterns_fit_addresses() {
        for (pattern, address, is_fit) in [
            ("*@slow.test", "ada@SLOW.test", true),
            ("*@slow.test", "ada@slow.test.example", false),
            ("vip+*@*", "vip+1@a.example", true),
            ("ada@a.example", "ada@a.example", true),
            ("ada@a.example", "xada@a.example", false),
            ("a*b*b", "ab", false),
            ("a*b*b", "abb", true),
            ("*", "x@y.example", true),
        ] {
            assert_eq!(fits(pattern, address), is_fit, "{pattern} {address}");
        }
    }
}
