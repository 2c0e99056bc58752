//! The certificate that we show to others, read anew when its file changes.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Writes a certificate of its own, which nobody has issued, for this machine, and its key, if they are not there.
pub fn ensure_self_signed(cert: &Path, key: &Path) -> Result<(), String> {
    if cert.exists() && key.exists() {
        return Ok(());
    }
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| error.to_string())?;
    for (path, text) in [(key, made.signing_key.serialize_pem()), (cert, made.cert.pem())] {
        let mut file = OpenOptions::new();
        let file = file.write(true).create(true).truncate(true).mode(0o600).open(path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// A certificate and its key.
pub struct ServerTls {
    cert: PathBuf,
    key: PathBuf,
    known: Mutex<Known>,
}

struct Known {
    changed: [Option<SystemTime>; 2],
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// The certificate of a setting; `None`: it names no file.
    pub fn configured(cert: &Path, key: &Path) -> Result<Option<Self>, String> {
        if cert.as_os_str().is_empty() { Ok(None) } else { Self::new(cert.to_owned(), key.to_owned()).map(Some) }
    }

    /// Reads both files; the error names what is wrong with which.
    pub fn new(cert: PathBuf, key: PathBuf) -> Result<Self, String> {
        let config = read(&cert, &key)?;
        let changed = [changed(&cert), changed(&key)];
        Ok(Self { cert, key, known: Mutex::new(Known { changed, config }) })
    }

    /// What is shown now. A file that cannot be used leaves what was there before.
    pub fn current(&self) -> Arc<ServerConfig> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = [changed(&self.cert), changed(&self.key)];
        if now.iter().all(Option::is_some) && now != known.changed {
            match read(&self.cert, &self.key) {
                Ok(config) => (known.changed, known.config) = (now, config),
                // One file may be written before the other: it is tried again.
                Err(why) => tracing::warn!(why, "the certificate cannot be used; the one before is shown"),
            }
        }
        Arc::clone(&known.config)
    }
}

fn changed(path: &PathBuf) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|about| about.modified()).ok()
}

fn read(cert: &PathBuf, key: &PathBuf) -> Result<Arc<ServerConfig>, String> {
    let named = |path: &PathBuf, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let certificates = CertificateDer::pem_file_iter(cert).map_err(|error| named(cert, &error))?;
    let certificates: Result<Vec<_>, _> = certificates.collect();
    let certificates = certificates.map_err(|error| named(cert, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| named(key, &error))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = builder.with_no_client_auth().with_single_cert(certificates, private);
    config.map(Arc::new).map_err(|error| named(cert, &error))
}
