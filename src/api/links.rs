//! Where links in mail lead: `/u/TOKEN` to want no more of a kind of mail (RFC 8058), `/o/TOKEN.gif` an image, `/c/TOKEN?u=URL`
//! a link that is counted. For people and their mail clients; no part of the contract.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    LOCATION, USER_AGENT,
};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::body::UnreadBody;
use super::problem::Problem;
use super::{Api, Shared};
use crate::inbound::NotTaken;
use crate::inbound::links::{Followed, Follower};

/// Octets of what a mail client or the page posts.
const POST_MAX: usize = 16 << 10;
/// A transparent image of one pixel.
const PIXEL: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";
/// What a page may load, and where its form may lead.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The routes.
pub(super) fn routes(router: Router<Arc<Api>>) -> Router<Arc<Api>> {
    router
        .route("/u/{token}", get(show).post(unsubscribe))
        .route("/o/{name}", get(image))
        .route("/c/{token}", get(click))
}

/// What the pages say, in one language.
struct Words {
    lang: &'static str,
    ask: &'static str,
    about: &'static str,
    button: &'static str,
    done: &'static str,
    done_about: &'static str,
    lost: &'static str,
    lost_about: &'static str,
    later: &'static str,
    later_about: &'static str,
}

const ENGLISH: Words = Words {
    lang: "en",
    ask: "Unsubscribe?",
    about: "You will get no more mail of this kind at this address:",
    button: "Unsubscribe",
    done: "You are unsubscribed",
    done_about: "You will get no more mail of this kind at this address:",
    lost: "This link leads nowhere",
    lost_about: "It is incomplete, or its key is no longer known. Follow the link in the message itself.",
    later: "Please try again",
    later_about: "Nothing was changed: the service is busy at the moment.",
};

const CHINESE: Words = Words {
    lang: "zh-CN",
    ask: "要退订吗？",
    about: "退订后，此邮箱将不再收到以下类型的邮件：",
    button: "退订",
    done: "您已退订",
    done_about: "此邮箱将不再收到以下类型的邮件：",
    lost: "链接无效",
    lost_about: "链接不完整，或已失效。请直接点击邮件中的链接。",
    later: "请稍后再试",
    later_about: "服务繁忙，您的设置没有改变。",
};

impl Words {
    /// In the language that is wanted most; English if it is none of ours.
    fn of(headers: &HeaderMap) -> &'static Self {
        let wanted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut wanted: Vec<_> = wanted
            .split(',')
            .filter_map(|one| {
                let (tag, weight) = one.split_once(";q=").unwrap_or((one, "1"));
                let words = match tag.trim().to_ascii_lowercase().split('-').next() {
                    Some("zh") => &CHINESE,
                    Some("en") => &ENGLISH,
                    _ => return None,
                };
                Some((words, weight.trim().parse::<f32>().unwrap_or(0.0)))
            })
            .collect();
        wanted.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        wanted.first().map_or(&ENGLISH, |(words, _)| words)
    }
}

/// The page with a button. Scanners look at it, and nothing changes.
async fn show(State(api): Shared, Path(token): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let words = Words::of(&headers);
    Ok(match api.intake.subscription(&token, host(&headers)).await? {
        Some(subscription) => page(words, StatusCode::OK, words.ask, words.about, &subscription.stream, true),
        None => lost(words),
    })
}

/// What a mail client posts, or the page: twice is once. A client gets an empty answer, and never a redirect (RFC 8058 §3.1).
async fn unsubscribe(
    State(api): Shared,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let words = Words::of(&headers);
    let (bytes, _grant) = body.bytes(&api, POST_MAX).await?;
    let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let by_page = text.contains("page=1");
    let counted = |outcome: &str| api.metrics.links.with_label_values(&["unsubscribe", outcome]).inc();
    let Some(subscription) = api.intake.subscription(&token, host(&headers)).await? else {
        counted("refused");
        let answer = if by_page { lost(words) } else { empty(StatusCode::BAD_REQUEST) };
        return Ok(answer);
    };
    // In either form (RFC 8058 §3.2), of whatever case.
    if !(text.contains("list-unsubscribe") && text.contains("one-click")) {
        counted("refused");
        return Ok(empty(StatusCode::BAD_REQUEST));
    }
    match api.intake.unsubscribe(&subscription).await {
        Ok(()) => counted("taken"),
        Err(error) => {
            counted("missed");
            return match error {
                NotTaken::Store(error) if !by_page => Err(error.into()),
                _ if by_page => {
                    Ok(page(words, StatusCode::SERVICE_UNAVAILABLE, words.later, words.later_about, "", false))
                }
                _ => Err(Problem::busy("too many links are followed at once")),
            };
        }
    }
    Ok(if by_page {
        page(words, StatusCode::OK, words.done, words.done_about, &subscription.stream, false)
    } else {
        empty(StatusCode::OK)
    })
}

