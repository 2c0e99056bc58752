//! Templates as sends need them: looked up in the store, compiled with the layouts and partials that they name, and
//! believed for a short time; whoever asks meanwhile waits for the same answer. A store that is away is an error, never
//! "no such template".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};

use super::WriteError;
use super::cpu_pool::CpuPool;
use super::lookups::Lookups;
use crate::compose::template::{CompiledTemplate, FlawPlace, Rendered, TemplateFlaw};
use crate::domain::access::Mode;
use crate::domain::fault::{Fault, FaultCode, Flaw};
use crate::domain::id::{ProjectId, TemplateId};
use crate::domain::template::{Alias, Locale, Part, TemplateKind, TemplateRef, Variant, Variants, VersionState};
use crate::store::Store;
use crate::store::accounts::templates::{FoundLayout, FoundVersion, Owner};

/// Templates that are remembered; beyond it all are forgotten.
const REMEMBERED: usize = 1000;
/// Bytes of their sources; beyond it all are forgotten.
const REMEMBERED_BYTES: usize = 64 << 20;
/// Layouts and partials of one template.
const LAYOUTS_MAX: usize = 30;
/// What is said of work that ended without a result.
const BROKEN_OFF: &str = "the work on a template broke off";
/// Steps from a template to a layout of a layout.
const DEPTH_MAX: usize = 5;

/// A template that can be filled in, and which one it is.
#[derive(Debug, Clone)]
pub struct Found {
    pub id: TemplateId,
    pub version: i32,
    /// The locale that serves the one that was asked for.
    pub locale: Locale,
    pub template: Arc<CompiledTemplate>,
}

/// Why there is nothing to fill in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TemplateError {
    /// There is no such template or version, or it may not be sent.
    #[error("{}", .0.detail)]
    Unknown(Flaw),
    /// What it names is gone, or the like.
    #[error("the template cannot be used")]
    Unusable(Vec<TemplateFlaw>),
    #[error(transparent)]
    Store(#[from] WriteError),
}

impl TemplateError {
    /// The faults that it is in a request whose object at `pointer` names the template; or the trouble of the store.
    pub fn faults(self, pointer: &str) -> Result<Vec<Fault>, WriteError> {
        match self {
            Self::Unknown(flaw) => Ok(vec![flaw.at(pointer)]),
            Self::Unusable(flaws) => Ok(flaws.into_iter().map(|flaw| flaw.at(pointer)).collect()),
            Self::Store(error) => Err(error),
        }
    }
}

/// What is to be compiled.
#[derive(Debug)]
pub struct Sources {
    pub default_locale: Locale,
    pub locales: Variants,
    /// Aliases that they name.
    pub uses: Vec<String>,
    /// Whether layouts and partials that were never published serve too.
    pub drafts: bool,
}

type Name = (ProjectId, Mode, TemplateRef);

/// What finds templates and fills them in, off the async threads.
pub struct Templates {
    store: Store,
    known: Lookups<Name, Found, TemplateError>,
    bytes: Arc<AtomicUsize>,
    pool: Arc<CpuPool>,
}

impl Templates {
    pub fn new(store: Store, cache: Duration) -> Self {
        let known = Lookups::new(cache, BROKEN_OFF);
        Self { store, known, bytes: Arc::default(), pool: Arc::default() }
    }

    /// The template that a request names. Live mail is made of approved versions only.
    pub async fn find(&self, project: ProjectId, mode: Mode, wanted: &TemplateRef) -> Result<Found, TemplateError> {
        let is_full = |count| {
            let is_full = count >= REMEMBERED || self.bytes.load(Ordering::Relaxed) >= REMEMBERED_BYTES;
            if is_full {
                self.bytes.store(0, Ordering::Relaxed);
            }
            is_full
        };
        let name = (project, mode, wanted.clone());
        let ask = || {
            let (store, pool, bytes) = (self.store.clone(), Arc::clone(&self.pool), Arc::clone(&self.bytes));
            let name = name.clone();
            async move {
                let found = find(&store, &pool, name).await?;
                bytes.fetch_add(found.template.bytes(), Ordering::Relaxed);
                Ok(found)
            }
        };
        self.known.get(name.clone(), |_| true, is_full, ask).await
    }

    /// Forgets what is known of a project: something in it was changed by this process.
    pub fn forget(&self, project: ProjectId) {
        self.known.forget(|(of, ..)| *of == project);
    }

    /// Compiles sources for a reader of `locale`; which locale serves it is the answer's other half.
    pub async fn compile(
        &self,
        owner: Owner,
        sources: Sources,
        locale: Option<Locale>,
    ) -> Result<(Locale, Arc<CompiledTemplate>), TemplateError> {
        compile(&self.store, &self.pool, owner, sources, locale).await
    }

