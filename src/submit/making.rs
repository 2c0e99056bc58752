//! From what is wanted to what is stored: one message, composed and signed, or its request where it is to be sent later.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::content::{self, Final, NotMade, Stamping};
use super::places::Ranks;
use super::pools::Counted;
use super::release::Due;
use super::signing::Identity;
use super::{Door, WriteError, admit};
use crate::compose::return_path;
use crate::compose::token::Ring;
use crate::config::ReturnPathStyle;
use crate::domain::access::{Caller, Mode};
use crate::domain::address::Address;
use crate::domain::clock::Timestamp;
use crate::domain::draft::{Content, Expiry};
use crate::domain::id::{BatchId, MessageId, ProjectId, RecipientId};
use crate::domain::message::{
    Idempotency, NewItem, NewMessage, NewRecipient, NewScheduled, ScheduledRecipient, ScheduledSummary,
};
use crate::domain::recipient::RecipientStatus;
use crate::domain::reverse_path::ReversePath;
use crate::domain::shard::Shard;
use crate::request::write::write;

/// What is the same for all messages of an item.
#[derive(Debug, Clone)]
pub struct Making<'d> {
    pub shard: Shard,
    pub now: Timestamp,
    pub batch: Option<BatchId>,
    /// The caller's own key.
    pub key: Option<String>,
    pub send_at: Option<Timestamp>,
    /// The message was scheduled, and its time has come.
    pub due: Option<&'d Due>,
    /// Nothing will be stored, and nothing counts.
    pub is_rehearsal: bool,
}

impl Making<'_> {
    pub const fn at(shard: Shard, now: Timestamp) -> Self {
        Self { shard, now, batch: None, key: None, send_at: None, due: None, is_rehearsal: false }
    }

    pub fn rehearsal(shard: Shard, now: Timestamp) -> Self {
        Self { is_rehearsal: true, ..Self::at(shard, now) }
    }
}

/// A message, ready to be stored.
pub struct MadeMessage {
    pub message: NewMessage,
    /// It is to be sent later, and this is stored of it.
    pub scheduled: Option<NewScheduled>,
    /// What it counts as, once it is stored.
    pub counted: Option<Counted>,
}

/// What would be sent.
#[derive(Debug)]
pub struct Rehearsed {
    pub from: String,
    pub subject: String,
    pub size: usize,
    pub expires_at: Option<Timestamp>,
    /// The lanes of its recipients, in order.
    pub next_hops: Vec<String>,
    pub raw: Arc<Vec<u8>>,
}

impl Rehearsed {
    pub(super) fn of(message: &NewMessage) -> Self {
        Self {
            from: message.author.clone(),
            subject: message.subject.clone(),
            size: message.raw.len(),
            expires_at: message.expires_at,
            next_hops: message.recipients.iter().map(|recipient| recipient.next_hop.clone()).collect(),
            raw: Arc::clone(&message.raw),
        }
    }
}

/// The item that these messages make, and what they count as.
pub fn item_of(made: Vec<MadeMessage>, key: Option<Idempotency>) -> (NewItem, Vec<Counted>) {
    let (mut item, mut counted) = (NewItem { key, ..NewItem::default() }, Vec::new());
    for made in made {
        counted.extend(made.counted);
        match made.scheduled {
            Some(scheduled) => item.scheduled.push(scheduled),
            None => item.messages.push(made.message),
        }
    }
    (item, counted)
}

