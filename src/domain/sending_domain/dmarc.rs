//! DMARC (RFC 9989): policies, and which domain they are asked of. Receivers find the organizational domain by a walk up
//! the tree since 2026; older ones still by the public suffix list. Where the two differ, so does what they deliver.

use serde::Serialize;

/// Most names that one walk asks for (RFC 9989 §4.10).
pub const WALK_MAX: usize = 8;

/// A policy record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// `none`, `quarantine` or `reject`; a record with `rua` alone asks for `none` (§4.7).
    pub policy: String,
    /// Of subdomains.
    pub subdomains: Option<String>,
    /// Of subdomains that do not exist.
    pub absent: Option<String>,
    pub is_strict_dkim: bool,
    pub is_strict_spf: bool,
    /// `y`, `n` or `u`: whether it is a public suffix that publishes for those below it.
    pub psd: char,
    /// Receivers are asked to do one step less than is said.
    pub is_testing: bool,
    /// Where aggregate reports go.
    pub reports_to: Vec<String>,
}

/// Whether a text is a policy: `v=DMARC1` stands first, in that spelling.
pub fn is_policy(text: &str) -> bool {
    parse(text).is_some()
}

/// The policy that a text writes. Unknown and historic tags (`pct`, `rf`, `ri`) are ignored.
pub fn parse(text: &str) -> Option<Policy> {
    let mut tags = text.split(';').map(|pair| pair.split_once('=').map(|(name, value)| (name.trim(), value.trim())));
    if tags.next()?? != ("v", "DMARC1") {
        return None;
    }
    let mut policy = Policy { psd: 'u', ..Policy::default() };
    for (name, value) in tags.flatten() {
        let action = || {
            let action = value.to_ascii_lowercase();
            ["none", "quarantine", "reject"].contains(&&*action).then_some(action)
        };
        match name.to_ascii_lowercase().as_str() {
            "p" => policy.policy = action().unwrap_or_default(),
            "sp" => policy.subdomains = action(),
            "np" => policy.absent = action(),
            "adkim" => policy.is_strict_dkim = value.eq_ignore_ascii_case("s"),
            "aspf" => policy.is_strict_spf = value.eq_ignore_ascii_case("s"),
            "psd" => {
                policy.psd = value.to_ascii_lowercase().chars().next().filter(|c| "yn".contains(*c)).unwrap_or('u');
            }
            "t" => policy.is_testing = value.eq_ignore_ascii_case("y"),
            "rua" => {
                // A size limit behind '!' is of the older standard.
                let plain = |uri: &str| uri.trim().split('!').next().unwrap_or_default().to_owned();
                policy.reports_to = value.split(',').map(plain).filter(|uri| !uri.is_empty()).collect();
            }
            _ => {}
        }
    }
    if policy.policy.is_empty() {
        if policy.reports_to.is_empty() {
            return None;
        }
        "none".clone_into(&mut policy.policy);
    }
    Some(policy)
}

/// The domains whose policies a receiver asks for, from the author's upwards (RFC 9989 §4.10): itself, then, of more than
/// seven labels, its last seven, then each parent.
pub fn walk(domain: &str) -> Vec<&str> {
    let labels = domain.split('.').count();
    let mut names = vec![domain];
    let mut below = domain;
    for skipped in 1..labels {
        below = below.split_once('.').map_or(below, |(_, parent)| parent);
        if labels - skipped < WALK_MAX {
            names.push(below);
        }
    }
    names
}

/// What a walk found: at each name the one policy that stands there, if there is one.
pub type Walked<'w> = [(&'w str, Option<Policy>)];

/// The organizational domain that a walk leads to (RFC 9989 §4.10.2).
pub fn organizational<'w>(walked: &Walked<'w>) -> &'w str {
    let start = walked.first().map_or("", |(name, _)| *name);
    let mut last = None;
    for (index, (name, policy)) in walked.iter().enumerate() {
        let Some(policy) = policy else { continue };
        match policy.psd {
            'n' => return name,
            // One label below it.
            'y' if index > 0 => return below(start, name),
            _ => last = Some(*name),
        }
    }
    last.unwrap_or(start)
}

