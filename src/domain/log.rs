//! Positions in the event log: where a reader goes on.
//!
//! A cursor is a *snapshot*: the set of transactions whose events were visible when the reader looked. Next come the events
//! of all other transactions that are visible now, however late they committed: a slow commit is never skipped, and no
//! lock puts commits in a row. Within a look, events are in order of (era, transaction, id); a page may end inside a
//! transaction.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Where a reader goes on in the events of one project and shard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogCursor {
    /// What was visible at the last look that was read to its end; `None` at the beginning.
    pub seen: Option<Look>,
    /// The look that is being read, and the last event that was read of it; `None` between two looks.
    pub within: Option<Within>,
}

/// What was visible at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Whose transactions the snapshot names; of earlier eras everything was visible.
    pub era: i16,
    /// A `pg_snapshot` in its text form.
    pub snapshot: String,
}

/// A look that was not read to its end, and how far it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Within {
    pub look: Look,
    pub era: i16,
    pub xid: u64,
    pub id: Uuid,
}

/// A text that is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a cursor that a page of this list returned")]
pub struct NotACursor;

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.era, self.snapshot.replace(':', "-").replace(',', "_"))
    }
}

/// `seen~within`, of letters that a URL holds as they are: a look is `era.snapshot`, what was read of it `.era.xid.id`.
impl fmt::Display for LogCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(seen) = &self.seen {
            write!(f, "{seen}")?;
        }
        match &self.within {
            Some(Within { look, era, xid, id }) => write!(f, "~{look}.{era}.{xid}.{}", id.simple()),
            None => f.write_str("~"),
        }
    }
}

impl FromStr for LogCursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let (seen, within) = text.split_once('~').ok_or(NotACursor)?;
        let some = |text: &str| (!text.is_empty()).then(|| text.split('.').map(str::to_owned).collect::<Vec<_>>());
        Ok(Self {
            seen: some(seen).map(|p| parse_look(&p)).transpose()?,
            within: some(within).map(|p| parse_within(&p)).transpose()?,
        })
    }
}

fn parse_look(parts: &[String]) -> Result<Look, NotACursor> {
    let [era, snapshot] = parts else { return Err(NotACursor) };
    Ok(Look { era: era.parse().map_err(|_| NotACursor)?, snapshot: parse_snapshot(snapshot)? })
}

fn parse_within(parts: &[String]) -> Result<Within, NotACursor> {
    let (look, [era, xid, id]) = parts.split_at_checked(2).ok_or(NotACursor)? else { return Err(NotACursor) };
    Ok(Within {
        look: parse_look(look)?,
        era: era.parse().map_err(|_| NotACursor)?,
        xid: xid.parse().map_err(|_| NotACursor)?,
        id: Uuid::try_parse(id).map_err(|_| NotACursor)?,
    })
}

/// `xmin:xmax:xip,…`, as Postgres writes a `pg_snapshot`.
fn parse_snapshot(text: &str) -> Result<String, NotACursor> {
    let snapshot = text.replace('-', ":").replace('_', ",");
    let mut parts = snapshot.splitn(3, ':');
    let mut number = || parts.next()?.parse::<u64>().ok();
    let (xmin, xmax) = (number().ok_or(NotACursor)?, number().ok_or(NotACursor)?);
    let in_progress = parts.next().ok_or(NotACursor)?;
    let mut last = None;
    for xid in in_progress.split(',').filter(|xid| !xid.is_empty()) {
        let xid: u64 = xid.parse().map_err(|_| NotACursor)?;
        if !(xmin..xmax).contains(&xid) || last.is_some_and(|last| xid <= last) {
            return Err(NotACursor);
        }
        last = Some(xid);
    }
    if xmin > 0 && xmin <= xmax { Ok(snapshot) } else { Err(NotACursor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_and_a_forged_one_is_refused() {
        let look = |snapshot: &str| Look { era: 3, snapshot: snapshot.to_owned() };
        let between = LogCursor { seen: Some(look("10:20:10,14")), within: None };
        let within = Within { look: look("15:21:"), era: 2, xid: 17, id: Uuid::from_u128(5) };
        let first = LogCursor { seen: None, within: Some(within.clone()) };
        for cursor in [LogCursor::default(), between.clone(), first, LogCursor { within: Some(within), ..between }] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in [
            "",
            "1",
            "x.1-2-~",
            "1.10~",
            "1.20-10-~",
            "1.0-1-~",
            "1.10-20-30~",
            "1.10-20-14_12~",
            "1.10-20-.1~",
            "~1.'.1.2.3",
            "~1.10-20-.1.2",
        ] {
            assert_eq!(text.parse::<LogCursor>(), Err(NotACursor), "{text}");
        }
    }
}
