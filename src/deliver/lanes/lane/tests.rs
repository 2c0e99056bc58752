//! Who may follow on another's session.

use uuid::Uuid;

use super::*;
use crate::deliver::lanes::Pauses;
use crate::domain::address::Address;
use crate::domain::envelope::Needs;
use crate::domain::id::ProjectId;
use crate::domain::lease::Lease;
use crate::domain::reverse_path::ReversePath;
use crate::domain::route::TlsPolicy;
use crate::domain::shard::Shard;
use crate::domain::target::TlsBasis;
use crate::queue::{InHand, Revocation};

fn target() -> Arc<Target> {
    Arc::new(Target {
        host: "mx.example".to_owned(),
        address: "192.0.2.1:25".parse().unwrap(),
        preference: 0,
        tls: TlsPolicy::None,
        basis: TlsBasis::Route,
        tlsa: None,
        credentials: None,
    })
}

/// A lane with one connection.
fn narrow() -> Arc<Lane> {
    let limits = Limits {
        connections: 1,
        connection_rate: None,
        message_rate: None,
        messages_per_connection: 100,
        idle: Duration::from_secs(1),
    };
    let pauses = Pauses { first: Duration::from_secs(1), longest: Duration::from_secs(1) };
    let control = Control::new(limits, ProcessShare::ALONE, pauses, 0, true, Instant::now());
    let key = LaneKey { group: "mx.example".to_owned(), source: "system".to_owned() };
    Arc::new(Lane::new(key, None, control, 0, (Sockets::new(8), 1024)))
}

fn lease(n: u128) -> Lease {
    Lease { shard: Shard::of_low_bits(0), id: Uuid::from_u128(n), token: Uuid::from_u128(n), attempt: 1 }
}

fn offer(gate: Arc<Gate>, recipient: &str) -> Offer {
    let envelope = Envelope {
        reverse_path: ReversePath::Null,
        recipient: Address::parse(recipient).unwrap(),
        size: 1,
        needs: Needs::default(),
        id: "x".to_owned(),
    };
    Offer { envelope, targets: vec![target()], gate }
}

const LEFT: Duration = Duration::from_hours(1);

fn standing(priority: i16) -> Standing {
    Standing { priority, project: ProjectId::from_uuid(Uuid::nil()) }
}

#[tokio::test]
async fn one_that_was_revoked_is_passed_over_and_one_whose_envelope_left_has_begun() {
    let (lane, in_hand) = (narrow(), InHand::default());
    let Grant::Slot { slot, .. } = lane.turn(standing(1), false, LEFT, || None).await else { panic!("the only slot") };
    let mut waiting = Vec::new();
    for (n, recipient) in [(1, "revoked@x.example"), (2, "follows@x.example")] {
        let gate = in_hand.insert(lease(n)).unwrap();
        let lane = Arc::clone(&lane);
        waiting
            .push(Box::pin(async move { lane.turn(standing(1), false, LEFT, || Some(offer(gate, recipient))).await }));
        assert!(futures_util::poll!(waiting.last_mut().unwrap()).is_pending());
    }
    assert_eq!(in_hand.revoke(lease(1).id), Revocation::Revoked);
    let facts = SessionFacts { target: target(), transactions: 1 };
    let (envelope, _follower) = lane.follower(&facts).expect("the second follows");
    assert_eq!(envelope.recipient.to_string(), "follows@x.example");
    assert_eq!(in_hand.revoke(lease(2).id), Revocation::Begun, "its envelope is under way");
    assert!(lane.follower(&facts).is_none(), "and the first never follows");
    drop(slot);
}

#[tokio::test]
async fn what_a_person_waits_for_waits_for_what_is_on_the_wire_alone() {
    let lane = narrow();
    let Grant::Slot { slot, .. } = lane.turn(standing(2), false, LEFT, || None).await else { panic!("the only slot") };
    let mut low: Vec<_> = (0..3).map(|_| Box::pin(lane.turn(standing(2), false, LEFT, || None))).collect();
    for one in &mut low {
        assert!(futures_util::poll!(one).is_pending());
    }
    let mut high = Box::pin(lane.turn(standing(0), false, LEFT, || None));
    assert!(futures_util::poll!(&mut high).is_pending());
    drop(slot);
    let std::task::Poll::Ready(Grant::Slot { slot, .. }) = futures_util::poll!(&mut high) else { panic!("the next") };
    assert!(futures_util::poll!(&mut low[0]).is_pending());
    drop(slot);
    assert!(futures_util::poll!(&mut low[0]).is_ready(), "then who came first");
}