/// The image, whatever was asked for: nothing in a message is broken by us.
async fn image(State(api): Shared, method: Method, Path(name): Path<String>, headers: HeaderMap) -> Response {
    if method == Method::GET {
        let token = name.strip_suffix(".gif").unwrap_or(&name);
        let followed = api.intake.image_loaded(token, &follower(&headers)).await;
        api.metrics.links.with_label_values(&["open", followed.name()]).inc();
    }
    let mut response = Response::new(PIXEL.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    private(response)
}

#[derive(Deserialize)]
struct Destination {
    #[serde(default)]
    u: String,
}

/// Leads on, to where the link was made for and nowhere else.
async fn click(
    State(api): Shared,
    method: Method,
    Path(token): Path<String>,
    Query(Destination { u }): Query<Destination>,
    headers: HeaderMap,
) -> Response {
    let follower = Follower { is_prefetch: method != Method::GET, ..follower(&headers) };
    let followed = api.intake.link_followed(&token, &u, &follower).await;
    api.metrics.links.with_label_values(&["click", followed.name()]).inc();
    if followed == Followed::Unknown {
        let words = Words::of(&headers);
        return page(words, StatusCode::SERVICE_UNAVAILABLE, words.later, words.later_about, "", false);
    }
    let location = HeaderValue::from_str(&ascii_url(&u)).ok().filter(|_| followed != Followed::Refused);
    let Some(location) = location else { return lost(Words::of(&headers)) };
    let mut response = empty(StatusCode::FOUND);
    response.headers_mut().insert(LOCATION, location);
    response
}

fn host(headers: &HeaderMap) -> &str {
    headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn follower(headers: &HeaderMap) -> Follower {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_prefetch = ["purpose", "sec-purpose", "x-purpose", "x-moz"]
        .iter()
        .any(|name| text(HeaderName::from_static(name)).to_ascii_lowercase().contains("prefetch"));
    Follower { host: host(headers).to_owned(), agent: text(USER_AGENT).to_owned(), is_prefetch }
}

/// A URL as a header may carry it (WHATWG URL §1.3).
fn ascii_url(url: &str) -> String {
    url.bytes().fold(String::with_capacity(url.len()), |mut out, byte| {
        if byte.is_ascii_graphic() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    private(response)
}

/// Nobody keeps it, and it says nothing of where it was followed from.
fn private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    response
}

fn lost(words: &Words) -> Response {
    page(words, StatusCode::NOT_FOUND, words.lost, words.lost_about, "", false)
}

/// A page; `stream` has letters that mean nothing in HTML.
fn page(words: &Words, status: StatusCode, title: &str, about: &str, stream: &str, has_button: bool) -> Response {
    let stream = if stream.is_empty() { String::new() } else { format!("<p><strong>{stream}</strong></p>\n") };
    let button = words.button;
    let form = if has_button {
        format!(
            "<form method=\"post\"><input type=\"hidden\" name=\"List-Unsubscribe\" value=\"One-Click\">\
             <input type=\"hidden\" name=\"page\" value=\"1\"><button type=\"submit\">{button}</button></form>\n"
        )
    } else {
        String::new()
    };
    let html = format!(
        "<!doctype html>\n<html lang=\"{}\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n\
         <style>:root{{color-scheme:light dark}}body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}}\
         button{{font:inherit;padding:.6rem 1.4rem;cursor:pointer}}</style>\n\
         <main>\n<h1>{title}</h1>\n<p>{about}</p>\n{stream}{form}</main>\n</html>\n",
        words.lang
    );
    let mut response = Response::new(html.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    private(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_wanted_most() {
        for (wanted, lang) in [
            ("", "en"),
            ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
            ("en-GB,en;q=0.9,zh;q=0.3", "en"),
            ("de, zh-TW;q=0.7, en;q=0.5", "zh-CN"),
            ("fr", "en"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_str(wanted).unwrap());
            assert_eq!(Words::of(&headers).lang, lang, "{wanted}");
        }
    }
}
