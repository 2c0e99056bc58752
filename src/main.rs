//! The `mailwright` command; see [`mailwright::cli`].

use std::process::ExitCode;

/// A message costs some hundred allocations, of every size and freed by other threads: glibc's spends a fifth of the
/// service's time on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mailwright::cli::main()
}