impl Door {
    /// One message, ready to be stored.
    pub(super) async fn make(
        &self,
        caller: &Caller,
        content: Content,
        making: &Making<'_>,
    ) -> Result<MadeMessage, NotMade> {
        let now = making.now;
        let send_at = making.send_at.filter(|at| *at > now);
        // What is sent later is asked for again then, by nobody's key: one for some domains alone chooses now.
        let mut content = content;
        let chooses_later = send_at.is_some() && caller.from_domains.is_none();
        let mut request = chooses_later.then(|| zipped(&content));
        let plan = self.parts.traffic.plan();
        // What is chosen counts.
        let counts = !making.is_rehearsal && !chooses_later;
        let (identity, counted) = self.identified_from_pool(caller, &mut content, &plan, counts).await?;
        if send_at.is_some() && !chooses_later {
            content.options_mut().domain_pool = None;
            request = Some(zipped(&content));
        }
        // Mail of a test key leaves nowhere: what would make it the project's own is not lent to it.
        let keys = match caller.mode {
            Mode::Test => Arc::default(),
            Mode::Live if self.is_live(caller) => Arc::clone(&identity.live_keys),
            Mode::Live => Arc::clone(&identity.keys),
        };
        // A message lies in the day on which it is sent.
        let mint = || MessageId::new_in(making.shard, send_at.unwrap_or(now), &*self.parts.rng);
        let id = making.due.map_or_else(mint, |due| due.stored.id);
        let ring = self.ring(caller, &identity, &content).await?;
        let links = self.links(caller, &identity, &content, (id, &ring))?;
        let stamp = Stamping { id, now, links };
        let made = content::finish(content, &self.signing, keys, stamp, self.message_limit).await?;
        let Final { sender, author, message_id, subject, reverse_path, recipients, options, raw } = made;
        let mut ranks = Ranks::default();
        let message_of = id;
        let known =
            |at: usize| making.due.and_then(|due| due.stored.summary.recipients.get(at)).map(|recipient| recipient.id);
        let recipients = recipients.into_iter().enumerate().map(|(at, recipient)| {
            let id = known(at)
                .unwrap_or_else(|| RecipientId::new_in(making.shard, send_at.unwrap_or(now), &*self.parts.rng));
            NewRecipient {
                id,
                kind: recipient.kind,
                places: ranks.column(recipient.kind, &recipient.places),
                next_hop: plan.next_hop(caller.mode, caller.project, &recipient.address),
                address: recipient.address,
                return_path: reverse_path
                    .clone()
                    .or_else(|| self.return_path(caller, &identity, (message_of, &ring), at)),
                status: RecipientStatus::Queued,
                suppressed: None,
            }
        });
        let (last, expires_at) = (now + self.lifetime, options.expires_at.map(Expiry::instant));
        let message = NewMessage {
            id,
            project: caller.project,
            mode: caller.mode,
            sender,
            author,
            message_id,
            subject,
            recipients: recipients.collect(),
            tags: options.tags,
            metadata: options.metadata,
            priority: options.priority,
            created_at: making.due.map_or(now, |due| due.stored.created_at),
            expires_at,
            give_up_at: expires_at.map_or(last, |at| at.min(last)),
            demand: options.demand,
            idempotency_key: making.due.map_or_else(|| making.key.clone(), |due| due.stored.key.clone()),
            batch: making.due.map_or(making.batch, |due| due.stored.batch),
            send_at: making.due.map(|due| due.stored.send_at),
            template: options.template,
            credential: match making.due {
                Some(due) => due.stored.summary.credential.clone(),
                None => caller.credential(),
            },
            stream: options.stream,
            script: options.script.map(|script| script.as_str().to_owned()),
            raw,
        };
        let scheduled = send_at.zip(request).map(|(send_at, request)| later(&message, send_at, request));
        Ok(MadeMessage { message, scheduled, counted })
    }
}

impl Door {
    pub(super) fn is_live(&self, caller: &Caller) -> bool {
        caller.mode == Mode::Live && self.is_live
    }

