//! A runtime on one thread with a name, so that the machine counts its CPU time apart.

use tokio::sync::mpsc;

use crate::terminal::CommandError;

type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs what it is given until its last handle is dropped.
#[derive(Clone)]
pub struct Thread {
    tasks: mpsc::UnboundedSender<Task>,
}

impl Thread {
    pub fn start(name: &'static str) -> Result<Self, CommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CommandError::new)?;
        let (tasks, mut given) = mpsc::unbounded_channel::<Task>();
        let run = move || {
            runtime.block_on(async {
                while let Some(task) = given.recv().await {
                    tokio::spawn(task);
                }
            });
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(CommandError::new)?;
        Ok(Self { tasks })
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // The thread ends only after this sender.
        let _ = self.tasks.send(Box::pin(task));
    }
}
