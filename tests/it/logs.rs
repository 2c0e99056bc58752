//! What an operator's log tools read.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::app::message_to;
use crate::support::database::Database;
use crate::support::http::Client;
use crate::support::process::{Server, command, create_key};
use crate::support::sink::Sink;
use crate::support::within;

#[tokio::test]
async fn one_line_tells_how_a_delivery_ended_and_its_sentence_is_not_lost() {
    let database = Database::new().await;
    let key = create_key(&database.url, "shop", "live", "").await;
    let sink = Sink::start().await;
    let route = format!("delivery.route=smtp://{}?tls=none", sink.address);
    let settings = ["http.listen=127.0.0.1:0", "log.format=json", "log.level=info", &route];
    let arguments: Vec<_> = ["serve"].into_iter().chain(settings.iter().flat_map(|s| ["--set", s])).collect();
    let mut serve = command(&database.url, &arguments);
    serve.stderr(Stdio::piped());
    let mut server = Server::from_command(serve).await;
    let mut log = BufReader::new(server.child.stderr.take().unwrap()).lines();
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    let body = message_to("somebody@example.net").to_string().into_bytes();
    let sent = Client::new(&server.address).request("POST", "/v1/send", &headers, body).await.unwrap().json();
    let line = loop {
        let line = within("the line of the outcome", log.next_line()).await.unwrap().unwrap();
        if line.contains("a delivery ended") {
            break line;
        }
    };
    assert_eq!(line.matches("\"message\":").count(), 1, "{line}");
    assert!(!line.contains("somebody"), "never a whole recipient: {line}");
    let fields = serde_json::from_str::<Value>(&line).unwrap()["fields"].take();
    assert_eq!(fields["message.id"], sent["id"], "{line}");
    assert_eq!(fields["message"], "a delivery ended");
    for (field, wanted) in [("recipient.domain", "example.net"), ("status", "delivered"), ("class", "accepted")] {
        assert_eq!(fields[field], wanted, "{line}");
    }
    assert_eq!((&fields["reply.code"], &fields["attempts"]), (&250.into(), &1.into()), "{line}");
    server.kill().await;
}
