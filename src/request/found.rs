//! What a request refers to and does not hold: looked up before it is read.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::domain::draft::FoundUpload;
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::id::UploadId;

/// What requests refer to, as it was found.
#[derive(Debug, Default)]
pub struct Found {
    pub uploads: HashMap<UploadId, FoundUpload>,
}

impl Found {
    /// The upload with that id. A foreign one is as good as none.
    pub fn upload(&self, id: &str) -> Result<FoundUpload, Flaw> {
        let found = UploadId::parse(id).and_then(|id| self.uploads.get(&id));
        found
            .cloned()
            .ok_or_else(|| Flaw::new(FaultCode::UnknownUpload, "there is no upload with this id, or no longer"))
    }
}

/// The uploads that send requests refer to, each once.
pub fn uploads_of<'m>(requests: impl Iterator<Item = &'m Map<String, Value>>) -> Vec<UploadId> {
    let attachments = requests.filter_map(|map| map.get("attachments")?.as_array()).flatten();
    let mut ids: Vec<_> = attachments.filter_map(|file| UploadId::parse(file.get("upload_id")?.as_str()?)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
