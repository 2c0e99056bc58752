//! The dialogue against scripted servers, as tables of what is said.

use super::*;
use crate::domain::address::Address;
use crate::domain::envelope::Needs;
use crate::domain::reverse_path::ReversePath;

/// Plays `replies` against a dialogue; returns what was sent and how it ended. Each `S` reply answers the
/// oldest unanswered command.
struct Play {
    dialogue: Dialogue,
    sent: Vec<String>,
}

fn reply(text: &str) -> RawReply {
    let lines: Vec<&str> = text.split('|').collect();
    RawReply {
        code: lines[0][..3].parse().unwrap(),
        lines: lines.iter().map(|l| l.get(4..).unwrap_or("").to_owned()).collect(),
    }
}

impl Play {
    fn new(tls: TlsPolicy, credentials: Option<(&str, &str)>) -> Self {
        let credentials = credentials.map(|(u, p)| Credentials { username: u.to_owned(), password: p.to_owned() });
        Self { dialogue: Dialogue::new("me.example", tls, credentials), sent: Vec::new() }
    }

    fn hear(&mut self, replies: &[&str]) -> Action {
        let mut last = Action::Read;
        for text in replies {
            last = self.dialogue.on_reply(&reply(text));
            self.note(&last);
        }
        last
    }

    fn note(&mut self, action: &Action) {
        if let Action::Send(bytes) | Action::SendChunk(bytes) = action {
            self.sent.push(String::from_utf8(bytes.clone()).unwrap());
        }
    }

    fn begin(&mut self) -> Action {
        self.begin_with(1000, true)
    }

    fn begin_with(&mut self, size: usize, heard_recently: bool) -> Action {
        let action = self.dialogue.begin(&envelope("c@d.example", size), heard_recently);
        self.note(&action);
        action
    }

    fn ready(ehlo: &str) -> Self {
        let mut play = Self::new(TlsPolicy::None, None);
        assert_eq!(play.hear(&["220 hi", ehlo]), Action::Ready);
        play.sent.clear();
        play
    }
}

fn envelope(to: &str, size: usize) -> Envelope {
    Envelope {
        reverse_path: ReversePath::Address(Address::parse("a@b.example").unwrap()),
        recipient: Address::parse(to).unwrap(),
        size,
        needs: Needs::default(),
        id: "msg_1".to_owned(),
    }
}