    /// Fills a template in.
    pub async fn render(
        &self,
        template: &Arc<CompiledTemplate>,
        variables: Map<String, Value>,
    ) -> Result<Result<Rendered, Vec<TemplateFlaw>>, WriteError> {
        let template = Arc::clone(template);
        self.pool.run(move || template.render(&variables)).await.ok_or_else(broken_off)
    }
}

fn broken_off() -> WriteError {
    WriteError::Away(BROKEN_OFF.to_owned())
}

fn unknown(code: FaultCode, detail: impl Into<String>) -> TemplateError {
    TemplateError::Unknown(Flaw::new(code, detail))
}

async fn find(store: &Store, pool: &Arc<CpuPool>, (project, mode, wanted): Name) -> Result<Found, TemplateError> {
    let found = store.find_template_to_send((project, mode), &wanted.name, wanted.version).await;
    let found = found.map_err(|error| WriteError::from(&error))?;
    let Some(found) = found.filter(|found| found.kind == TemplateKind::Message) else {
        let detail = format!("there is no template '{}' that can be sent", wanted.name);
        return Err(unknown(FaultCode::UnknownTemplate, detail));
    };
    let version = found.version.ok_or_else(|| match wanted.version {
        Some(number) => unknown(FaultCode::UnknownVersion, format!("'{}' has no version {number}", wanted.name)),
        None => unknown(FaultCode::UnknownVersion, format!("'{}' was never published", wanted.name)),
    })?;
    if mode == Mode::Live && version.state != VersionState::Approved {
        let detail = format!("version {} of '{}' was never published", version.number, wanted.name);
        return Err(unknown(FaultCode::UnknownVersion, detail));
    }
    let FoundVersion { number, default_locale, locales, uses, .. } = version;
    let sources = Sources { default_locale, locales, uses, drafts: mode == Mode::Test };
    let (locale, template) = compile(store, pool, (project, mode), sources, wanted.locale).await?;
    Ok(Found { id: found.id, version: number, locale, template })
}

async fn compile(
    store: &Store,
    pool: &Arc<CpuPool>,
    owner: Owner,
    sources: Sources,
    locale: Option<Locale>,
) -> Result<(Locale, Arc<CompiledTemplate>), TemplateError> {
    let layouts = layouts(store, owner, &sources).await?;
    let Some((served, variant)) = variant(sources.locales, &sources.default_locale, locale.as_ref()) else {
        return Err(unknown(FaultCode::UnknownVersion, "the version has no parts in its default locale"));
    };
    let work = move || {
        let others = layouts.into_iter().filter_map(|layout| {
            Some((layout.alias, variant_of(layout.locales, &layout.default_locale, locale.as_ref())?))
        });
        let others: BTreeMap<Alias, Variant> = others.collect();
        let others = others.iter().map(|(alias, variant)| (alias.clone(), variant)).collect();
        CompiledTemplate::new(&variant, &others)
    };
    match pool.run(work).await.ok_or_else(broken_off)? {
        Ok(template) => Ok((served, Arc::new(template))),
        Err(flaws) => Err(TemplateError::Unusable(flaws)),
    }
}

/// Every layout and partial that sources name, and those that these name.
async fn layouts(store: &Store, owner: Owner, sources: &Sources) -> Result<Vec<FoundLayout>, TemplateError> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut next: Vec<String> = sources.uses.clone();
    let mut found = Vec::new();
    for _ in 0..DEPTH_MAX {
        next.retain(|alias| seen.insert(alias.clone()));
        if next.is_empty() {
            return Ok(found);
        }
        let layouts = store.find_layouts(owner, &next, sources.drafts).await;
        let layouts = layouts.map_err(|error| WriteError::from(&error))?;
        next = layouts.iter().flat_map(|layout| layout.uses.iter().cloned()).collect();
        found.extend(layouts);
        if found.len() > LAYOUTS_MAX {
            let flaw = Flaw::new(FaultCode::TooMany, format!("uses more than {LAYOUTS_MAX} layouts and partials"));
            return Err(TemplateError::Unusable(vec![TemplateFlaw { place: FlawPlace::Part(Part::Html), flaw }]));
        }
    }
    Ok(found)
}

/// The variant that serves a reader of `wanted`, and its locale.
fn variant(mut locales: Variants, default: &Locale, wanted: Option<&Locale>) -> Option<(Locale, Variant)> {
    let best = wanted.and_then(|wanted| wanted.lookups().into_iter().find(|tag| locales.contains_key(tag)));
    locales.remove_entry(best.as_ref().unwrap_or(default))
}

fn variant_of(locales: Variants, default: &Locale, wanted: Option<&Locale>) -> Option<Variant> {
    variant(locales, default, wanted).map(|(_, variant)| variant)
}
