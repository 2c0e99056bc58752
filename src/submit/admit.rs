//! Admission: what is asked before anything is composed. Who may send as whom, and whether what is named exists.

use super::submission::Refusal;
use crate::domain::access::{Caller, Mode};
use crate::domain::draft::{Content, Place};
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::id::ProjectId;
use crate::domain::sending_domain::DomainState;
use crate::routing::PolicySnapshot;
use crate::store::accounts::domains::Sender;

/// Refuses what this caller may not send.
pub fn admit(caller: &Caller, content: &Content, plan: &PolicySnapshot) -> Result<(), Refusal> {
    let domain = content.author().domain();
    if !caller.may_send_as(domain) {
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
        Some(pool) if !plan.shaping.has_pool(pool) => {
            let flaw = Flaw::new(FaultCode::UnknownIpPool, format!("there is no pool '{pool}'"));
            Err(Refusal::Unacceptable(Place::IpPool, flaw))
        }
        _ => Ok(()),
    }
}

/// Refuses live mail from a domain that somebody else has proved; and from one that nobody has, or that fell, where a proof
/// is asked for.
pub fn admit_domain(project: ProjectId, domain: &str, sender: &Sender) -> Result<(), Refusal> {
    let refused = |why: String| Err(Refusal::UnverifiedDomain(why));
    match &sender.proved {
        // Projects that held keys of the same domain before it could be proved go on, both of them.
        Some(proved)
            if proved.project != project
                && (sender.must_be_verified || sender.holds.is_none_or(|held| held < proved.name.len())) =>
        {
            refused(format!("{} belongs to another project", proved.name))
        }
        Some(proved) if sender.must_be_verified && proved.state == DomainState::Failed => {
            refused(format!("the records of {} have been wrong for days: see GET /v1/domains", proved.name))
        }
        None if sender.must_be_verified => refused(format!(
            "{domain} is not a verified domain of this project: add it by POST /v1/domains, and publish its records"
        )),
        _ => Ok(()),
    }
}