fn refused(action: &Action) -> (Stage, u16) {
    match action {
        Action::Done(TransactionResult::Refused(stage, reply)) => (*stage, reply.code),
        Action::Done(TransactionResult::Unfit(reply)) => (Stage::Mail, reply.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_pipelining_each_command_waits_for_its_reply() {
    let mut play = Play::ready("250 x");
    play.begin();
    assert_eq!(play.hear(&["250 ok", "250 ok", "354 go"]), Action::SendBody);
    assert_eq!(play.sent, ["MAIL FROM:<a@b.example>\r\n", "RCPT TO:<c@d.example>\r\n", "DATA\r\n"]);
    assert_eq!(play.dialogue.on_body_sent(false), Action::Read);
    assert!(matches!(play.hear(&["250 2.0.0 taken"]), Action::Done(TransactionResult::Accepted(_))));
    assert!(play.dialogue.is_reusable());
}

#[test]
fn with_pipelining_the_envelope_is_one_write() {
    let mut play = Play::ready("250-x|250-SIZE 5000|250 PIPELINING");
    play.begin();
    assert_eq!(play.sent, ["MAIL FROM:<a@b.example> SIZE=1000\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"]);
    assert_eq!(play.hear(&["250 ok", "250 ok", "354 go"]), Action::SendBody);
}

#[test]
fn a_refusal_ends_the_transaction_and_the_next_one_begins_with_rset() {
    let mut play = Play::ready("250 x");
    play.begin();
    assert_eq!(refused(&play.hear(&["250 ok", "550 5.1.1 no"])), (Stage::Rcpt, 550));
    assert!(play.dialogue.is_reusable());
    play.sent.clear();
    play.begin();
    assert_eq!(play.hear(&["250 reset", "250 ok", "250 ok", "354 go"]), Action::SendBody);
    assert_eq!(play.sent[0], "RSET\r\n");
}

#[test]
fn a_refused_mail_needs_no_rset() {
    let mut play = Play::ready("250 x");
    play.begin();
    assert_eq!(refused(&play.hear(&["451 later"])), (Stage::Mail, 451));
    play.sent.clear();
    play.begin();
    assert_eq!(play.sent, ["MAIL FROM:<a@b.example>\r\n"]);
}

#[test]
fn pipelined_refusals_are_read_to_the_end_and_the_first_counts() {
    let mut play = Play::ready("250-x|250 PIPELINING");
    play.begin();
    assert_eq!(refused(&play.hear(&["250 ok", "550 no", "554 no valid recipients"])), (Stage::Rcpt, 550));
    assert!(play.dialogue.is_reusable());
}

#[test]
fn data_that_is_taken_without_a_recipient_gets_an_empty_message() {
    let mut play = Play::ready("250-x|250 PIPELINING");
    play.begin();
    let action = play.hear(&["250 ok", "450 later", "354 go"]);
    assert_eq!(action, Action::Send(b".\r\n".to_vec()));
    assert_eq!(refused(&play.hear(&["250 an empty one"])), (Stage::Rcpt, 450));
}

#[test]
fn a_server_that_refuses_helo_too_is_left() {
    let mut play = Play::new(TlsPolicy::Opportunistic, None);
    let action = play.hear(&["220 hi", "502 what", "550 not you"]);
    assert!(matches!(action, Action::Close(Stage::Ehlo, Refusal::Reply(_))), "{action:?}");
    assert_eq!(play.sent, ["EHLO me.example\r\n", "HELO me.example\r\n"]);
}

#[test]
fn data_that_is_taken_without_a_sender_gets_nothing() {
    // The server kept the transaction before, and adds a recipient to it.
    let mut play = Play::ready("250-x|250 PIPELINING");
    play.begin();
    assert_eq!(refused(&play.hear(&["503 5.5.1 nested MAIL", "250 ok", "354 go"])), (Stage::Mail, 503));
    assert_eq!(play.sent.len(), 1, "nothing but the envelope: {:?}", play.sent);
    assert!(!play.dialogue.is_reusable());
}

#[test]
fn a_refused_message_is_followed_by_rset_whichever_way_it_went() {
    for ehlo in ["250-x|250 PIPELINING", CHUNKING] {
        let mut play = Play::ready(ehlo);
        play.begin_with(1000, false);
        play.hear(&["250 ok", "250 ok"]);
        if ehlo != CHUNKING {
            play.hear(&["354 go"]);
        }
        play.dialogue.on_body_sent(false);
        assert_eq!(refused(&play.hear(&["554 5.7.1 spam"])), (Stage::Dot, 554));
        assert!(play.dialogue.is_reusable());
        play.sent.clear();
        play.begin();
        assert!(play.sent[0].starts_with("RSET\r\n"), "{:?}", play.sent);
    }
}

#[test]
fn a_421_ends_the_session_with_the_message_in_hand() {
    let mut play = Play::ready("250 x");
    play.begin();
    assert_eq!(refused(&play.hear(&["421 closing"])), (Stage::Mail, 421));
    assert!(!play.dialogue.is_reusable());
}

#[test]
fn a_message_over_the_announced_size_is_refused_before_a_word() {
    let mut play = Play::ready("250-x|250 SIZE 999");
    let action = play.begin();
    assert_eq!(refused(&action), (Stage::Mail, 552));
    assert!(play.sent.is_empty());
    assert_ne!(refused(&play.begin()).1, 0);
    let mut unlimited = Play::ready("250-x|250 SIZE 0");
    assert!(matches!(unlimited.begin(), Action::Send(_)));
}

#[test]
fn opportunistic_tls_is_taken_when_offered_and_capabilities_are_asked_again() {
    let mut play = Play::new(TlsPolicy::Opportunistic, None);
    assert_eq!(play.hear(&["220 hi", "250-x|250-PIPELINING|250 STARTTLS", "220 go"]), Action::Secure);
    let action = play.dialogue.on_secured();
    play.note(&action);
    assert_eq!(play.hear(&["250 x"]), Action::Ready);
    assert_eq!(play.sent, ["EHLO me.example\r\n", "STARTTLS\r\n", "EHLO me.example\r\n"]);
    assert!(!play.dialogue.capabilities.pipelining);
}

#[test]
fn required_tls_never_goes_on_in_the_clear() {
    let mut play = Play::new(TlsPolicy::Required, None);
    assert!(matches!(play.hear(&["220 hi", "250 x"]), Action::Close(Stage::StartTls, _)));
    let mut play = Play::new(TlsPolicy::Required, None);
    assert!(matches!(play.hear(&["220 hi", "250-x|250 STARTTLS", "454 no"]), Action::Close(Stage::StartTls, _)));
    let mut play = Play::new(TlsPolicy::Required, None);
    assert!(matches!(play.hear(&["220 hi", "502 what"]), Action::Close(Stage::Ehlo, _)));
}

#[test]
fn opportunistic_goes_on_in_the_clear_when_starttls_is_refused() {
    let mut play = Play::new(TlsPolicy::Opportunistic, None);
    assert_eq!(play.hear(&["220 hi", "250-x|250 STARTTLS", "454 not now"]), Action::Ready);
}

#[test]
fn auth_plain_and_login_speak_as_the_server_wishes() {
    let mut plain = Play::new(TlsPolicy::Implicit, Some(("u", "p")));
    assert_eq!(plain.hear(&["220 hi", "250-x|250 AUTH LOGIN PLAIN", "235 welcome"]), Action::Ready);
    assert_eq!(plain.sent[1], "AUTH PLAIN AHUAcA==\r\n");
    let mut login = Play::new(TlsPolicy::Implicit, Some(("u", "p")));
    assert_eq!(
        login.hear(&["220 hi", "250-x|250 AUTH=LOGIN", "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 welcome"]),
        Action::Ready
    );
    assert_eq!(login.sent[1..], ["AUTH LOGIN\r\n", "dQ==\r\n", "cA==\r\n"]);
}

#[test]
fn refused_or_impossible_auth_closes_the_session() {
    let mut refused = Play::new(TlsPolicy::Implicit, Some(("u", "p")));
    assert!(matches!(refused.hear(&["220 hi", "250-x|250 AUTH PLAIN", "535 no"]), Action::Close(Stage::Auth, _)));
    let mut none = Play::new(TlsPolicy::Implicit, Some(("u", "p")));
    assert!(matches!(none.hear(&["220 hi", "250 x"]), Action::Close(Stage::Auth, _)));
    let mut clear = Play::new(TlsPolicy::Opportunistic, Some(("u", "p")));
    assert!(matches!(clear.hear(&["220 hi", "250-x|250 AUTH PLAIN"]), Action::Close(Stage::Auth, _)));
    assert!(clear.sent.iter().all(|line| !line.contains("AUTH")));
}

#[test]
fn an_old_server_is_greeted_by_helo() {
    let mut play = Play::new(TlsPolicy::Opportunistic, None);
    assert_eq!(play.hear(&["220 hi", "500 what", "250 x"]), Action::Ready);
    assert_eq!(play.sent[1], "HELO me.example\r\n");
}

#[test]
fn a_reply_that_nothing_asked_for_closes_the_session() {
    let mut play = Play::ready("250 x");
    assert!(matches!(play.hear(&["250 what"]), Action::Close(..)));
    assert!(!play.dialogue.is_reusable());
}

const CHUNKING: &str = "250 me|250 PIPELINING|250 CHUNKING";

#[test]
fn a_small_message_follows_its_envelope_as_one_chunk() {
    let mut play = Play::ready(CHUNKING);
    assert!(matches!(play.begin(), Action::SendChunk(_)));
    assert_eq!(play.sent, ["MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 1000 LAST\r\n"]);
    assert_eq!(play.dialogue.uncertain_from(), Stage::Mail);
    assert_eq!(play.dialogue.on_body_sent(false), Action::Read);
    assert_eq!(play.dialogue.uncertain_from(), Stage::Dot, "the server may have it all, whichever reply is awaited");
    assert!(matches!(play.hear(&["250 ok", "250 ok", "250 taken"]), Action::Done(TransactionResult::Accepted(_))));
    assert!(play.dialogue.is_reusable());
    assert_eq!(play.dialogue.uncertain_from(), Stage::Quit);
}

#[test]
fn a_chunk_behind_a_refused_recipient_is_the_recipients_refusal_and_is_reset() {
    for answer in ["503 no recipients", "250 whatever"] {
        let mut play = Play::ready(CHUNKING);
        play.begin();
        play.dialogue.on_body_sent(false);
        assert_eq!(refused(&play.hear(&["250 ok", "550 5.1.1 nobody", answer])), (Stage::Rcpt, 550));
        assert!(play.dialogue.is_reusable());
        play.sent.clear();
        play.begin();
        assert_eq!(play.sent[0].starts_with("RSET\r\n"), answer.starts_with('5'));
    }
}

#[test]
fn a_session_that_was_quiet_and_a_large_message_are_asked_for_first() {
    for (size, heard_recently) in [(1000, false), (1 << 20, true)] {
        let mut play = Play::ready(CHUNKING);
        assert!(matches!(play.begin_with(size, heard_recently), Action::Send(_)));
        assert_eq!(play.sent, ["MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"]);
        let action = play.hear(&["250 ok", "250 ok"]);
        assert_eq!(action, Action::SendChunk(format!("BDAT {size} LAST\r\n").into_bytes()));
        play.dialogue.on_body_sent(false);
        assert!(matches!(play.hear(&["250 taken"]), Action::Done(TransactionResult::Accepted(_))));
    }
}

#[test]
fn chunking_without_pipelining_waits_for_each_reply() {
    let mut play = Play::ready("250 me|250 CHUNKING");
    play.begin();
    let action = play.hear(&["250 ok", "250 ok"]);
    assert!(matches!(action, Action::SendChunk(_)));
    assert_eq!(play.sent, ["MAIL FROM:<a@b.example>\r\n", "RCPT TO:<c@d.example>\r\n", "BDAT 1000 LAST\r\n"]);
    let mut refusing = Play::ready("250 me|250 CHUNKING");
    refusing.begin();
    assert_eq!(refused(&refusing.hear(&["250 ok", "550 nobody"])), (Stage::Rcpt, 550));
}

#[test]
fn the_next_envelope_may_leave_behind_the_body() {
    let mut play = Play::ready("250-x|250 PIPELINING");
    play.begin();
    assert_eq!(play.hear(&["250 ok", "250 ok", "354 go"]), Action::SendBody);
    let next = envelope("n@d.example", 500);
    let behind = play.dialogue.commands_behind(&next).unwrap();
    assert_eq!(
        String::from_utf8(behind).unwrap(),
        "RSET\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<n@d.example>\r\nDATA\r\n"
    );
    assert_eq!(play.dialogue.on_body_sent(true), Action::Read);
    assert_eq!(refused(&play.hear(&["554 5.7.1 spam"])), (Stage::Dot, 554), "the dot's reply is the first one's");
    assert!(!play.dialogue.is_reusable() && play.dialogue.is_pending());
    assert_eq!(play.dialogue.resume(&next), Action::Read);
    assert_eq!(play.dialogue.uncertain_from(), Stage::Rset, "nothing of the second was handed over");
    assert_eq!(play.hear(&["250 reset", "250 ok", "250 ok", "354 go"]), Action::SendBody);
    play.dialogue.on_body_sent(false);
    assert!(matches!(play.hear(&["250 taken"]), Action::Done(TransactionResult::Accepted(_))));
    assert!(play.dialogue.is_reusable());
}

#[test]
fn a_server_that_closes_at_the_dot_leaves_nothing_pending() {
    let mut play = Play::ready("250-x|250 PIPELINING");
    play.begin();
    play.hear(&["250 ok", "250 ok", "354 go"]);
    play.dialogue.on_body_sent(true);
    assert_eq!(refused(&play.hear(&["421 bye"])), (Stage::Dot, 421));
    assert!(!play.dialogue.is_pending() && !play.dialogue.is_reusable());
}

#[test]
fn without_pipelining_nothing_follows_a_body() {
    let play = Play::ready("250-x|250 SIZE");
    assert_eq!(play.dialogue.commands_behind(&envelope("n@d.example", 500)), None);
}

#[test]
fn parameters_are_said_where_they_are_offered_and_needed() {
    let mut play = Play::ready("250-x|250-DSN|250-SMTPUTF8|250-8BITMIME|250 PIPELINING");
    let needs = Needs { smtputf8: true, eight_bit: true, require_tls: false };
    play.dialogue.begin(&Envelope { needs, ..envelope("\u{e9}+x@d.example", 5) }, false);
    let mut bare = Play::ready("250 x");
    for (needs, status) in [
        (Needs { smtputf8: true, ..Needs::default() }, "5.6.7"),
        (Needs { eight_bit: true, ..Needs::default() }, "5.6.3"),
        (Needs { require_tls: true, ..Needs::default() }, "5.7.30"),
    ] {
        let action = bare.dialogue.begin(&Envelope { needs, ..envelope("c@d.example", 5) }, false);
        let Action::Done(TransactionResult::Unfit(reply)) = action else { panic!("{action:?}") };
        assert_eq!(reply.enhanced.unwrap().to_string(), status);
        assert!(bare.dialogue.is_reusable(), "nothing was said");
    }
    let text = commands::commands(
        &Envelope { needs, ..envelope("\u{e9}+x@d.example", 5) },
        &play.dialogue.capabilities,
        false,
    );
    let text: String = text.unwrap().map(|(_, line)| line).collect();
    assert_eq!(
        text,
        "MAIL FROM:<a@b.example> SMTPUTF8 BODY=8BITMIME RET=HDRS ENVID=msg_1\r\n\
         RCPT TO:<\u{e9}+x@d.example> NOTIFY=FAILURE,DELAY ORCPT=utf-8;\u{e9}+2Bx@d.example\r\nDATA\r\n"
    );
}
