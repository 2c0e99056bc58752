//! What addresses and domains that are warmed up sent to each receiver today, by all processes together, and how far each has come.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use time::{Date, Duration, Time};

use crate::domain::id::{DomainId, ProjectId};
use crate::domain::warmup::{Batch, DOMAIN_STEPS, Day, Ledger, Pair, Progress, Usage, Warming, WarmupKind};
use crate::store::{Store, StoreError, on_pool};

/// Days for which usage is kept.
const KEPT_DAYS: i32 = 30;

/// For so long how mail fares is looked back at.
const LOOKED_BACK: Duration = Duration::days(30);

fn total(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A day by its numbers: taken, put off, refused, called spam.
fn day(date: Date, numbers: [i64; 4]) -> Day {
    let [messages, deferred, refused, complaints] = numbers.map(total);
    Day { date, messages, deferred, refused, complaints }
}

impl Store {
    /// Tells of what was sent from here what a ledger has, and has it learn what all processes have: of the subjects of that kind named
    /// in `only`, or of all. What could not be told is told next time.
    pub async fn exchange_warmup_usage(
        &self,
        kind: WarmupKind,
        ledger: &Mutex<Ledger>,
        (today, only): (Date, Option<&[String]>),
        processes: u64,
    ) -> Result<(), StoreError> {
        let locked = || ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let batches = locked().take_fresh(today);
        if let Err(error) = self.add_warmup_usage(kind, &batches).await {
            locked().put_back(batches);
            return Err(error);
        }
        let totals = self.list_warmup_usage(kind, today, only).await?;
        locked().learn(today, totals, processes);
        Ok(())
    }

    /// Adds what subjects of a kind sent to receivers.
    async fn add_warmup_usage(&self, kind: WarmupKind, batches: &[Batch]) -> Result<(), StoreError> {
        let sent: Vec<_> = batches.iter().flat_map(|(day, sent)| sent.iter().map(move |one| (*day, one))).collect();
        if sent.is_empty() {
            return Ok(());
        }
        let of = |number: fn(&Usage) -> i64| sent.iter().map(|(_, (_, usage))| number(usage)).collect::<Vec<_>>();
        on_pool!(
            self,
            "warmups.add_usage",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO warmup_days AS w (kind, day, subject, receiver, messages, accepted, deferred, refused)
                SELECT $1, s.* FROM unnest($2::date[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
                    AS s (day, subject, receiver, messages, accepted, deferred, refused) ORDER BY s.day, s.subject, s.receiver
                ON CONFLICT (kind, day, subject, receiver) DO UPDATE SET messages = w.messages + EXCLUDED.messages,
                    accepted = w.accepted + EXCLUDED.accepted, deferred = w.deferred + EXCLUDED.deferred,
                    refused = w.refused + EXCLUDED.refused
                "#,
                kind.name(),
                &sent.iter().map(|(day, _)| *day).collect::<Vec<_>>(),
                &sent.iter().map(|(_, ((subject, _), _))| subject.clone()).collect::<Vec<_>>(),
                &sent.iter().map(|(_, ((_, receiver), _))| receiver.clone()).collect::<Vec<_>>(),
                &of(|usage| usage.messages),
                &of(|usage| usage.accepted),
                &of(|usage| usage.deferred),
                &of(|usage| usage.refused),
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// A day's messages of all processes, of the subjects named in `only` or of all of that kind.
    pub async fn list_warmup_usage(
        &self,
        kind: WarmupKind,
        day: Date,
        only: Option<&[String]>,
    ) -> Result<HashMap<Pair, u64>, StoreError> {
        let rows = on_pool!(
            self,
            "warmups.list_usage",
            conn,
            sqlx::query!(
                r#"
                SELECT subject, receiver, messages FROM warmup_days
                WHERE kind = $1 AND day = $2 AND ($3::text[] IS NULL OR subject = ANY($3))
                "#,
                kind.name(),
                day,
                only,
            )
            .fetch_all(conn)
        )?;
        Ok(rows.into_iter().map(|row| ((row.subject, row.receiver), total(row.messages))).collect())
    }

    /// Judges the days before `today` of source addresses; returns how far each has come with each receiver.
    pub async fn judge_addresses(
        &self,
        warming: &[Warming],
        today: Date,
    ) -> Result<HashMap<Pair, Progress>, StoreError> {
        let subjects: Vec<_> = warming.iter().map(|one| one.subject.clone()).collect();
        let rows = on_pool!(
            self,
            "warmups.address_days",
            conn,
            sqlx::query!(
                r#"
                SELECT day, subject, receiver, accepted, deferred, refused FROM warmup_days
                WHERE kind = 'address' AND subject = ANY($1) AND day < $2 AND accepted + deferred + refused > 0 ORDER BY day
                "#,
                &subjects,
                today,
            )
            .fetch_all(conn)
        )?;
        let days = rows
            .into_iter()
            .map(|row| ((row.subject, row.receiver), day(row.day, [row.accepted, row.deferred, row.refused, 0])));
        self.judge(WarmupKind::Address, warming, days.collect()).await
    }

    /// The same of domains of a project, by how their mail fared.
    pub async fn judge_domains(
        &self,
        project: ProjectId,
        domains: &[DomainId],
        today: Date,
    ) -> Result<HashMap<Pair, Progress>, StoreError> {
        let ids: Vec<_> = domains.iter().map(|domain| domain.uuid()).collect();
        let midnight = today.with_time(Time::MIDNIGHT).assume_utc();
        let rows = on_pool!(
            self,
            "warmups.domain_days",
            conn,
            sqlx::query!(
                r#"
                SELECT (o.hour AT TIME ZONE 'UTC')::date AS "day!", d.id, o.receiver, sum(o.accepted)::bigint AS "accepted!",
                    sum(o.deferred)::bigint AS "deferred!", sum(o.refused)::bigint AS "refused!",
                    sum(o.complaints)::bigint AS "complaints!"
                FROM domains d JOIN outcomes o ON o.project_id = $1 AND o.domain = d.name AND o.hour < $3 AND o.hour >= $4
                WHERE d.project_id = $1 AND d.id = ANY($2)
                GROUP BY 1, 2, 3 ORDER BY 1
                "#,
                project.uuid(),
                &ids,
                midnight,
                midnight - LOOKED_BACK,
            )
            .fetch_all(conn)
        )?;
        let days = rows.into_iter().map(|row| {
            let pair = (DomainId::from_uuid(row.id).to_string(), row.receiver);
            (pair, day(row.day, [row.accepted, row.deferred, row.refused, row.complaints]))
        });
        let warming = domains.iter().map(|domain| Warming {
            subject: domain.to_string(),
            since: None,
            steps: DOMAIN_STEPS.to_vec(),
        });
        let warming: Vec<_> = warming.collect();
        self.judge(WarmupKind::Domain, &warming, days.collect()).await
    }

    /// Adds what follows from days to how far subjects have come. Whoever judged a day first has judged it for all.
    async fn judge(
        &self,
        kind: WarmupKind,
        warming: &[Warming],
        days: Vec<(Pair, Day)>,
    ) -> Result<HashMap<Pair, Progress>, StoreError> {
        let by_subject: HashMap<_, _> = warming.iter().map(|one| (one.subject.as_str(), one)).collect();
        let subjects: Vec<_> = warming.iter().map(|one| one.subject.clone()).collect();
        // What was learnt of an address before its first day was learnt of another's.
        let counts = |pair: &Pair, date: Option<Date>| {
            by_subject.get(pair.0.as_str()).is_some_and(|one| one.since.is_none_or(|since| date >= Some(since)))
        };
        let known = async || -> Result<HashMap<Pair, Progress>, StoreError> {
            let mut known = self.list_warmups(kind, &subjects).await?;
            known.retain(|pair, progress| counts(pair, progress.judged));
            Ok(known)
        };
        let before = known().await?;
        let mut by_pair: BTreeMap<Pair, Vec<Day>> = BTreeMap::new();
        for (pair, day) in days.into_iter().filter(|(pair, day)| counts(pair, Some(day.date))) {
            by_pair.entry(pair).or_default().push(day);
        }
        let mut moved: Vec<(Pair, Progress)> = Vec::new();
        for (pair, days) in by_pair {
            let Some(one) = by_subject.get(pair.0.as_str()) else { continue };
            let stood = before.get(&pair).copied().unwrap_or_default();
            let after = stood.after(&days, &one.steps);
            if after != stood {
                moved.push((pair, after));
            }
        }
        if moved.is_empty() {
            return Ok(before);
        }
        on_pool!(
            self,
            "warmups.judge",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO warmups AS w (kind, subject, receiver, step, judged)
                SELECT $1, n.* FROM unnest($2::text[], $3::text[], $4::smallint[], $5::date[]) AS n (subject, receiver, step, judged)
                ORDER BY n.subject, n.receiver
                ON CONFLICT (kind, subject, receiver) DO UPDATE SET step = EXCLUDED.step, judged = EXCLUDED.judged
                WHERE w.judged < EXCLUDED.judged
                "#,
                kind.name(),
                &moved.iter().map(|((subject, _), _)| subject.clone()).collect::<Vec<_>>(),
                &moved.iter().map(|((_, receiver), _)| receiver.clone()).collect::<Vec<_>>(),
                &moved.iter().map(|(_, to)| i16::try_from(to.step).unwrap_or(i16::MAX)).collect::<Vec<_>>(),
                &moved.iter().filter_map(|(_, to)| to.judged).collect::<Vec<_>>(),
            )
            .execute(conn)
        )?;
        known().await
    }

    /// How far subjects have come with each receiver.
    pub async fn list_warmups(
        &self,
        kind: WarmupKind,
        subjects: &[String],
    ) -> Result<HashMap<Pair, Progress>, StoreError> {
        let rows = on_pool!(
            self,
            "warmups.list",
            conn,
            sqlx::query!(
                "SELECT subject, receiver, step, judged FROM warmups WHERE kind = $1 AND subject = ANY($2)",
                kind.name(),
                subjects,
            )
            .fetch_all(conn)
        )?;
        let progress = |step: i16, judged| Progress { step: step.unsigned_abs(), judged: Some(judged) };
        Ok(rows.into_iter().map(|row| ((row.subject, row.receiver), progress(row.step, row.judged))).collect())
    }

    /// Removes what was sent on days that are long over.
    pub async fn prune_warmups(&self) -> Result<u64, StoreError> {
        let done = on_pool!(
            self,
            "warmups.prune",
            conn,
            sqlx::query!(
                r#"
                WITH forgotten AS (DELETE FROM warmups WHERE judged < CURRENT_DATE - $1::int - 1)
                DELETE FROM warmup_days WHERE day < CURRENT_DATE - $1::int
                "#,
                KEPT_DAYS,
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected())
    }
}
