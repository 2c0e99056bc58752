//! The fields of a project, as a request gives them.

use serde_json::{Map, Value};

use crate::api::problem::Problem;
use crate::api::usage_limits;
use crate::domain::alarm::AlarmRates;
use crate::domain::clock::Timestamp;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::id::ProjectId;
use crate::domain::quota::{MailFate, Suspension, UsageLimits};
use crate::domain::suppression::parse_subject;
use crate::request::fields::Fields;
use crate::store::StoreError;

const REASON_MAX: usize = 500;
const NAME_MAX: usize = 64;
const ALLOWED_MAX: usize = 1000;

/// The fields of a creation or a change.
pub(super) struct Change {
    pub name: Option<String>,
    pub limits: Option<UsageLimits>,
    pub requires_verified_domain: Option<bool>,
    /// Empty: all.
    pub allowed_recipients: Option<Vec<String>>,
    pub alarm: Option<AlarmRates>,
    /// Something is said of a suspension.
    pub decides_suspension: bool,
    suspended: Option<bool>,
    reason: Option<String>,
    mail: Option<MailFate>,
}

impl Change {
    /// Reads the fields; a new project must have a name, and is not suspended.
    pub fn read(map: Map<String, Value>, is_new: bool) -> Result<Self, Problem> {
        let mut faults = Vec::new();
        let mut fields = Fields::new(map, "", &mut faults);
        if is_new && !fields.has("name") {
            fields.fault("name", FaultCode::Required, "must be given");
        }
        let name = fields.string("name");
        if name.as_deref().is_some_and(|name| !is_name(name)) {
            let detail = "must be 1 to 64 letters, digits or any of ._-, begin with a letter or digit, and be no id";
            fields.fault("name", FaultCode::InvalidText, detail);
        }
        let limits = usage_limits::of_project(&mut fields);
        let requires_verified_domain = fields.bool("require_verified_domain");
        let allowed_recipients = fields.parsed_strings("allowed_recipients", ALLOWED_MAX, |text| parse_subject(&text));
        let alarm = alarm(&mut fields);
        let (mut suspended, mut reason, mut mail) = (None, None, None);
        if !is_new {
            suspended = fields.bool("suspended");
            reason = fields.string("reason");
            if reason.as_ref().is_some_and(|text| text.chars().count() > REASON_MAX || text.contains('\0')) {
                let detail = format!("must have at most {REASON_MAX} characters and no NUL");
                fields.fault("reason", FaultCode::TooLong, detail);
            }
            mail = fields.string("mail").and_then(|word| {
                let fate = MailFate::parse(&word);
                if fate.is_none() {
                    fields.fault("mail", FaultCode::InvalidMode, "must be keep or cancel");
                }
                fate
            });
        }
        let decides_suspension = suspended.is_some() || reason.is_some() || mail.is_some();
        fields.finish();
        if faults.is_empty() {
            Ok(Self {
                name,
                limits,
                requires_verified_domain,
                allowed_recipients,
                alarm,
                decides_suspension,
                suspended,
                reason,
                mail,
            })
        } else {
            Err(Problem::validation(faults))
        }
    }

    /// What becomes of a suspension, or of a project that has none.
    pub fn suspension(&self, now: Option<Suspension>, at: Timestamp) -> Result<Option<Suspension>, Problem> {
        let is_suspended = self.suspended.unwrap_or(now.is_some());
        if !is_suspended {
            let mut faults = Vec::new();
            for (pointer, is_given) in [("/reason", self.reason.is_some()), ("/mail", self.mail.is_some())] {
                if is_given {
                    let detail = "is of a project that is, or becomes, suspended";
                    faults.push(Fault::new(pointer, FaultCode::Conflict, detail));
                }
            }
            return if faults.is_empty() { Ok(None) } else { Err(Problem::validation(faults)) };
        }
        let before = now.unwrap_or(Suspension { at, reason: String::new(), mail: MailFate::Keep });
        Ok(Some(Suspension {
            at: before.at,
            reason: self.reason.clone().unwrap_or(before.reason),
            mail: self.mail.unwrap_or(before.mail),
        }))
    }
}

/// What is not given is the default.
fn alarm(fields: &mut Fields<'_>) -> Option<AlarmRates> {
    let map = fields.object("alarm")?;
    let mut inner = Fields::new(map, fields.pointer("alarm"), fields.faults);
    let default = AlarmRates::DEFAULT;
    let mut percent = |name, default| inner.percent(name).unwrap_or(default);
    let (bounce_percent, complaint_percent) =
        (percent("bounce_percent", default.bounce_percent), percent("complaint_percent", default.complaint_percent));
    let pauses = inner.bool("pause").unwrap_or(default.pauses);
    inner.finish();
    Some(AlarmRates { bounce_percent, complaint_percent, pauses })
}

/// As the constraint `projects_name_not_blank`; and nothing that names another project by its id.
fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=NAME_MAX).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_plain)
        && ProjectId::parse(name).is_none()
}

/// What the store refused is a fault of the name, if it is taken.
pub(super) fn refused(error: StoreError) -> Problem {
    match error {
        StoreError::Refused(constraint) if constraint == "projects_name_key" => {
            let detail = "another project has that name";
            Problem::validation(vec![Fault::new("/name", FaultCode::Conflict, detail)])
        }
        other => other.into(),
    }
}
