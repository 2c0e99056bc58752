//! A real `PgBouncer` (Debian's package) in transaction mode, as an instance of the test's own: its folder, its socket.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgConnectOptions;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::within;

/// A running instance. Two transactions of a client are likely to be two servers'.
pub struct Bouncer {
    /// The database that it was started for, by way of it.
    pub url: String,
    _child: Child,
}

impl Bouncer {
    /// In front of the database at `url`; `settings` are lines of its own section.
    pub async fn start(url: &str, settings: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("mailwright-bouncer-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        let options: PgConnectOptions = url.parse().unwrap();
        let socket = options.get_socket().expect("a unix socket").display().to_string();
        let (database, user) = (options.get_database().unwrap(), options.get_username());
        let text = format!(
            "[databases]\n{database} = host={socket} dbname={database} user={user}\n[pgbouncer]\npool_mode = transaction\n\
             auth_type = any\nlisten_addr =\nunix_socket_dir = {}\nunix_socket_mode = 0777\nmax_client_conn = 500\n\
             default_pool_size = 8\nserver_round_robin = 1\nadmin_users = nobody\n{settings}\n",
            folder.display()
        );
        let file = folder.join("pgbouncer.ini");
        std::fs::write(&file, text).unwrap();
        // It must reach the server's socket, as the server's own user does.
        let owner = std::fs::metadata(std::path::Path::new(&socket).join(".s.PGSQL.5432")).unwrap();
        let child =
            command(&file, owner.uid(), owner.gid()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let socket = folder.join(".s.PGSQL.6432");
        within("PgBouncer to listen", async {
            while UnixStream::connect(&socket).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let url = format!("postgres://{user}@localhost:6432/{database}?host={}", folder.display());
        Self { url, _child: child }
    }
}

/// Another build than Debian's, from 1.21 on: it keeps account of prepared statements.
pub fn newer() -> Option<std::ffi::OsString> {
    std::env::var_os("MAILWRIGHT_PGBOUNCER")
}

/// It refuses to run as root.
fn command(file: &PathBuf, uid: u32, gid: u32) -> Command {
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let program = newer().unwrap_or_else(|| "pgbouncer".into());
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").arg("-q").arg(file).stdin(Stdio::null()).kill_on_drop(true);
    command
}