    /// What the project is as the author of a message; refused if that, or where notices go, is another's.
    pub(super) async fn identified(&self, caller: &Caller, content: &Content) -> Result<Arc<Identity>, NotMade> {
        let (project, domain) = (caller.project, content.author().domain());
        if !self.is_live(caller) {
            return Ok(self.signing.identity(project, domain).await?);
        }
        let identity = self.admitted(project, domain).await?;
        // Readers show them as they show the author.
        for sender in content.sender_domains() {
            self.admitted(project, sender).await?;
        }
        admit::admit_recipients(content, &identity).map_err(NotMade::Refused)?;
        // SPF speaks for the domain of notices: it may be another's, below the author's.
        if let Some(path) = content.return_path_domain().filter(|path| *path != domain) {
            let of_path = self.signing.identity(project, path).await?;
            admit::admit_owner(project, &of_path).map_err(NotMade::Refused)?;
        }
        Ok(identity)
    }

    /// What the project is in a domain, if it may send live mail in its name.
    async fn admitted(&self, project: ProjectId, domain: &str) -> Result<Arc<Identity>, NotMade> {
        let identity = self.signing.identity(project, domain).await?;
        if admit::admit_author(project, domain, &identity).is_ok() {
            return Ok(identity);
        }
        let identity = self.signing.identity_anew(project, domain).await?;
        admit::admit_author(project, domain, &identity).map_err(NotMade::Refused)?;
        Ok(identity)
    }

    /// Where notices about live mail of the project's own domain come in.
    fn return_path_host<'i>(&self, caller: &Caller, identity: &'i Identity) -> Option<&'i str> {
        let proved = identity.sender.proved.as_ref().filter(|_| self.takes_reports)?;
        proved.return_path.as_deref().filter(|_| proved.project == caller.project && caller.mode == Mode::Live)
    }

    /// The keys of tokens, for a message that has any.
    async fn ring(&self, caller: &Caller, identity: &Identity, content: &Content) -> Result<Arc<Ring>, NotMade> {
        if self.return_path_host(caller, identity).is_none() && !content.options().wants_links() {
            return Ok(Arc::default());
        }
        Ok(self.parts.tokens.ring().await.map_err(|error| WriteError::from(&error))?)
    }

    /// The envelope sender that says whose a notice is: of live mail, in a domain that is ready to take it.
    fn return_path(
        &self,
        caller: &Caller,
        identity: &Identity,
        (message, ring): (MessageId, &Ring),
        at: usize,
    ) -> Option<ReversePath> {
        let host = self.return_path_host(caller, identity)?;
        let position = match self.return_path_style {
            ReturnPathStyle::Recipient => Some(u16::try_from(at).ok()?),
            ReturnPathStyle::Message => None,
        };
        let local = return_path::local_part(ring, message, position)?;
        Address::parse(&format!("{local}@{host}")).ok().map(ReversePath::Address)
    }
}

/// What is stored of a message that is to be sent later.
fn later(message: &NewMessage, send_at: Timestamp, request: Vec<u8>) -> NewScheduled {
    let recipients = message.recipients.iter().map(|recipient| ScheduledRecipient {
        id: recipient.id,
        email: recipient.address.to_string(),
        kind: recipient.kind.name().to_owned(),
        places: recipient.places.clone(),
    });
    NewScheduled {
        id: message.id,
        project: message.project,
        mode: message.mode,
        send_at,
        created_at: message.created_at,
        expires_at: message.expires_at,
        request,
        summary: ScheduledSummary {
            author: message.author.clone(),
            subject: message.subject.clone(),
            message_id: message.message_id.clone(),
            credential: message.credential.clone(),
            priority: message.priority.rank(),
            size: i32::try_from(message.raw.len()).unwrap_or(i32::MAX),
            metadata: serde_json::to_value(&message.metadata).unwrap_or_default(),
            recipients: recipients.collect(),
        },
        tags: message.tags.clone(),
        idempotency_key: message.idempotency_key.clone(),
        batch: message.batch,
        template: message.template.clone(),
    }
}

/// The request for a message, as it is kept until its time.
fn zipped(content: &Content) -> Vec<u8> {
    let json = serde_json::to_vec(&write(content)).unwrap_or_default();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // A buffer takes what it is given.
    let _ = encoder.write_all(&json);
    encoder.finish().unwrap_or_default()
}
