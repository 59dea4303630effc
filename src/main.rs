//! argv -> server -> exit code; nothing else.

use std::ffi::OsString;
use std::process::ExitCode;

use ramjet::ops::cli::{self, Command};
use ramjet::ops::signal_command;
use ramjet::ops::signals::SignalWatch;
use ramjet::server::run::run;

fn main() -> ExitCode {
    // Before any thread starts, so that each inherits the mask.
    let signals = match SignalWatch::register() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("nats-server: {error}\n"), 1),
    };
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let environment = |name: &str| std::env::var(name).ok();
    let command = match cli::parse(&arguments, &environment) {
        Ok(command) => command,
        Err(error) => {
            let code = fail(&error.stderr, error.exit_code);
            print!("{}", error.stdout);
            return code;
        }
    };
    match command {
        Command::Run(configured) => {
            for warning in &configured.warnings {
                eprintln!("{warning}");
            }
            run(signals, configured.options, &configured.inactive)
        }
        Command::Signal { command, target } => match signal_command::run(&command, &target) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("nats-server: {error}\n"), 1),
        },
        Command::CheckConfig { .. } => fail(&command.message(), 0),
        Command::PrintVersion | Command::PrintHelp | Command::PrintTlsHelp => {
            print!("{}", command.message());
            ExitCode::SUCCESS
        }
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    eprint!("{message}");
    ExitCode::from(code)
}
