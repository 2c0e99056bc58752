//! Admission: what is asked before anything is composed. Who may send as whom, and whether what is named exists.

use super::signing::Identity;
use super::submission::Refusal;
use crate::domain::access::{Caller, Mode};
use crate::domain::draft::{Content, Place};
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::id::ProjectId;
use crate::domain::sending_domain::DomainState;
use crate::domain::suppression::domain_form;
use crate::routing::PolicySnapshot;
use crate::store::accounts::domains::ProvedDomain;

/// Refuses what this caller may not send.
pub fn admit(caller: &Caller, content: &Content, plan: &PolicySnapshot) -> Result<(), Refusal> {
    let mut shown = content.sender_domains();
    shown.push(content.author().domain());
    if let Some(domain) = shown.into_iter().find(|domain| !caller.may_send_as(domain)) {
        return Err(Refusal::ForeignDomain(domain.to_owned()));
    }
    let (count, most) = (content.recipient_count(), caller.project_limits.recipients_per_message);
    if let Some(most) = most.filter(|most| count as u64 > u64::from(*most)) {
        let detail = format!("{count} recipients; the project's limit is {most}");
        return Err(Refusal::Unacceptable(Place::Recipients, Flaw::new(FaultCode::TooManyRecipients, detail)));
    }
    if content.options().script.is_some() && caller.mode == Mode::Live {
        let flaw = Flaw::new(FaultCode::InvalidMode, "only mail of a test key is played: live mail meets real servers");
        return Err(Refusal::Unacceptable(Place::Sandbox, flaw));
    }
    match &content.options().demand.ip_pool {
        Some(pool) if !plan.shaping.has_pool(pool, caller.project) => {
            let flaw = Flaw::new(FaultCode::UnknownIpPool, format!("there is no pool '{pool}'"));
            Err(Refusal::Unacceptable(Place::IpPool, flaw))
        }
        _ => Ok(()),
    }
}

/// Refuses a domain that somebody else has proved. Projects that held keys of the same domain before it could be proved go on.
pub fn admit_owner(project: ProjectId, identity: &Identity) -> Result<(), Refusal> {
    match &identity.sender.proved {
        Some(proved) if proved.project != project => {
            let holds = identity.keys.first().is_some_and(|key| key.domain().len() >= proved.name.len());
            if holds { Ok(()) } else { Err(of_another(proved)) }
        }
        _ => Ok(()),
    }
}

/// Refuses what [`admit_owner`] does; and, where a proof is asked for, a domain that the project has not proved, or that fell.
pub fn admit_author(project: ProjectId, domain: &str, identity: &Identity) -> Result<(), Refusal> {
    admit_owner(project, identity)?;
    if !identity.sender.must_be_verified {
        return Ok(());
    }
    match &identity.sender.proved {
        Some(proved) if proved.project != project => Err(of_another(proved)),
        Some(proved) if proved.state == DomainState::Failed => Err(Refusal::UnverifiedDomain(format!(
            "the records of {} have been wrong for days: see GET /v1/domains",
            proved.name
        ))),
        Some(_) => Ok(()),
        None => Err(Refusal::UnverifiedDomain(format!(
            "{domain} is not a verified domain of this project: add it by POST /v1/domains, and publish its records"
        ))),
    }
}

/// Refuses a recipient that the project's live mail may not go to.
pub fn admit_recipients(content: &Content, identity: &Identity) -> Result<(), Refusal> {
    let Some(allowed) = &identity.sender.allowed_recipients else { return Ok(()) };
    let is_allowed = |folded: &str| {
        let domain = domain_form(folded);
        allowed.iter().any(|entry| *entry == folded || *entry == domain)
    };
    match content.recipients().into_iter().find(|address| !is_allowed(&address.folded())) {
        None => Ok(()),
        Some(address) => {
            let detail =
                format!("the project's mail goes to the recipients that its operator allows, and {address} is none");
            Err(Refusal::Unacceptable(Place::Recipients, Flaw::new(FaultCode::ForbiddenAddress, detail)))
        }
    }
}

fn of_another(proved: &ProvedDomain) -> Refusal {
    Refusal::UnverifiedDomain(format!("{} belongs to another project", proved.name))
}
