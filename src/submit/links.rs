//! Which links of ours a message has, and where they lead.

use std::sync::Arc;

use super::Door;
use super::content::NotMade;
use super::signing::Identity;
use super::submission::Refusal;
use crate::compose::links::{Links, Subscription};
use crate::compose::token::Ring;
use crate::domain::access::Caller;
use crate::domain::draft::{Content, Options, Place, Stream};
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::id::MessageId;
use crate::store::accounts::erasures::address_digest;

impl Door {
    /// The links of a message that asks for any. They lead to the domain's own host if it has one, else to ours; those of
    /// mail that goes nowhere lead to this machine.
    pub(super) fn links(
        &self,
        caller: &Caller,
        identity: &Identity,
        content: &Content,
        (message, ring): (MessageId, &Arc<Ring>),
    ) -> Result<Option<Links>, NotMade> {
        let Content::Draft(draft) = content else { return Ok(None) };
        let options = draft.options();
        if !options.wants_links() {
            return Ok(None);
        }
        let is_live = self.is_live(caller);
        if is_live && options.stream.is_some() && identity.live_keys.is_empty() {
            let domain = content.author().domain();
            return Err(refused(
                options,
                format!("the link must be signed (RFC 8058 §3.1), and {domain} has no DKIM key"),
            ));
        }
        let own = identity.sender.proved.as_ref().filter(|proved| proved.project == caller.project);
        let base = match own.and_then(|proved| proved.link_host.as_ref()).filter(|_| is_live) {
            Some(host) => format!("https://{host}").into(),
            // Whoever tests makes no links that strangers could follow.
            None if !is_live => Arc::clone(&self.parts.local_url),
            None if !self.public_url.is_empty() => Arc::clone(&self.public_url),
            None => {
                return Err(refused(
                    options,
                    "this service has no public address that links could lead to (http.public_url)",
                ));
            }
        };
        let recipients = draft.recipients().distinct();
        let Some(recipient) = recipients.first() else { return Ok(None) };
        Ok(Some(Links {
            base,
            ring: Arc::clone(ring),
            subscription: Subscription {
                mode: caller.mode,
                project: caller.project,
                message,
                address_hash: address_digest(caller.project, &recipient.address.folded()),
                stream: options.stream.as_ref().map(Stream::as_str).unwrap_or_default().to_owned(),
            },
            tracking: options.tracking,
        }))
    }
}

fn refused(options: &Options, detail: impl Into<String>) -> NotMade {
    let place = if options.stream.is_some() { Place::Unsubscribe } else { Place::Tracking };
    NotMade::Refused(Refusal::Unacceptable(place, Flaw::new(FaultCode::Conflict, detail)))
}
