//! Links of ours in a message: to want no more of its kind, and those that are counted. What a link leads to is in the link
//! itself, sealed; so it works for as long as its key is known, and leads nowhere else.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::token::{Purpose, Ring};
use crate::domain::access::Mode;
use crate::domain::draft::Tracking;
use crate::domain::id::{MessageId, ProjectId};

/// Octets of the hash of a destination.
const URL_HASH: usize = 16;
/// Longest destination of a link that is counted, in octets: longer ones stay as they are.
const URL_MAX: usize = 2000;

/// Whose mail a link wants no more of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub mode: Mode,
    pub project: ProjectId,
    pub message: MessageId,
    /// A hash of the address, which another project cannot compare: it is known when the message is gone.
    pub address_hash: [u8; 32],
    pub stream: String,
}

/// The mail that a link was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linked {
    pub message: MessageId,
    /// `None`: mail of before 2026-11-28, whose links do not say it.
    pub project: Option<ProjectId>,
}

/// What makes the links of one message.
#[derive(Debug, Clone)]
pub struct Links {
    /// Scheme and host, without a slash at the end.
    pub base: Arc<str>,
    pub ring: Arc<Ring>,
    /// Without a stream nothing can be unsubscribed from.
    pub subscription: Subscription,
    pub tracking: Tracking,
}

impl Links {
    /// The link that a click, or a POST of RFC 8058, wants no more by.
    pub fn unsubscribe(&self) -> Option<String> {
        let Subscription { mode, project, message, address_hash, stream } = &self.subscription;
        let mut payload = vec![u8::from(*mode == Mode::Test)];
        payload.extend_from_slice(message.uuid().as_bytes());
        payload.extend_from_slice(project.uuid().as_bytes());
        payload.extend_from_slice(address_hash);
        payload.extend_from_slice(stream.as_bytes());
        let token = self.ring.seal(Purpose::Unsubscribe, &payload).filter(|_| !stream.is_empty())?;
        Some(format!("{}/u/{token}", self.base))
    }

    /// The image whose loading says that the message was opened.
    pub fn open(&self) -> Option<String> {
        let Subscription { message, project, .. } = &self.subscription;
        let payload = [&message.uuid().as_bytes()[..], project.uuid().as_bytes()].concat();
        let token = self.ring.seal(Purpose::Open, &payload).filter(|_| self.tracking.opens)?;
        Some(format!("{}/o/{token}.gif", self.base))
    }

