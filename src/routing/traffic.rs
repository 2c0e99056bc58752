//! The rules in force: shaping and classification, read again when their files change. A file that cannot be used
//! changes nothing and says why.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::classify::Classifier;
use crate::config::Config;
use crate::domain::access::Mode;
use crate::domain::address::Address;
use crate::domain::id::ProjectId;
use crate::domain::route::{Route, SANDBOX_LANE, SMARTHOST_LANE};
use crate::net::own::can_leave_from;
use crate::shaping::{Limits, Shaping};
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Rules that belong together.
#[derive(Debug)]
pub struct PolicySnapshot {
    pub shaping: Shaping,
    pub classifier: Classifier,
    /// Where no rule says otherwise.
    pub route: Route,
}

impl PolicySnapshot {
    /// The way that mail of this project to this domain takes.
    pub fn route(&self, project: ProjectId, domain: &str) -> &Route {
        self.shaping.route(project, domain).and_then(|rule| rule.via.as_ref()).unwrap_or(&self.route)
    }

    /// The key under which a delivery waits in the queue.
    pub fn next_hop(&self, mode: Mode, project: ProjectId, recipient: &Address) -> String {
        match (mode, self.route(project, recipient.domain())) {
            (Mode::Test, _) | (_, Route::Sandbox) => SANDBOX_LANE.to_owned(),
            // A domain with limits of its own is a lane of its own, whatever hosts it goes by.
            (Mode::Live, Route::Smarthosts(_)) if !self.shaping.has_own_limits(recipient.domain()) => {
                SMARTHOST_LANE.to_owned()
            }
            (Mode::Live, Route::Smarthosts(_) | Route::Mx) => recipient.domain().to_owned(),
        }
    }
}

/// What the files hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Texts {
    shaping: String,
    rules: Option<String>,
}

/// The rules, and where they come from.
#[derive(Debug)]
pub struct TrafficPolicy {
    plan: RwLock<Arc<PolicySnapshot>>,
    base: Limits,
    route: Route,
    delays: Option<Vec<Duration>>,
    shaping_file: PathBuf,
    rules_file: PathBuf,
    /// What was read last, used or not.
    read: Mutex<Texts>,
    /// Projects that routes name.
    projects: Mutex<HashMap<String, ProjectId>>,
}

impl TrafficPolicy {
    /// Reads the files; the error names the setting and what is wrong.
    pub fn new(config: &Config) -> Result<Self, String> {
        let delivery = &config.delivery;
        let base = Limits {
            connections: delivery.sessions,
            connection_rate: None,
            message_rate: None,
            messages_per_connection: delivery.messages_per_session,
            idle: delivery.session_idle.0,
        };
        let delays = Some(delivery.retry.0.clone()).filter(|delays| !delays.is_empty());
        let (shaping_file, rules_file) = (delivery.shaping_file.clone(), delivery.rules_file.clone());
        let route = delivery.route.route.clone();
        let texts = read(&shaping_file, &rules_file)?;
        let plan = plan(&texts, base, &route, delays.clone(), &HashMap::new())?;
        Ok(Self {
            plan: RwLock::new(Arc::new(plan)),
            base,
            route,
            delays,
            shaping_file,
            rules_file,
            read: Mutex::new(texts),
            projects: Mutex::default(),
        })
    }

    /// The rules in force now.
    pub fn plan(&self) -> Arc<PolicySnapshot> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again; `false` when they say what they said before.
    pub fn reload(&self) -> Result<bool, String> {
        let texts = read(&self.shaping_file, &self.rules_file)?;
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if *last == texts {
            return Ok(false);
        }
        last.clone_from(&texts);
        drop(last);
        self.put_in_force(&texts).map(|()| true)
    }

    fn put_in_force(&self, texts: &Texts) -> Result<(), String> {
        let projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let plan = plan(texts, self.base, &self.route, self.delays.clone(), &projects)?;
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plan);
        Ok(())
    }

    /// Finds out which projects the routes' names are.
    pub async fn name_projects(&self, store: &Store) -> Result<(), StoreError> {
        let mut found = Vec::new();
        for name in self.plan().shaping.unnamed_projects() {
            if let Some(id) = store.find_project(&name).await? {
                found.push((name, id));
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        self.projects.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
        let texts = self.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Err(why) = self.put_in_force(&texts) {
            tracing::warn!(why, "the rules cannot be put in force");
        }
        Ok(())
    }

    /// Follows the files until the service stops.
    pub async fn follow(self: Arc<Self>, store: Store, shutdown: Shutdown) {
        while shutdown.pause(LOOK).await {
            match self.reload() {
                Ok(true) => {
                    tracing::info!(rules = self.plan().classifier.version(), "shaping and rules were read anew");
                }
                Ok(false) => {}
                Err(why) => tracing::error!(why, "shaping or rules cannot be used; the ones before stay in force"),
            }
            if let Err(error) = self.name_projects(&store).await {
                tracing::debug!(%error, "the projects that routes name cannot be looked up");
            }
        }
    }
}

fn read(shaping: &PathBuf, rules: &PathBuf) -> Result<Texts, String> {
    let text = |setting: &str, path: &PathBuf| {
        let named = |error| format!("{setting}: {}: {error}", path.display());
        std::fs::read_to_string(path).map_err(named)
    };
    let is_given = |path: &PathBuf| !path.as_os_str().is_empty();
    Ok(Texts {
        shaping: if is_given(shaping) { text("delivery.shaping_file", shaping)? } else { String::new() },
        rules: if is_given(rules) { Some(text("delivery.rules_file", rules)?) } else { None },
    })
}

fn plan(
    texts: &Texts,
    base: Limits,
    route: &Route,
    delays: Option<Vec<Duration>>,
    projects: &HashMap<String, ProjectId>,
) -> Result<PolicySnapshot, String> {
    let mut shaping = Shaping::new(&texts.shaping, base).map_err(|error| format!("delivery.shaping_file: {error}"))?;
    for (name, id) in projects {
        shaping.name_project(name, *id);
    }
    let classifier =
        Classifier::new(texts.rules.as_deref(), delays).map_err(|error| format!("delivery.rules_file: {error}"))?;
    if let Some(provider) = shaping.limited_providers().find(|name| !classifier.has_provider(name)) {
        return Err(format!("delivery.shaping_file: limits.provider.{provider}: the rules know no such provider"));
    }
    for (name, source) in shaping.sources().filter(|(_, source)| !can_leave_from(source.address)) {
        tracing::warn!(source = name, address = %source.address, "this machine does not have the address of a source");
    }
    Ok(PolicySnapshot { shaping, classifier, route: route.clone() })
}
