//! The kinds of problems: a closed set, each with its status, its title and the page that its type leads to.

use axum::http::StatusCode;

/// What kind of problem it is: the stable word that programs match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    Malformed,
    Unauthorized,
    MissingScope,
    ForeignDomain,
    UnverifiedDomain,
    TestOnly,
    OperatorOnly,
    AddressNotAllowed,
    ProjectSuspended,
    NotFound,
    BodyNotKept,
    MethodNotAllowed,
    Timeout,
    TooLarge,
    UriTooLong,
    HeadTooLarge,
    UnsupportedMediaType,
    Validation,
    IdempotencyKeyReused,
    Unsettled,
    NoSpamFilter,
    Backlog,
    TooManyAtOnce,
    RateLimited,
    QuotaExceeded,
    Busy,
    StoreUnavailable,
    Internal,
}

impl ProblemKind {
    pub const ALL: [Self; 28] = [
        Self::Malformed,
        Self::Unauthorized,
        Self::MissingScope,
        Self::ForeignDomain,
        Self::UnverifiedDomain,
        Self::TestOnly,
        Self::OperatorOnly,
        Self::AddressNotAllowed,
        Self::ProjectSuspended,
        Self::NotFound,
        Self::BodyNotKept,
        Self::MethodNotAllowed,
        Self::Timeout,
        Self::TooLarge,
        Self::UriTooLong,
        Self::HeadTooLarge,
        Self::UnsupportedMediaType,
        Self::Validation,
        Self::IdempotencyKeyReused,
        Self::Unsettled,
        Self::NoSpamFilter,
        Self::Backlog,
        Self::TooManyAtOnce,
        Self::RateLimited,
        Self::QuotaExceeded,
        Self::Busy,
        Self::StoreUnavailable,
        Self::Internal,
    ];