/// The domain one label longer than `parent` on the way to `domain`.
fn below<'d>(domain: &'d str, parent: &str) -> &'d str {
    let ahead = domain.len().saturating_sub(parent.len() + 1);
    let start = domain[..ahead].rfind('.').map_or(0, |at| at + 1);
    &domain[start..]
}

/// The organizational domain by the public suffix list, as receivers before RFC 9989 find it.
pub fn organizational_by_list(domain: &str) -> &str {
    psl::domain_str(domain).unwrap_or(domain)
}

/// Whether nobody can own the name: it is a public suffix, such as `co.uk`.
pub fn is_public_suffix(domain: &str) -> bool {
    psl::suffix_str(domain) == Some(domain)
}

/// What receivers make of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// The policy as it was found.
    pub record: Option<String>,
    /// Where it stands: the domain itself or one above it.
    pub found_at: Option<String>,
    /// What is asked for the domain's own mail.
    pub policy: Option<String>,
    pub is_testing: bool,
    /// By the walk of RFC 9989.
    pub organizational_domain: String,
    /// By the public suffix list, as older receivers find it.
    pub organizational_domain_by_list: String,
    pub reports_to: Vec<String>,
    pub warnings: Vec<String>,
}

/// What receivers make of `domain`, by the texts that were found at each name of its walk.
pub fn outlook(domain: &str, texts: &[(&str, Vec<String>)]) -> Outlook {
    let mut warnings = Vec::new();
    let mut walked = Vec::with_capacity(texts.len());
    for (name, found) in texts {
        let mut policies = found.iter().filter_map(|text| Some((text, parse(text)?)));
        let first = policies.next();
        let several = policies.next().is_some();
        if several {
            warnings.push(format!("several DMARC policies stand at _dmarc.{name}: receivers use none of them"));
        }
        let one = first.filter(|_| !several);
        let ends = one.as_ref().is_some_and(|(_, policy)| policy.psd != 'u');
        walked.push((*name, one));
        if ends {
            break;
        }
    }
    let policies: Vec<_> = walked.iter().map(|(name, found)| (*name, found.as_ref().map(|(_, p)| p.clone()))).collect();
    let by_walk = organizational(&policies);
    let by_list = organizational_by_list(domain);
    let at = |wanted: &str| walked.iter().find(|(name, found)| *name == wanted && found.is_some());
    // The domain's own; else its organization's; else that of the suffix above it (§4.10.1).
    let found = at(domain).or_else(|| at(by_walk)).or_else(|| walked.iter().rev().find(|(_, found)| found.is_some()));
    let found = found.and_then(|(name, found)| Some((*name, found.as_ref()?)));
    if by_walk != by_list && found.is_some() {
        warnings.push(format!(
            "receivers that walk the tree take {by_walk} for the organization, older ones {by_list}: publish a policy for {domain} itself",
        ));
    }
    if found.is_none() {
        warnings.push("no DMARC policy: Gmail, Yahoo and Outlook refuse bulk mail without one".to_owned());
    }
    if found.is_some_and(|(_, (_, policy))| policy.reports_to.is_empty()) {
        warnings.push("the policy asks for no aggregate reports (rua)".to_owned());
    }
    let policy = found.map(|(name, (_, policy))| match &policy.subdomains {
        Some(subdomains) if name != domain => subdomains.clone(),
        _ => policy.policy.clone(),
    });
    Outlook {
        record: found.map(|(_, (text, _))| (*text).clone()),
        found_at: found.map(|(name, _)| name.to_owned()),
        policy,
        is_testing: found.is_some_and(|(_, (_, policy))| policy.is_testing),
        organizational_domain: by_walk.to_owned(),
        organizational_domain_by_list: by_list.to_owned(),
        reports_to: found.map(|(_, (_, policy))| policy.reports_to.clone()).unwrap_or_default(),
        warnings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_asks_eight_names_at_most() {
        assert_eq!(walk("a.example.com"), ["a.example.com", "example.com", "com"]);
        let long = "a.b.c.d.e.f.g.h.i.j.mail.example.com";
        let names = walk(long);
        assert_eq!((names.len(), names[0], names[1], names[7]), (8, long, "g.h.i.j.mail.example.com", "com"));
        assert_eq!(walk("a.b.c.d.e.f.g.com").len(), 8);
    }

    #[test]
    fn policies_are_read_as_receivers_read_them() {
        for text in [
            "v=DMARC1; p=none",
            "v=DMARC1;p=reject;pct=20;ri=1;x=y",
            "v=DMARC1; rua=mailto:a@b.example!10m",
            "v = DMARC1 ; p=NONE ;",
        ] {
            assert!(parse(text).is_some(), "{text}");
        }
        for text in ["v=dmarc1; p=none", "p=none; v=DMARC1", "v=DMARC1", "v=DMARC1; p=nonsense", "", "v=spf1 -all"] {
            assert_eq!(parse(text), None, "{text}");
        }
        let policy = parse("v=DMARC1; p=reject; sp=none; np=quarantine; psd=n; t=y; adkim=s; rua=mailto:a@b.example!10m, mailto:c@d.example").unwrap();
        assert_eq!((policy.policy.as_str(), policy.subdomains.as_deref()), ("reject", Some("none")));
        assert!(policy.is_testing && policy.is_strict_dkim && !policy.is_strict_spf && policy.psd == 'n');
        assert_eq!(policy.reports_to, ["mailto:a@b.example", "mailto:c@d.example"]);
        assert_eq!(parse("v=DMARC1; p=bad; rua=mailto:a@b.example").unwrap().policy, "none");
    }

    fn found<'n>(domain: &'n str, texts: &[(&str, &str)]) -> Vec<(&'n str, Vec<String>)> {
        let at = |name: &str| texts.iter().filter(|(at, _)| *at == name).map(|(_, text)| (*text).to_owned()).collect();
        walk(domain).into_iter().map(|name| (name, at(name))).collect()
    }

    #[test]
    fn the_organization_is_found_by_walk_and_by_list() {
        for (domain, texts, by_walk, by_list) in [
            ("a.mail.example.com", &[][..], "a.mail.example.com", "example.com"),
            ("a.mail.example.com", &[("example.com", "v=DMARC1; p=none")], "example.com", "example.com"),
            (
                "a.mail.example.com",
                &[("mail.example.com", "v=DMARC1; p=none; psd=n"), ("example.com", "v=DMARC1; p=none")],
                "mail.example.com",
                "example.com",
            ),
            ("a.b.example.co.uk", &[("co.uk", "v=DMARC1; p=reject; psd=y")], "example.co.uk", "example.co.uk"),
            (
                "a.example.com",
                &[("com", "v=DMARC1; p=none"), ("example.com", "v=DMARC1; p=none")],
                "com",
                "example.com",
            ),
            ("example.bank", &[("bank", "v=DMARC1; p=reject; psd=y")], "example.bank", "example.bank"),
            ("co.uk", &[("co.uk", "v=DMARC1; p=reject; psd=y")], "co.uk", "co.uk"),
        ] {
            let outlook = outlook(domain, &found(domain, texts));
            assert_eq!(
                (outlook.organizational_domain.as_str(), outlook.organizational_domain_by_list.as_str()),
                (by_walk, by_list),
                "{domain} {texts:?}"
            );
            let differs = outlook.warnings.iter().any(|warning| warning.contains("older ones"));
            assert_eq!(differs, by_walk != by_list && !texts.is_empty(), "{domain} {:?}", outlook.warnings);
        }
    }

    #[test]
    fn the_policy_is_the_domains_own_or_its_organizations_and_none_in_between() {
        let texts = [("example.com", "v=DMARC1; p=reject; sp=quarantine"), ("mail.example.com", "v=DMARC1; p=none")];
        let policy = |domain: &str| outlook(domain, &found(domain, &texts)).policy;
        assert_eq!(policy("example.com").as_deref(), Some("reject"));
        assert_eq!(policy("mail.example.com").as_deref(), Some("none"));
        assert_eq!(policy("a.mail.example.com").as_deref(), Some("quarantine"), "not the one in between");
        let twice = [("example.com", "v=DMARC1; p=reject"), ("example.com", "v=DMARC1; p=none")];
        let outlook = outlook("example.com", &found("example.com", &twice));
        assert_eq!(outlook.policy, None);
        assert!(outlook.warnings[0].contains("several"), "{:?}", outlook.warnings);
    }
}
