//! Another program's DKIM verifier: dkimpy, as Debian packages it.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::process::run;
use super::within;

/// Prints algorithm, domain, selector and verdict of every signature of the messages on standard input, their length before each.
/// The arguments are TXT records as `mailwright domains add` prints them.
const VERIFY: &str = r"
import sys, dkim
records = dict(line.split('  TXT  ') for line in sys.argv[1:])
def txt(name, timeout=5):
    return records.get((name.decode() if isinstance(name, bytes) else name).rstrip('.'), '').encode() or None
while size := sys.stdin.buffer.read(4):
    message = sys.stdin.buffer.read(int.from_bytes(size, 'big'))
    for index in range(sum(name.lower() == b'dkim-signature' for name, _ in dkim.DKIM(message).headers)):
        verifier = dkim.DKIM(message)
        try:
            verdict = 'good' if verifier.verify(index, txt) else 'bad'
        except dkim.DKIMException as error:
            verdict = 'bad: %s' % error
        tag = lambda name: verifier.signature_fields.get(name, b'?').decode()
        print(tag(b'a'), tag(b'd'), tag(b's'), verdict)
";

/// What dkimpy says of every signature: `algorithm domain selector good`.
pub async fn verdicts(message: &[u8], records: &[String]) -> Vec<String> {
    verdicts_of_many(&[message.to_vec()], records).await
}

/// What it says of every signature of several messages.
pub async fn verdicts_of_many(messages: &[Vec<u8>], records: &[String]) -> Vec<String> {
    let input: Vec<u8> = messages
        .iter()
        .flat_map(|message| [&u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat())
        .collect();
    // Not whatever `python3` is on PATH: the packages belong to the system's.
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", VERIFY]).args(records).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut python = python.kill_on_drop(true).spawn().expect("python3: run the tests by scripts/test");
    let mut stdin = python.stdin.take().unwrap();
    let output = within("the verifier to end", async {
        let feed = async {
            stdin.write_all(&input).await.unwrap();
            drop(stdin);
        };
        tokio::join!(feed, python.wait_with_output()).1.unwrap()
    })
    .await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// `mailwright domains add` in the project `shop`; gives the records that it printed.
pub async fn add_domain(url: &str, domain: &str, arguments: &[&str]) -> Vec<String> {
    let output = run(url, &[&["domains", "add", "--project", "shop", domain], arguments].concat()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
