//! Name service for `--route mx`: every domain has one MX host, every host is an address of this machine (RFC 1035,
//! UDP).

use std::net::SocketAddr;

use tokio::net::UdpSocket;

use super::thread::Thread;
use crate::terminal::CommandError;

const A: u16 = 1;
const MX: u16 = 15;

/// Starts it; it ends with `thread`.
pub async fn start(thread: &Thread) -> Result<SocketAddr, CommandError> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.map_err(CommandError::new)?;
    let address = socket.local_addr().map_err(CommandError::new)?;
    let socket = socket.into_std().map_err(CommandError::new)?;
    thread.spawn(async move {
        let Ok(socket) = UdpSocket::from_std(socket) else { return };
        let mut query = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut query).await {
            if let Some(answer) = answer(&query[..length]) {
                // Whoever asked and went away is told nothing.
                let _ = socket.send_to(&answer, client).await;
            }
        }
    });
    Ok(address)
}

/// Domains below these have addresses of their own: nobody listens at the one, nobody speaks at the other.
pub const DEAD_DOMAIN: &str = "dead.example";
pub const MUTE_DOMAIN: &str = "mute.example";
/// `d0007` below it is at [`flapping_host`] 7.
pub const FLAPPING_DOMAIN: &str = "flapping.example";
const DEAD: [u8; 4] = [127, 0, 0, 2];
pub const MUTE: [u8; 4] = [127, 0, 0, 3];

/// The address of the flapping domain of that number.
pub fn flapping_host(number: usize) -> [u8; 4] {
    let [.., high, low] = number.to_be_bytes();
    [127, 1, high, low]
}

/// The address of the host that a question is about.
fn address_of(question: &[u8]) -> [u8; 4] {
    let has_label = |domain: &str| {
        domain.split('.').next().is_some_and(|label| memchr::memmem::find(question, label.as_bytes()).is_some())
    };
    if has_label(FLAPPING_DOMAIN) {
        let digits = question.iter().filter(|byte| byte.is_ascii_digit());
        return flapping_host(digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0')));
    }
    if has_label(DEAD_DOMAIN) {
        DEAD
    } else if has_label(MUTE_DOMAIN) {
        MUTE
    } else {
        [127, 0, 0, 1]
    }
}

fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let name = query.get(12..)?.iter().position(|byte| *byte == 0)?;
    let end = 12 + name + 5;
    let question = query.get(12..end)?;
    let kind = u16::from_be_bytes([query[end - 4], query[end - 3]]);
    let data: Vec<u8> = match kind {
        A => address_of(question).to_vec(),
        // Preference 10, and `mx.` before the name that was asked for (a pointer to it).
        MX => vec![0, 10, 2, b'm', b'x', 0xc0, 12],
        _ => Vec::new(),
    };
    let mut answer = query[..2].to_vec();
    answer.extend([0x85, 0x80, 0, 1, 0, u8::from(!data.is_empty()), 0, 0, 0, 0]);
    answer.extend_from_slice(question);
    if !data.is_empty() {
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0x0e, 0x10]);
        answer.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        answer.extend(data);
    }
    Some(answer)
}
