//! Uploads: files that messages may carry by name.

pub mod create;
pub mod get;
pub mod list;
pub mod remove;

use std::fmt::Write;

use serde::Serialize;

use crate::domain::access::Mode;
use crate::domain::clock::rfc3339;
use crate::domain::id::UploadId;
use crate::store::mail::uploads::StoredUpload;

/// The schema `Upload`.
#[derive(Serialize)]
struct UploadView<'u> {
    id: UploadId,
    mode: Mode,
    filename: &'u str,
    content_type: &'u str,
    size: i32,
    sha256: String,
    created_at: String,
    last_used_at: String,
}

impl<'u> UploadView<'u> {
    fn of(upload: &'u StoredUpload) -> Self {
        Self {
            id: upload.id,
            mode: upload.mode,
            filename: &upload.filename,
            content_type: &upload.content_type,
            size: upload.size,
            sha256: upload.sha256.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            }),
            created_at: rfc3339(upload.created_at),
            last_used_at: rfc3339(upload.last_used_at),
        }
    }
}
