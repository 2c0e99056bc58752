//! The template of a request, filled in before the request is read: what is missing is a fault now, and never an event later.

use serde_json::{Map, Value};

use super::WriteError;
use super::templates::Templates;
use crate::domain::access::Mode;
use crate::domain::fault::Fault;
use crate::domain::id::ProjectId;
use crate::request::template::{Filled, FilledPart, take};

/// Fills in the template that a request at `at` names, and takes it out of it; `None`: it names none.
pub async fn fill(
    templates: &Templates,
    (project, mode): (ProjectId, Mode),
    map: &mut Map<String, Value>,
    at: &str,
) -> Result<Result<Option<Filled>, Vec<Fault>>, WriteError> {
    let used = match take(map, at) {
        Ok(Some(used)) => used,
        Ok(None) => return Ok(Ok(None)),
        Err(faults) => return Ok(Err(faults)),
    };
    let pointer = format!("{at}/template");
    let found = match templates.find(project, mode, &used.wanted).await {
        Ok(found) => found,
        Err(error) => return error.faults(&pointer).map(Err),
    };
    let (mut parts, mut faults) = (Vec::new(), Vec::new());
    let is_each = !used.each.is_empty();
    let own = if is_each { used.each } else { vec![Map::new()] };
    for (index, own) in own.into_iter().enumerate() {
        let mut variables = used.variables.clone();
        variables.extend(own);
        match templates.render(&found.template, variables).await? {
            Ok(rendered) => {
                parts.push(FilledPart { subject: rendered.subject, text: rendered.text, html: rendered.html });
            }
            // A variable that one recipient lacks is missing among that one's.
            Err(flaws) if is_each => {
                let place = format!("{at}/per_recipient/{index}");
                faults.extend(flaws.into_iter().map(|flaw| flaw.at(&place)));
            }
            Err(flaws) => faults.extend(flaws.into_iter().map(|flaw| flaw.at(&pointer))),
        }
    }
    Ok(if faults.is_empty() { Ok(Some(Filled { label: used.label, parts })) } else { Err(faults) })
}
