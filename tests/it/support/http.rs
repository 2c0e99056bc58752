//! A plain HTTP client for the tests. It holds every answer against `openapi.yaml`.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::contract::CONTRACT;

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Bytes,
    /// The operation of `openapi.yaml` that it was held against.
    pub operation: Option<String>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The codes of a validation problem, with their pointers.
    pub fn faults(&self) -> Vec<(String, String)> {
        let body = self.json();
        let text = |fault: &Value, name: &str| fault[name].as_str().unwrap().to_owned();
        body["errors"].as_array().into_iter().flatten().map(|f| (text(f, "pointer"), text(f, "code"))).collect()
    }
}

/// A connection that is kept between requests.
pub struct Client {
    address: String,
    sender: Option<http1::SendRequest<Full<Bytes>>>,
}

impl Client {
    pub fn new(address: impl ToString) -> Self {
        Self { address: address.to_string(), sender: None }
    }

    /// Sends one request; an error is a connection that broke. Fails when the answer is not as `openapi.yaml` says.
    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, String> {
        let mut answer = self.ask(method, path, headers, body).await?;
        answer.operation = CONTRACT.check_answer(method, path, &answer);
        Ok(answer)
    }

    /// The same, of an answer that nothing is held against.
    pub async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, String> {
        if self.sender.as_ref().is_none_or(http1::SendRequest::is_closed) {
            let stream = TcpStream::connect(&self.address).await.map_err(|e| e.to_string())?;
            stream.set_nodelay(true).unwrap();
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
            tokio::spawn(connection);
            self.sender = Some(sender);
        }
        let mut request = Request::builder().method(method).uri(path);
        if headers.iter().all(|(name, _)| *name != "host") {
            request = request.header("host", &self.address);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|e| e.to_string())?;
        let sender = self.sender.as_mut().unwrap();
        sender.ready().await.map_err(|e| e.to_string())?;
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, bytes, operation: None })
    }
}

/// A text as a part of a path or a query may carry it (RFC 3986 §2.3).
pub fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}
