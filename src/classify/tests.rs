//! The corpus, and what holds of every judgement.

use super::*;
use crate::domain::reply::EnhancedStatus;

const CORPUS: &str = include_str!("corpus.txt");

fn reply(line: &str) -> Reply {
    let (code, text) = line.split_at(3);
    let (enhanced, text) = EnhancedStatus::split(text.trim_start());
    Reply { code: code.parse().unwrap(), enhanced, text: text.to_owned() }
}

struct Case {
    provider: Option<&'static str>,
    class: &'static str,
    outcome: &'static str,
    rule: Option<&'static str>,
    line: &'static str,
}

fn corpus() -> Vec<Case> {
    let lines = CORPUS.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<_> = line.splitn(5, '|').map(str::trim).collect();
            let [provider, class, outcome, rule, line] = fields[..] else { panic!("{line}") };
            let given = |text: &'static str| (text != "-").then_some(text);
            Case { provider: given(provider), class, outcome, rule: given(rule), line }
        })
        .collect()
}

#[test]
fn the_corpus_is_judged_as_it_says() {
    let classifier = Classifier::new(None, None).unwrap();
    let corpus = corpus();
    assert!(corpus.len() >= 300, "{}", corpus.len());
    let mut wrong = Vec::new();
    for case in &corpus {
        let judgement = classifier.judge(Stage::Rcpt, case.provider, &reply(case.line));
        let outcome = match (judgement.disposition, judgement.action.suppress) {
            (Disposition::Bounce, true) => "bounce+suppress",
            (Disposition::Bounce, false) => "bounce",
            (Disposition::Defer, _) => "defer",
        };
        let rule = judgement.rule.as_deref().unwrap_or("-");
        let is_right = judgement.class.name() == case.class
            && outcome == case.outcome
            && case.rule.is_none_or(|wanted| wanted == rule);
        if !is_right {
            wrong.push(format!(
                "{}: {} {outcome} by {rule}, not {} {}",
                case.line, judgement.class, case.class, case.outcome
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), corpus.len(), wrong.join("\n"));
}

#[test]
fn every_rule_of_a_provider_is_met_by_the_corpus() {
    let classifier = Classifier::new(None, None).unwrap();
    let met: std::collections::HashSet<_> = corpus()
        .iter()
        .filter_map(|case| classifier.judge(Stage::Rcpt, case.provider, &reply(case.line)).rule)
        .map(|rule| rule.to_string())
        .collect();
    let unmet: Vec<_> = classifier.packs[0]
        .rules
        .iter()
        .filter(|rule| rule.provider.is_some() && (rule.stage.is_empty() || rule.stage.iter().any(|s| s == "rcpt")))
        .filter(|rule| !met.contains(&rule.id))
        .map(|rule| &rule.id)
        .collect();
    assert!(unmet.is_empty(), "{unmet:?}");
}

#[test]
fn an_operators_rules_stand_before_the_built_in_ones() {
    let rules = r#"
        version = "mine"
        [schedules.never-again]
        delays = ["9h"]
        [[rules]]
        id = "house"
        code = ["55z"]
        text = ["house rule*7"]
        class = "rate_limited"
        outcome = "defer"
        schedule = "never-again"
        confidence = 100
    "#;
    let classifier = Classifier::new(Some(rules), Some(vec![Duration::from_secs(1)])).unwrap();
    let judgement = classifier.judge(Stage::Dot, None, &reply("554 5.7.1 House rule number 7"));
    assert_eq!((judgement.rule.as_deref(), judgement.disposition), (Some("house"), Disposition::Defer));
    assert_eq!(classifier.schedule("never-again").delays(), [Duration::from_hours(9)], "its own delays stay");
    assert_eq!(classifier.schedule("greylist").delays(), [Duration::from_secs(1)], "the built-in ones are replaced");
    assert!(classifier.version().starts_with("mine+"));
}

#[test]
fn a_faulty_pack_says_which_rule_and_why() {
    for (rules, wanted) in [
        ("version = 1", "invalid type"),
        ("version = \"1\"\n[[rules]]\nid=\"a\"\nclass=\"busy\"\nconfidence=1\ncodes=[\"4\"]", "codes"),
        ("version = \"1\"\n[[rules]]\nid=\"a\"\nclass=\"busy\"\nconfidence=1\ncode=[\"4\"]", "rule 'a': code '4'"),
        (
            "version = \"1\"\n[[rules]]\nid=\"a\"\nclass=\"odd\"\nconfidence=1\ncode=[\"421\"]",
            "there is no class 'odd'",
        ),
        ("version = \"1\"\n[classes.tls]\nabout=\"x\"\noutcome=\"defer\"", "class 'tls' is the service's own"),
        (
            "version = \"1\"\n[[rules]]\nid=\"a\"\nclass=\"dns\"\nconfidence=1\ncode=[\"421\"]",
            "rule 'a': class 'dns' is the service's own",
        ),
        ("version = \"1\"\n[[rules]]\nid=\"a\"\nclass=\"busy\"\nconfidence=1", "needs a code"),
        (
            "version = \"1\"\n[[rules]]\nid=\"a\"\nclass=\"busy\"\nconfidence=1\ncode=[\"421\"]\nstage=[\"lunch\"]",
            "rule 'a': stage 'lunch' is none of expiry,",
        ),
    ] {
        let error = Classifier::new(Some(rules), None).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn every_class_of_ours_has_its_own_sentence() {
    let classifier = Classifier::new(None, None).unwrap();
    let sentences: std::collections::HashSet<_> =
        OwnClass::ALL.iter().map(|own| classifier.about(own.name()).expect("a sentence")).collect();
    assert_eq!(sentences.len(), OwnClass::ALL.len());
    let corpus = corpus();
    assert!(corpus.iter().all(|case| classifier.about(case.class).is_some()), "and so has every class of the pack");
}

#[test]
fn hosts_are_told_apart_at_dots() {
    let classifier = Classifier::default();
    assert_eq!(classifier.provider_of_host("gmail-smtp-in.l.google.com"), Some("google"));
    assert_eq!(classifier.provider_of_host("google.com"), Some("google"));
    assert_eq!(classifier.provider_of_host("evilgoogle.com"), None);
    assert_eq!(classifier.provider_of_domain("gmail.com"), Some("google"));
}

proptest::proptest! {
    #[test]
    fn every_reply_gets_a_judgement_and_a_4yz_is_never_suppressed(code in 200_u16..600, text in "\\PC{0,200}") {
        let classifier = Classifier::default();
        let (enhanced, rest) = EnhancedStatus::split(&text);
        let judgement = classifier.judge(Stage::Rcpt, Some("qq"), &Reply { code, enhanced, text: rest.to_owned() });
        if code / 100 != 5 {
            proptest::prop_assert!(!judgement.action.suppress);
        }
        if !matches!(code / 100, 4 | 5) {
            proptest::prop_assert_eq!(judgement.disposition, Disposition::Defer);
        }
    }
}
