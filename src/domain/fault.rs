//! What is wrong with a request: where, by which stable code, and in words.
//!
//! A parser of a value knows what is wrong and not where it stands: it returns a [`Flaw`]. Whoever reads a document puts
//! the place to it and has a [`Fault`].

use serde::Serialize;

use super::address::AddressError;
use super::words::words;

words! {
    /// The stable word of a fault, on which programs may match: a closed set.
    pub enum FaultCode {
        BeyondOwn = "beyond_own",
        Conflict = "conflict",
        ControlCharacter = "control_character",
        DuplicateField = "duplicate_field",
        ForbiddenAddress = "forbidden_address",
        InThePast = "in_the_past",
        InvalidAddress = "invalid_address",
        InvalidAlias = "invalid_alias",
        InvalidAutoReplies = "invalid_auto_replies",
        InvalidBase64 = "invalid_base64",
        InvalidContentId = "invalid_content_id",
        InvalidContentType = "invalid_content_type",
        InvalidDisposition = "invalid_disposition",
        InvalidDomain = "invalid_domain",
        InvalidDomainPool = "invalid_domain_pool",
        InvalidFilename = "invalid_filename",
        InvalidHeader = "invalid_header",
        InvalidIdempotencyKey = "invalid_idempotency_key",
        InvalidLimit = "invalid_limit",
        InvalidLocale = "invalid_locale",
        InvalidMessage = "invalid_message",
        InvalidMessageId = "invalid_message_id",
        InvalidMode = "invalid_mode",
        InvalidNetwork = "invalid_network",
        InvalidOtp = "invalid_otp",
        InvalidParameter = "invalid_parameter",
        InvalidPriority = "invalid_priority",
        InvalidReason = "invalid_reason",
        InvalidScript = "invalid_script",
        InvalidScope = "invalid_scope",
        InvalidStream = "invalid_stream",
        InvalidTag = "invalid_tag",
        InvalidTemplate = "invalid_template",
        InvalidTime = "invalid_time",
        InvalidText = "invalid_text",
        InvalidTls = "invalid_tls",
        InvalidUrl = "invalid_url",
        MessageTooLarge = "message_too_large",
        MissingVariable = "missing_variable",
        Required = "required",
        ReservedHeader = "reserved_header",
        TemplateFailed = "template_failed",
        TooFar = "too_far",
        TooLong = "too_long",
        TooMany = "too_many",
        TooManyRecipients = "too_many_recipients",
        TooManyWebhooks = "too_many_webhooks",
        UnknownDomain = "unknown_domain",
        UnknownDomainPool = "unknown_domain_pool",
        UnknownEvent = "unknown_event",
        UnknownField = "unknown_field",
        UnknownIpPool = "unknown_ip_pool",
        UnknownParameter = "unknown_parameter",
        UnknownScope = "unknown_scope",
        UnknownUpload = "unknown_upload",
        UnknownTemplate = "unknown_template",
        UnknownVersion = "unknown_version",
        WrongType = "wrong_type",
    }
}

/// Faults of one request that are told.
pub const TOLD_MAX: usize = 50;
/// Characters of a detail.
const DETAIL_MAX: usize = 1000;
/// Characters of a pointer.
const POINTER_MAX: usize = 300;
/// Characters of a name in a detail.
const NAME_MAX: usize = 100;

/// What a request says, as far as it is told again in a detail.
pub fn quoted(text: &str) -> String {
    cut(text.to_owned(), NAME_MAX)
}

fn cut(mut text: String, most: usize) -> String {
    if let Some((at, _)) = text.char_indices().nth(most) {
        text.truncate(at);
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

/// What is wrong with a value, wherever it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    pub code: FaultCode,
    /// A sentence for a person: what is wrong, and what would be right.
    pub detail: String,
}

impl Flaw {
    /// A detail that is long is cut: a request may have its own words in it.
    pub fn new(code: FaultCode, detail: impl Into<String>) -> Self {
        Self { code, detail: cut(detail.into(), DETAIL_MAX) }
    }

    /// The fault that this flaw is at `pointer`, which is cut if it is long.
    pub fn at(self, pointer: impl Into<String>) -> Fault {
        Fault { pointer: cut(pointer.into(), POINTER_MAX), code: self.code, detail: self.detail }
    }
}

impl From<AddressError> for Flaw {
    fn from(error: AddressError) -> Self {
        Self::new(FaultCode::InvalidAddress, error.to_string())
    }
}

/// One fault of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// A JSON pointer (RFC 6901) to the place.
    pub pointer: String,
    pub code: FaultCode,
    /// A sentence for a person: what is wrong, and what would be right.
    pub detail: String,
}

impl Fault {
    pub fn new(pointer: impl Into<String>, code: FaultCode, detail: impl Into<String>) -> Self {
        Flaw::new(code, detail).at(pointer)
    }
}
