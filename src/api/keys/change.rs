//! The fields of a key, as a request gives them, held against what the caller may give.

use ipnet::IpNet;
use serde_json::{Map, Value};

use crate::api::problem::Problem;
use crate::api::usage_limits;
use crate::domain::access::{Caller, Mode, Scope};
use crate::domain::address::Address;
use crate::domain::clock::Timestamp;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::quota::{Quota, UsageLimits};
use crate::request::fields::Fields;
use crate::store::accounts::keys::KeyRights;

const NAME_MAX: usize = 100;
const LIST_MAX: usize = 50;

/// The fields of a creation.
pub(super) struct Creation {
    pub name: String,
    pub rights: KeyRights,
    pub expires_at: Option<Timestamp>,
    /// Whether it is to sign requests.
    pub signs: bool,
}

/// The fields of a change.
pub(super) struct Change {
    pub name: Option<String>,
    pub limits: Option<UsageLimits>,
}

impl Creation {
    /// `can_seal`: whether a key that signs can be kept.
    pub fn read(caller: &Caller, map: Map<String, Value>, now: Timestamp, can_seal: bool) -> Result<Self, Problem> {
        let mut faults = Vec::new();
        let mut fields = Fields::new(map, "", &mut faults);
        let name = name(&mut fields).unwrap_or_default();
        let mode = mode(&mut fields);
        let scopes = scopes(&mut fields);
        let expires_at = expires_at(&mut fields, now);
        let from_domains = from_domains(&mut fields, caller.from_domains.as_deref());
        let allowed_ips = allowed_ips(&mut fields, caller.allowed_ips.as_deref());
        let limits = usage_limits::of_key(&mut fields, &caller.key_limits);
        let signs = fields.bool("signs").unwrap_or_default();
        if signs && !can_seal {
            fields.fault("signs", FaultCode::Conflict, "needs secrets.sealing_key, which the operator has not set");
        }
        fields.finish();
        let (Some(mode), Some(scopes), true) = (mode, scopes, faults.is_empty()) else {
            return Err(Problem::validation(faults));
        };
        may_give(caller, mode, &scopes)?;
        let rights = KeyRights {
            project: caller.project,
            mode,
            scopes,
            is_operator: false,
            from_domains,
            allowed_ips,
            limits: limits.unwrap_or(caller.key_limits),
        };
        Ok(Self { name, rights, expires_at, signs })
    }
}

impl Change {
    pub fn read(caller: &Caller, map: Map<String, Value>) -> Result<Self, Problem> {
        let mut faults = Vec::new();
        let mut fields = Fields::new(map, "", &mut faults);
        let change = Self { name: name(&mut fields), limits: usage_limits::of_key(&mut fields, &caller.key_limits) };
        fields.finish();
        if faults.is_empty() { Ok(change) } else { Err(Problem::validation(faults)) }
    }
}

/// Refuses what the caller does not have.
pub(super) fn may_give(caller: &Caller, mode: Mode, scopes: &[Scope]) -> Result<(), Problem> {
    if !caller.has_all(mode, &[]) {
        return Err(Problem::test_only());
    }
    match scopes.iter().find(|scope| !caller.may(**scope)) {
        Some(missing) => Err(Problem::missing_scope(*missing)),
        None => Ok(()),
    }
}

/// Refuses a key that may do more than the caller: whoever could change it or take it over would have more than they have.
pub(super) fn may_hold(caller: &Caller, rights: &KeyRights) -> Result<(), Problem> {
    may_give(caller, rights.mode, &rights.scopes)?;
    let own = &caller.key_limits;
    let domains = caller.from_domains.as_ref().is_none_or(|own| {
        rights.from_domains.as_ref().is_some_and(|given| given.iter().all(|domain| own.contains(domain)))
    });
    let networks = caller.allowed_ips.as_ref().is_none_or(|own| {
        rights.allowed_ips.as_ref().is_some_and(|given| given.iter().all(|network| is_inside(network, own)))
    });
    let is_within =
        |quota: Quota| own.of(quota).is_none_or(|own| rights.limits.of(quota).is_some_and(|given| given <= own));
    if domains && networks && Quota::ALL.iter().all(|quota| is_within(*quota)) {
        return Ok(());
    }
    let detail = "the key is limited less than this credential";
    Err(Problem::validation(vec![Fault::new("", FaultCode::BeyondOwn, detail)]))
}