    /// The last segment of the `type` URI.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unauthorized => "unauthorized",
            Self::MissingScope => "missing-scope",
            Self::ForeignDomain => "foreign-domain",
            Self::UnverifiedDomain => "unverified-domain",
            Self::TestOnly => "test-only",
            Self::OperatorOnly => "operator-only",
            Self::AddressNotAllowed => "address-not-allowed",
            Self::ProjectSuspended => "project-suspended",
            Self::NotFound => "not-found",
            Self::BodyNotKept => "body-not-kept",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Timeout => "timeout",
            Self::TooLarge => "too-large",
            Self::UriTooLong => "uri-too-long",
            Self::HeadTooLarge => "head-too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::Validation => "validation",
            Self::IdempotencyKeyReused => "idempotency-key-reused",
            Self::Unsettled => "unsettled",
            Self::NoSpamFilter => "no-spam-filter",
            Self::Backlog => "backlog",
            Self::TooManyAtOnce => "too-many-at-once",
            Self::RateLimited => "rate-limited",
            Self::QuotaExceeded => "quota-exceeded",
            Self::Busy => "busy",
            Self::StoreUnavailable => "store-unavailable",
            Self::Internal => "internal",
        }
    }

    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::MissingScope
            | Self::ForeignDomain
            | Self::UnverifiedDomain
            | Self::TestOnly
            | Self::OperatorOnly
            | Self::AddressNotAllowed
            | Self::ProjectSuspended => StatusCode::FORBIDDEN,
            Self::NotFound | Self::BodyNotKept => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Validation | Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unsettled | Self::NoSpamFilter => StatusCode::CONFLICT,
            Self::Backlog | Self::TooManyAtOnce | Self::RateLimited | Self::QuotaExceeded => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Busy | Self::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What happened, and what to do about it: the page that the type leads to.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Malformed => {
                "The request could not be read: it is no HTTP/1.1, or its body is no JSON object in UTF-8, or the gzip \
                 that it announces is none. The detail says what was met, and where. Sending the same again fails again."
            }
            Self::Unauthorized => {
                "Send Authorization: Bearer and an API key or a JWT. The detail says what is wrong with the one that came: \
                 it may be misspelt, expired or revoked."
            }
            Self::MissingScope => {
                "The credential is valid and has no right to do this. The detail names the scope that is missing."
            }
            Self::ForeignDomain => {
                "The credential is limited to certain domains, and may not send as the domain of from."
            }
            Self::UnverifiedDomain => {
                "Live mail is sent from domains that the project has proved. Add the domain of from by POST /v1/domains, publish its \
                 records, and send again once it is verified; a test credential needs no domain."
            }
            Self::TestOnly => {
                "A test credential sees and changes test things only. Use a live credential for live mail, its messages and its \
                 endpoints."
            }
            Self::OperatorOnly => {
                "Projects are made, limited and suspended by operators: with a key that was made by mailwright keys create \
                 --operator."
            }
            Self::AddressNotAllowed => {
                "The API key may be used from certain networks only, and the request came from another. Behind a proxy, the \
                 operator names the proxy in http.trusted_proxies, and the address that it forwards counts."
            }
            Self::ProjectSuspended => {
                "The operator has suspended the project, for the reason in the detail. Nothing was taken. Reading goes on; \
                 sending does when the suspension ends."
            }
            Self::NotFound => {
                "There is no such address, or nothing with that id that this credential may see. What belongs to another \
                 project is not told apart from what does not exist."
            }
            Self::BodyNotKept => {
                "The message is known, and its bytes are older than they are kept for (retention.bodies of the operator, bodies of \
                 GET /v1/retention), or they were erased."
            }
            Self::MethodNotAllowed => {
                "The address exists, and does not take that method. The documentation lists what it takes."
            }
            Self::Timeout => {
                "The body of the request did not come in time. Send it again, over a connection that carries it."
            }
            Self::TooLarge => {
                "The body is larger than body_bytes of GET /v1/limits, as it was sent or as it was unpacked. Nothing was taken. \
                 Send smaller or fewer attachments."
            }
            Self::UriTooLong => {
                "The address with its query is too long. Filters belong into the query, and messages into the body."
            }
            Self::HeadTooLarge => "The headers of the request are larger than 64 KiB together, or too many.",
            Self::UnsupportedMediaType => "Send Content-Type: application/json, and no Content-Encoding but gzip.",
            Self::Validation => {
                "The request was read, and something in it may not be so. Nothing was taken. The member errors lists every fault \
                 at once: its place as a JSON pointer, a stable code, and a sentence that says what would be right."
            }
            Self::IdempotencyKeyReused => {
                "The Idempotency-Key was used before with another body. Nothing was sent now. A new request needs a new key; a \
                 repeated one needs the same body."
            }
            Self::Unsettled => {
                "A recipient of the message is not settled: it waits, or is being tried. Nothing was erased. Cancel the message \
                 first, or erase it with cancel=true; what has begun is settled soon."
            }
            Self::NoSpamFilter => {
                "No spam filter is configured: the operator names one by sandbox.spamassassin or sandbox.rspamd."
            }
            Self::Backlog => "Too many deliveries of this project wait already. Send again after Retry-After.",
            Self::TooManyAtOnce => {
                "The project has as much of the service in use at this moment as it may have while others need some: bytes of requests, of \
                 answers that it has not read yet, or listings. Nothing was taken. Send again after Retry-After, and less at once."
            }
            Self::RateLimited => {
                "More messages came in a second than the project or the key may send. Nothing was taken. Send again after \
                 Retry-After; the RateLimit headers of every answer say how much is left."
            }
            Self::QuotaExceeded => {
                "The project or the key has used up what it may send in a day or a month. Nothing was taken. The detail names the \
                 quota; GET /v1/limits shows all of them, and Retry-After when this one begins anew."
            }
            Self::Busy => {
                "The service has too much in hand at this moment. Nothing was taken. Send again after Retry-After."
            }
            Self::StoreUnavailable => {
                "The store did not answer in time. Whether the message was taken is not known unless the request carried an \
                 Idempotency-Key: send it again with the same key, and it is taken once."
            }
            Self::Internal => {
                "An error of the service, which was logged under the request's id. Tell the operator that id; a repetition with \
                 the same Idempotency-Key does no harm."
            }
        }
    }

    pub const fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request cannot be read",
            Self::Unauthorized => "Missing or wrong credentials",
            Self::MissingScope
            | Self::ForeignDomain
            | Self::UnverifiedDomain
            | Self::TestOnly
            | Self::OperatorOnly
            | Self::AddressNotAllowed => "Not allowed",
            Self::ProjectSuspended => "The project is suspended",
            Self::NotFound => "Not found",
            Self::BodyNotKept => "No longer kept",
            Self::MethodNotAllowed => "Method not allowed",
            Self::Timeout => "Too slow",
            Self::TooLarge | Self::UriTooLong | Self::HeadTooLarge => "Too large",
            Self::UnsupportedMediaType => "Unsupported media type",
            Self::Validation => "The request is not valid",
            Self::IdempotencyKeyReused => "Idempotency key used before",
            Self::Unsettled => "Not settled yet",
            Self::NoSpamFilter => "No spam filter",
            Self::Backlog => "Too much is waiting",
            Self::TooManyAtOnce => "More than a share at once",
            Self::RateLimited => "Too many at once",
            Self::QuotaExceeded => "A quota is used up",
            Self::Busy => "Too much at once",
            Self::StoreUnavailable => "Temporarily unavailable",
            Self::Internal => "Internal error",
        }
    }
}
