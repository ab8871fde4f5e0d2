//! The command `sickbay`; see [`sickbay::cli`].

fn main() -> std::process::ExitCode {
    sickbay::cli::main()
}
