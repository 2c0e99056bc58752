//! Which messages a list looks at: of ids, an address or a batch; where something may be found of what it is narrowed to; or all, newest first.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::blocks::{BLOCK, Wanted};
use super::listing::MessageFilter;
use super::terms::{Term, Terms};
use crate::domain::id::{MessageId, ProjectId};
use crate::store::schema::partitions::first_id_at;
use crate::store::{Store, StoreError, on_pool};

/// What a list is narrowed to, and up to which id it is known where that may be.
pub(super) struct Narrowed {
    wanted: Wanted,
    known_to: Uuid,
}

/// Messages that a step looks at.
pub(super) struct Candidates {
    pub ids: Vec<Uuid>,
    /// The next step looks at what is older; `None`: it is the last one.
    pub last: Option<MessageId>,
}

impl Store {
    /// What a list is narrowed to, if that is anything that is known of blocks, and there are any.
    pub(super) async fn narrow(
        &self,
        project: ProjectId,
        filter: &MessageFilter,
    ) -> Result<Option<Narrowed>, StoreError> {
        let Some(wanted) = filter.wanted(project) else { return Ok(None) };
        Ok(self.blocks_end(project).await?.map(|known_to| Narrowed { wanted, known_to }))
    }

    /// The messages that a step looks at, newest first in steps: of ids, an address or a batch as they were given; or where something may be found; or all.
    pub(super) async fn list_candidates(
        &self,
        project: ProjectId,
        filter: &MessageFilter,
        narrowed: Option<&Narrowed>,
        before: Option<MessageId>,
        step: i64,
    ) -> Result<Candidates, StoreError> {
        let (first, end) = bounds(filter, before);
        let span = (first, Uuid::from_u128(end.as_u128().saturating_sub(1)));
        let domain_of = |to: &str| to.rsplit_once('@').map(|(_, domain)| domain.to_owned());
        let address = filter.to.as_deref().and_then(|to| Some((to, domain_of(to)?)));
        let ids = match (&filter.ids, address, filter.batch) {
            (Some(ids), ..) => {
                let ids = ids.iter().map(|id| id.uuid()).filter(|id| (first..end).contains(id)).collect();
                return Ok(Candidates { ids, last: None });
            }
            (None, Some((to, domain)), _) => on_pool!(
                self,
                "recipients.list_of_address",
                conn,
                sqlx::query_scalar!(
                    r#"
                        SELECT DISTINCT r.message_id FROM recipients r
                        WHERE r.project_id = $1 AND split_part(r.address, '@', -1) = $2 AND lower(r.address) = lower($3)
                          AND r.message_id >= $4 AND r.message_id < $5
                        ORDER BY r.message_id DESC LIMIT $6
                        "#,
                    project.uuid(),
                    domain,
                    to,
                    first,
                    end,
                    step,
                )
                .fetch_all(conn)
            )?,
            (None, None, Some(batch)) => on_pool!(
                self,
                "messages.list_of_batch",
                conn,
                sqlx::query_scalar!(
                    r#"
                    SELECT id FROM messages WHERE project_id = $1 AND batch_id = $2 AND id >= $3 AND id < $4
                    ORDER BY id DESC LIMIT $5
                    "#,
                    project.uuid(),
                    batch.uuid(),
                    first,
                    end,
                    step,
                )
                .fetch_all(conn)
            )?,
            (None, None, None) => match narrowed {
                Some(narrowed) if narrowed.known_to >= span.1 => {
                    return self.candidates_in_blocks(project, &narrowed.wanted, span, step).await;
                }
                // Behind the newest, which are in no block, come the blocks.
                Some(Narrowed { known_to, .. }) if *known_to >= first => {
                    let end_of_blocks = following(*known_to);
                    let ids = self.list_ids(project, (end_of_blocks, end), step).await?;
                    if is_short(&ids, step) {
                        return Ok(Candidates { ids, last: Some(MessageId::from_uuid(end_of_blocks)) });
                    }
                    ids
                }
                _ => self.list_ids(project, (first, end), step).await?,
            },
        };
        let last = ids.last().filter(|_| !is_short(&ids, step)).map(|id| MessageId::from_uuid(*id));
        Ok(Candidates { ids, last })
    }

    async fn list_ids(
        &self,
        project: ProjectId,
        (first, end): (Uuid, Uuid),
        step: i64,
    ) -> Result<Vec<Uuid>, StoreError> {
        on_pool!(
            self,
            "messages.list_ids",
            conn,
            sqlx::query_scalar!(
                "SELECT id FROM messages WHERE project_id = $1 AND id >= $2 AND id < $3 ORDER BY id DESC LIMIT $4",
                project.uuid(),
                first,
                end,
                step,
            )
            .fetch_all(conn)
        )
    }

    async fn candidates_in_blocks(
        &self,
        project: ProjectId,
        wanted: &Wanted,
        span: (Uuid, Uuid),
        step: i64,
    ) -> Result<Candidates, StoreError> {
        let limit = usize::try_from(step).unwrap_or(0).div_ceil(BLOCK);
        let blocks = self.find_blocks(project, wanted, span, limit).await?;
        let ids = self.ids_in_blocks(project, &blocks, span).await?;
        let oldest = blocks.last().filter(|_| blocks.len() == limit);
        Ok(Candidates { ids, last: oldest.map(|block| MessageId::from_uuid(following(block.after))) })
    }
}

fn is_short(ids: &[Uuid], step: i64) -> bool {
    i64::try_from(ids.len()).is_ok_and(|count| count < step)
}

fn following(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_add(1))
}

/// The ids that a list looks at: from the first on, before the second.
pub(super) fn bounds(filter: &MessageFilter, before: Option<MessageId>) -> (Uuid, Uuid) {
    let first = filter.since.map_or(Uuid::nil(), first_id_at);
    let until = filter.until.map_or(Uuid::max(), first_id_at);
    (first, before.map_or(until, |before| until.min(before.uuid())))
}

impl MessageFilter {
    /// What has to be where something can be found. `None`: nothing that is known of blocks.
    fn wanted(&self, project: ProjectId) -> Option<Wanted> {
        let mut terms = Terms::new(project);
        let asked = [
            self.mode.map(|mode| Term::Mode(mode.name())),
            self.from.as_deref().map(Term::From),
            self.tag.as_deref().map(Term::Tag),
            self.domain.as_deref().map(Term::Domain),
            self.credential.as_deref().map(Term::Credential),
            self.message_id.as_deref().map(Term::MessageId),
        ];
        asked.into_iter().flatten().for_each(|term| terms.add(term));
        terms.add_subject(self.q.as_deref().unwrap_or_default());
        let (plain, grams) = (terms.plain(), terms.grams());
        let mut subjects = vec![[&plain[..], &grams].concat()];
        if !grams.is_empty() {
            subjects.push([&plain[..], &[terms.many_subjects()]].concat());
        }
        if self.statuses.is_empty() {
            return (!subjects[0].is_empty()).then_some(Wanted { any: subjects, unsettled: None });
        }
        let states: BTreeSet<_> =
            self.statuses.iter().filter_map(|status| status.term()).map(|term| terms.term(term)).collect();
        let with =
            |subject: &Vec<i64>| states.iter().map(|state| [&subject[..], &[*state]].concat()).collect::<Vec<_>>();
        Some(Wanted { any: subjects.iter().flat_map(with).collect(), unsettled: Some(subjects) })
    }
}
