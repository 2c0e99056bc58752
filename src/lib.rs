//! Mailwright: a self-hosted transactional email service. One binary, one Postgres.
//!
//! A program POSTs JSON to `/v1/send`; the message is validated, stored, delivered over SMTP, and every step
//! comes back by status, by signed webhooks and in metrics. The rooms, in the order in which a message meets
//! them:
//!
//! ```text
//!                                          ┌─────── handover: born leased, in memory ───────┐
//!  POST /v1/send ─► api ─► submit ─► batch writer ─► store ─► queue ─► deliver ─► SMTP sessions
//!                  parse   compose   (1 commit       rows     leases   routing,       │ reply
//!                          sign       for many)                        lane, session  ▼
//!       202 after COMMIT ◄───────────────┘             ▲               classify ─► settler (1 commit for many)
//!                                                      └── state + attempt + event + webhook jobs ◄──┘
//!       your endpoint ◄─ signed POST ◄─ webhook ◄─ queue ◄─ webhook jobs
//! ```
//!
//! `SendRequest → Draft → NewMessage → (rows) → LeasedDelivery → AttemptReport → Settlement → (rows) → LeasedJob`:
//! each stage's output is the next one's only input. Accepting and delivering never call each other; they
//! meet in rows, and for a row that was born leased in the memory of one process as well ([`handover`]). `tests/it/architecture.rs` holds which room may use which.
//!
//! # States
//!
//! A **delivery** is the duty to get one message to one recipient. Its row is in `deliveries` as long as the
//! duty lasts:
//!
//! | from | by | to | written with it |
//! |---|---|---|---|
//! | – | accepting commit, a place is free here | leased, attempt 1 (*born leased*) | message, body, recipient `queued`, event `message.queued` |
//! | – | accepting commit, no place is free | due, ready | the same |
//! | due | its time comes | due, ready | – |
//! | due, ready | claim: attempt + 1, lease | leased (public: `sending`) | – |
//! | leased | 2yz to the final dot | settled `delivered` | attempt, event `message.delivered` |
//! | leased | a refusal that a rule calls final, or a domain that takes no mail | settled `bounced` | attempt, event `message.bounced` |
//! | leased | any other refusal, or trouble before the final dot | due (public: `deferred`) | attempt, event `message.deferred` |
//! | leased | no reply to the final dot | due, later | attempt `uncertain`, event `message.deferred` |
//! | leased | its lane takes nothing for now | due, `held`; the claim does not count as an attempt | – |
//! | leased | last instant passed | settled `expired` | attempt, event `message.expired` |
//! | leased | lease ran out | due | attempt `uncertain`, class `lease_expired` |
//!
//! Settled rows leave the table in the commit that settles them. A settled recipient never changes again.
//! CHECK constraints hold the same law. A webhook job moves likewise: due, leased, and then recorded in
//! `webhook_deliveries` as `succeeded` or `failed`.
//!
//! # What a crash leaves
//!
//! * Before the accepting COMMIT: nothing, and nobody was told anything.
//! * After it: the rows. Whether the 202 went out is the client's question; its idempotency key answers it.
//! * A lease whose process is gone runs out after `queue.lease`; upkeep makes the row due again and records
//!   that nobody knows how the try ended. If the server had taken the message, there is one more copy, byte
//!   for byte the same.
//! * An outcome that was not yet committed is lost with the process: the same case.
//!
//! # Decisions
//!
//! * 2026-11-22 One statement set per batch instead of one statement per message; writers take what waits and
//!   never linger. The first batch under load is small, the next ones fill while it commits.
//! * 2026-11-22 Children of a message are keyed by `(shard, message_id, id)`: one index serves "all of this
//!   message" and "this one", and day partitions by message id stay possible.
//! * 2026-11-22 An event's `sequence` is the attempt's number plus one: a claim ends in one event at most, so
//!   no counter has to be written.
//! * 2026-11-22 Messages without an idempotency key share a shard for 50 ms at a time, so that the rows of a
//!   batch lie together and a claim finds them together.
//! * 2026-11-22 Webhook jobs are chosen by a join inside the settling commit, not from a cache: an endpoint
//!   created a moment ago misses nothing.
//! * 2026-11-22 A final outcome may settle a row whose lease ran out if nobody claimed it since (same attempt
//!   number): the attempt is a fencing token too, and one copy less goes out.
//! * 2026-11-22 The text part of HTML mail is made by our own single pass over the tags: a renderer of full HTML
//!   took 24 s for 100 kB of nested elements. Transfer encodings are always set by us.
//! * 2026-11-22 The console is static pages over the public API; the key stays in the browser's session.
//! * 2026-11-24 The wide tables are in partitions by day of the message's id, made seven days ahead and dropped
//!   whole: deleting row by row would cost as much as writing. A day with anything unsettled stays whole. Days are
//!   detached concurrently, since a plain detach would queue every writer behind the longest reader. Statements
//!   over a batch name the least and the greatest message id, so that other days' partitions are never opened.
//! * 2026-11-24 Deliveries are born leased while places are free: one insert and one settle, no claim and no read
//!   in between (530 → 300 µs of CPU for a message's whole life). Places are counted by lane and by project with
//!   dynamic thresholds instead of constants, and never given to fresh mail while older rows wait for them.
//! * 2026-11-24 What waits is either not ready or ready. Claims walk the ready index from one (project, next hop) to
//!   the next, in all shards that may have something at once, and a pure function shares a claim's size among them: fairness
//!   and priority hold over the whole queue, with `max_shards_per_tx = 1` within a shard; before, 100,000 due rows of a full lane cost
//!   0.4 s per empty claim.
//! * 2026-11-24 Accepting and settling are one statement each: a round trip for each of seven tables cost more than the
//!   rows (214 → 171 µs). On a distributed Postgres such statements are to be measured anew.
//! * 2026-11-24 A batch under eight messages goes on filling while another task commits, at most 5 ms: commits are
//!   larger at moderate rates, and nothing waits while nobody commits.
//! * 2026-11-24 Outcomes wait up to 5 ms for others, so that settling commits are as large as accepting ones.
//! * 2026-11-24 A small message follows its envelope as one BDAT chunk where the server offers CHUNKING and was
//!   heard within the last second: one round trip a message instead of two. A session that breaks then leaves the
//!   message uncertain, as after the final dot; on a session that was quiet the envelope is asked for first.
//! * 2026-11-24 ASCII text with short lines travels as 7bit instead of quoted-printable: nothing on the way can
//!   want to change it, and a third of composing was encoding it.
//! * 2026-11-24 Back-pressure follows a census of the queue, at most 1 % of the time, and never a count on the way in.
//! * 2026-11-24 DKIM signatures are made at accept, before the message is stored, and not at delivery: the stored
//!   bytes are those on the wire, a message to a thousand recipients is signed once, and a retry is byte for
//!   byte the same across a change of keys.
//! * 2026-11-25 A lane is a next hop (MX group or smarthosts) from one source address. The TLS policy is part of a
//!   session's identity instead of the lane's: so a connection limit holds over all policies, and one domain whose
//!   certificate is bad does not pause the others that share its hosts.
//! * 2026-11-25 Idle sessions count as connections. One is kept in its slot's place in one step, and closed, to the server's
//!   end of it, before a new one is made over the limit: an operator's limit is never passed, not even for a moment.
//! * 2026-11-25 What a lane cannot take for now is *held*: put off without a try and without an attempt, with its reason in
//!   the row; and its next hop is curbed where claims are shared out, so that a dead destination's backlog costs nothing.
//! * 2026-11-25 A dead next hop is paused from 1 s on, growing by half, and probed by one delivery: short pauses cost one
//!   connection each, and mail flows again within the pause when it returns. Its window then starts from one.
//! * 2026-11-25 Processes divide limits by who lives: a row each, a beat a second. A new one waits until all others have seen it.
//! * 2026-11-25 What replies mean is data with a corpus (`classify/`): many 5yz are rate limits or blocks of the sender.
//!   A 4yz ends a delivery only where a rule itself says so.
//! * 2026-11-25 DANE believes a validating resolver on this machine by its AD bit, as Postfix does, and never its own
//!   eyes: a validator inside the process would be one more thing to defer mail when it errs.
//! * 2026-11-25 MTA-STS policies are stored: they outlive their web server and this process (RFC 8461 §5.1). They are
//!   renewed at half their life. Where the store, or a validating resolver, gives no answer, mail waits: no answer is not
//!   the absence of a policy.
//! * 2026-11-25 A lane that has finished nothing within a minute may have five deliveries in hand, not what its sessions
//!   could bear; and what proven lanes of a project may have exceeds what its others may. A hundred mute domains had
//!   taken the whole share of their project, and its healthy mail stood still for their greeting's deadline.
//! * 2026-11-25 RSET goes before the next MAIL after any refusal, the final dot's included: a real Postfix keeps a
//!   transaction whose message its end-of-data rules refused. When MAIL is refused and DATA is not, the connection is
//!   dropped: the empty message of RFC 2920 §3.1 would go to recipients of the transaction that the server believes in.
//! * 2026-11-25 REQUIRETLS goes to hosts that MTA-STS or DANE vouches for, and to nobody else (RFC 8689 §4.2.1).

// The vocabulary, and what every room may have of the machine.
pub mod domain;

pub mod ambient;
pub mod config;
pub mod shutdown;
pub mod telemetry;
pub mod wake;

// Pure: bytes and rules.
pub mod classify;
pub mod compose;
pub mod shaping;

// The edges: the network, the protocol, the store.
pub mod net;
pub mod smtp;
pub mod store;

// In: who calls, the doors, the one entry.
pub mod auth;

pub mod accounts;
pub mod api;
pub mod console;
pub mod submit;

// Out: hand-over, queue, route, delivery, webhooks, upkeep.
pub mod handover;
pub mod queue;
pub mod routing;

pub mod deliver;
pub mod upkeep;
pub mod webhook;

// The root, and the commands.
pub mod app;

pub mod bench;
pub mod cli;
pub mod cluster;
pub mod terminal;
