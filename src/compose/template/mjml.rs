//! MJML to HTML, when a template is saved and before anything is filled in. Nothing is fetched: `mj-include` is refused.

use std::collections::HashMap;
use std::panic::catch_unwind;

use mrml::prelude::parser::ParserOptions;
use mrml::prelude::render::RenderOptions;

use crate::domain::fault::{FaultCode, Flaw};

/// Elements within each other. The compiler goes down by its stack.
const DEPTH_MAX: usize = 100;
/// Elements that have no end tag.
const VOID: [&str; 14] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];

/// The HTML that an MJML document is.
pub fn html(source: &str) -> Result<String, Flaw> {
    let flaw = |detail: String| Flaw::new(FaultCode::InvalidTemplate, detail);
    if depth(source) > DEPTH_MAX {
        return Err(flaw(format!("elements are nested deeper than {DEPTH_MAX}")));
    }
    if source.contains("<mj-include") {
        return Err(flaw("mj-include is not served: write {% include \"alias\" %} in an mj-raw or mj-text".to_owned()));
    }
    let html = catch_unwind(|| compiled(source)).unwrap_or_else(|_| Err("the compiler cannot do this".to_owned()));
    let html = html.map_err(|error| flaw(format!("is not valid MJML: {error}")))?;
    if html.len() > super::SOURCE_MAX {
        let detail = format!("comes to {} bytes of HTML; the limit is {}", html.len(), super::SOURCE_MAX);
        return Err(Flaw::new(FaultCode::TooLong, detail));
    }
    Ok(html)
}

/// No fonts: a message must load nothing that its author did not write.
fn compiled(source: &str) -> Result<String, String> {
    let parsed = mrml::parse_with_options(source, &ParserOptions::default()).map_err(|error| error.to_string())?;
    let options = RenderOptions { fonts: HashMap::default(), ..RenderOptions::default() };
    parsed.element.render(&options).map_err(|error| error.to_string())
}

/// How deep elements are nested at most, by their tags.
fn depth(source: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for rest in source.split('<').skip(1) {
        let tag = rest.split('>').next().unwrap_or_default();
        let name: String = tag.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        if tag.starts_with('/') {
            depth = depth.saturating_sub(1);
        } else if !name.is_empty() && !tag.ends_with('/') && !VOID.contains(&&*name.to_ascii_lowercase()) {
            depth += 1;
            deepest = deepest.max(depth);
        }
    }
    deepest
}
