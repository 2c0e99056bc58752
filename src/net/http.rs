//! One request over a connection that was opened for it, and its whole answer, within a bound.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;

use super::connect::Stream;

/// What was answered. `limit` says of a status how many bytes its body may have; `None`: that is not read. The error is in words,
/// also of a body that is longer.
pub async fn ask(
    stream: Stream,
    request: Request<Full<Bytes>>,
    limit: impl FnOnce(StatusCode) -> Option<usize>,
) -> Result<(StatusCode, Bytes), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    let call = async {
        let answer = sender.send_request(request).await.map_err(|error| text(&error))?;
        let status = answer.status();
        let Some(limit) = limit(status) else { return Ok((status, Bytes::new())) };
        let body = Limited::new(answer.into_body(), limit).collect().await.map_err(|error| text(&error))?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(connection);
    tokio::pin!(call);
    tokio::select! {
        answer = &mut call => answer,
        ended = &mut connection => match ended {
            Ok(()) => call.await,
            Err(error) => Err(text(&error)),
        },
    }
}