fn name(fields: &mut Fields<'_>) -> Option<String> {
    let name = fields.string("name")?;
    if name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        let detail = format!("must have at most {NAME_MAX} characters, none of them a control character");
        fields.fault("name", FaultCode::TooLong, detail);
    }
    Some(name)
}

/// Never guessed: a key that is live by mistake sends mail to people.
fn mode(fields: &mut Fields<'_>) -> Option<Mode> {
    let Some(word) = fields.take("mode") else {
        fields.fault("mode", FaultCode::Required, "must be live or test");
        return None;
    };
    let mode = word.as_str().and_then(Mode::parse);
    if mode.is_none() {
        fields.fault("mode", FaultCode::InvalidMode, "must be live or test");
    }
    mode
}

fn scopes(fields: &mut Fields<'_>) -> Option<Vec<Scope>> {
    let words = fields.strings("scopes", LIST_MAX);
    let known: Vec<_> = Scope::ALL.iter().map(|scope| scope.name()).collect();
    let Some(words) = words.filter(|words| !words.is_empty()) else {
        if fields.faults.iter().all(|fault| !fault.pointer.starts_with("/scopes")) {
            let detail = format!("must name at least one of {}", known.join(", "));
            fields.fault("scopes", FaultCode::Required, detail);
        }
        return None;
    };
    let mut scopes = Vec::with_capacity(words.len());
    for (index, word) in words.iter().enumerate() {
        match Scope::parse(word) {
            Some(scope) if scopes.contains(&scope) => {}
            Some(scope) => scopes.push(scope),
            None => {
                let detail = format!("must be one of {}", known.join(", "));
                fields.faults.push(Fault::new(format!("/scopes/{index}"), FaultCode::UnknownScope, detail));
            }
        }
    }
    Some(scopes)
}

fn expires_at(fields: &mut Fields<'_>, now: Timestamp) -> Option<Timestamp> {
    let at = fields.instant("expires_at")?;
    if at <= now {
        fields.fault("expires_at", FaultCode::InThePast, "is over");
    }
    Some(at)
}

/// Domains as A-labels; what is not given is as the caller's.
fn from_domains(fields: &mut Fields<'_>, own: Option<&[String]>) -> Option<Vec<String>> {
    let Some(texts) = listed(fields, "from_domains") else { return own.map(<[String]>::to_vec) };
    let mut domains = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let pointer = format!("/from_domains/{index}");
        match Address::parse(&format!("postmaster@{text}")) {
            Err(_) => {
                fields.faults.push(Fault::new(pointer, FaultCode::InvalidDomain, "must be a domain, as in an address"));
            }
            Ok(address) => {
                let domain = address.domain().to_ascii_lowercase();
                if own.is_some_and(|own| !own.contains(&domain)) {
                    let detail = "is none of the domains of this credential";
                    fields.faults.push(Fault::new(pointer, FaultCode::BeyondOwn, detail));
                } else if !domains.contains(&domain) {
                    domains.push(domain);
                }
            }
        }
    }
    Some(domains)
}

/// Networks; what is not given is as the caller's.
fn allowed_ips(fields: &mut Fields<'_>, own: Option<&[IpNet]>) -> Option<Vec<IpNet>> {
    let Some(texts) = listed(fields, "allowed_ips") else { return own.map(<[IpNet]>::to_vec) };
    let mut networks = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let pointer = format!("/allowed_ips/{index}");
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse().ok().map(|ip: std::net::IpAddr| ip.into()));
        match network.map(|network| network.trunc()) {
            None => {
                let detail = "must be a network such as 192.0.2.0/24, or an address";
                fields.faults.push(Fault::new(pointer, FaultCode::InvalidNetwork, detail));
            }
            Some(network) if own.is_some_and(|own| !is_inside(&network, own)) => {
                let detail = "is outside of the networks of this credential";
                fields.faults.push(Fault::new(pointer, FaultCode::BeyondOwn, detail));
            }
            Some(network) => networks.push(network),
        }
    }
    Some(networks)
}

fn is_inside(network: &IpNet, own: &[IpNet]) -> bool {
    own.iter().any(|own| own.contains(network))
}

/// A list that narrows: an empty one would be read as no limit by some, and as nothing at all by others.
fn listed(fields: &mut Fields<'_>, name: &'static str) -> Option<Vec<String>> {
    let texts = fields.strings(name, LIST_MAX)?;
    if texts.is_empty() {
        fields.fault(name, FaultCode::Required, "must name at least one, or be left out");
    }
    Some(texts)
}