    /// The link that is counted, and leads to `url`; `None` for what is left as it is.
    pub fn click(&self, url: &str) -> Option<String> {
        let is_web = ["http://", "https://"]
            .iter()
            .any(|scheme| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        if !self.tracking.clicks || !is_web || url.len() > URL_MAX || url.contains(char::is_control) {
            return None;
        }
        let mut payload = self.subscription.message.uuid().as_bytes().to_vec();
        payload.extend_from_slice(&hash_of(url));
        payload.extend_from_slice(self.subscription.project.uuid().as_bytes());
        let token = self.ring.seal(Purpose::Click, &payload)?;
        Some(format!("{}/c/{token}?u={}", self.base, percent_encoded(url)))
    }
}

/// What a link to want no more says.
pub fn open_unsubscribe(ring: &Ring, token: &str) -> Option<Subscription> {
    let payload = ring.open(Purpose::Unsubscribe, token)?;
    let (mode, rest) = payload.split_first()?;
    let (message, rest) = rest.split_first_chunk::<16>()?;
    let (project, rest) = rest.split_first_chunk::<16>()?;
    let (address_hash, stream) = rest.split_first_chunk::<32>()?;
    Some(Subscription {
        mode: if *mode == 1 { Mode::Test } else { Mode::Live },
        project: ProjectId::from_uuid(uuid::Uuid::from_bytes(*project)),
        message: MessageId::from_uuid(uuid::Uuid::from_bytes(*message)),
        address_hash: *address_hash,
        stream: String::from_utf8(stream.to_vec()).ok()?,
    })
}

/// The mail that an image was in.
pub fn open_image(ring: &Ring, token: &str) -> Option<Linked> {
    let payload = ring.open(Purpose::Open, token)?;
    let (message, project) = payload.split_first_chunk::<16>()?;
    linked(message, project)
}

/// The mail that a link was in, if it was this one that leads there.
pub fn open_click(ring: &Ring, token: &str, url: &str) -> Option<Linked> {
    let payload = ring.open(Purpose::Click, token)?;
    let (message, rest) = payload.split_first_chunk::<16>()?;
    let (hash, project) = rest.split_first_chunk::<URL_HASH>()?;
    linked(message, project).filter(|_| *hash == hash_of(url))
}

fn linked(message: &[u8; 16], project: &[u8]) -> Option<Linked> {
    let project = match project {
        [] => None,
        project => Some(ProjectId::from_uuid(uuid::Uuid::from_slice(project).ok()?)),
    };
    Some(Linked { message: MessageId::from_uuid(uuid::Uuid::from_bytes(*message)), project })
}

fn hash_of(url: &str) -> [u8; URL_HASH] {
    let mut hash = [0; URL_HASH];
    hash.copy_from_slice(&digest(&SHA256, url.as_bytes()).as_ref()[..URL_HASH]);
    hash
}

/// As a value of a query (WHATWG URL §1.3).
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len() + 32), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~/:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// Links of a message of its own, for tests.
#[cfg(test)]
pub(super) fn example() -> Links {
    use uuid::Uuid;
    Links {
        base: "https://l.example".into(),
        ring: Arc::new(Ring::of(vec![(1, [1; 32])])),
        subscription: Subscription {
            mode: Mode::Test,
            project: ProjectId::from_uuid(Uuid::from_u128(1)),
            message: MessageId::from_uuid(Uuid::from_u128(2)),
            address_hash: [3; 32],
            stream: "news".to_owned(),
        },
        tracking: Tracking { opens: true, clicks: true },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token<'l>(link: &'l str, way: &str) -> &'l str {
        link.strip_prefix(&format!("https://l.example/{way}/")).unwrap()
    }

    #[test]
    fn a_link_says_what_it_was_made_for_and_nothing_else() {
        let links = example();
        let (unsubscribe, open) = (links.unsubscribe().unwrap(), links.open().unwrap());
        assert_eq!(open_unsubscribe(&links.ring, token(&unsubscribe, "u")), Some(links.subscription.clone()));
        let open = token(&open, "o").strip_suffix(".gif").unwrap();
        let Subscription { message, project, .. } = links.subscription;
        let linked = Some(Linked { message, project: Some(project) });
        assert_eq!(open_image(&links.ring, open), linked);
        assert_eq!(open_unsubscribe(&links.ring, open), None, "a token of another purpose");
        let url = "https://shop.example/a?b=ü&c=1#d";
        let click = links.click(url).unwrap();
        let (click, query) = token(&click, "c").split_once("?u=").unwrap();
        assert_eq!(query, "https://shop.example/a%3Fb%3D%C3%BC%26c%3D1%23d");
        assert_eq!(open_click(&links.ring, click, url), linked);
        let of_before = [&message.uuid().as_bytes()[..], &hash_of(url)].concat();
        let of_before = links.ring.seal(Purpose::Click, &of_before).unwrap();
        assert_eq!(open_click(&links.ring, &of_before, url), Some(Linked { message, project: None }));
        for other in ["https://shop.example/a?b=ü&c=2#d", "https://evil.example/", ""] {
            assert_eq!(open_click(&links.ring, click, other), None, "no open redirect: {other}");
        }
    }

    #[test]
    fn what_is_no_link_of_the_web_is_left_alone() {
        for url in ["mailto:a@b.c", "tel:1", "#top", "/relative", "javascript:x", "{{link}}", "", "https://a\u{7}b"] {
            assert_eq!(example().click(url), None, "{url}");
        }
        assert!(example().click(&format!("https://a.example/{}", "x".repeat(3000))).is_none());
    }
}
