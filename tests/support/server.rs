//! The server executable as a child process: start, watch, signal, stop.

use super::client::Client;
use super::directory::TempDir;
use super::http::{self, Response};
use super::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

/// The executable under test.
pub fn executable() -> String {
    std::env::var("RAMJET_TEST_SERVER").unwrap_or_else(|_| env!("CARGO_BIN_EXE_ramjet").to_owned())
}

/// Whether this is Ramjet, so that cases which go beyond stock on purpose apply.
pub fn beyond_stock() -> bool {
    // Every Go executable carries this mark; both servers report the same version.
    static IS_GO: OnceLock<bool> = OnceLock::new();
    !IS_GO.get_or_init(|| {
        let bytes = fs::read(executable()).expect("server executable");
        memchr::memmem::find(&bytes, b"\xff Go buildinf:").is_some()
    })
}

/// What a run to the end left behind.
pub struct Finished {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// How to start a server; every listener defaults to a free port of 127.0.0.1.
pub struct Builder {
    dir: TempDir,
    program: String,
    name: Option<String>,
    config: Option<String>,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    own_listener: bool,
}

impl Builder {
    /// The server's directory: the configuration's, the working directory, removed at the end.
    pub fn dir(&self) -> &TempDir {
        &self.dir
    }

    /// Writes `text` to `server.conf` and passes it with `-c`. `@DIR@` stands for the directory.
    pub fn config(mut self, text: &str) -> Self {
        let text = text.replace("@DIR@", self.dir.path().to_str().expect("text"));
        self.config = Some(self.dir.write("server.conf", &text));
        self
    }

    /// Adds flags, separated by blanks. `@DIR@` stands for the directory.
    pub fn flags(mut self, flags: &str) -> Self {
        let flags = flags.replace("@DIR@", self.dir.path().to_str().expect("text"));
        self.flags
            .extend(flags.split_whitespace().map(str::to_owned));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts `program` instead of the executable, found through PATH where it has no slash.
    pub fn program(mut self, program: &str) -> Self {
        self.program = program.to_owned();
        self
    }

    /// Sets `argv[0]`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Leaves `-a` and `-p` to the caller's flags or configuration.
    pub fn own_listener(mut self) -> Self {
        self.own_listener = true;
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(name) = &self.name {
            command.arg0(name);
        }
        if let Some(config) = &self.config {
            command.args(["-c", config]);
        }
        command.args(&self.flags);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// Runs with exactly the flags given, to the end: for starts that fail and flags that only
    /// print.
    #[track_caller]
    pub fn run(self) -> Finished {
        let mut command = self.command();
        let [out, err] = ["run.out", "run.err"].map(|name| self.dir.file(name));
        command.stdout(File::create(&out).expect("stdout file"));
        command.stderr(File::create(&err).expect("stderr file"));
        let child = command.spawn().expect("server starts");
        let mut child = Guard(child, PathBuf::from(&err));
        let status = wait_until("the server to exit", || child.0.try_wait().expect("wait"));
        let text = |path| String::from_utf8_lossy(&fs::read(path).expect("output")).into_owned();
        Finished {
            code: status.code().expect("no signal"),
            stdout: text(&out),
            stderr: text(&err),
        }
    }

    /// Starts it and waits until every listener accepts.
    #[track_caller]
    pub fn start(self) -> Server {
        let mut command = self.command();
        let ports = self.dir.file("ports");
        fs::create_dir_all(&ports).expect("ports directory");
        if !self.own_listener {
            command.args(["-a", "127.0.0.1", "-p", "-1"]);
        }
        command.args(["--ports_file_dir", &ports]);
        command.stdout(Stdio::null());
        let log = PathBuf::from(self.dir.file("stderr.log"));
        command.stderr(File::create(&log).expect("stderr file"));
        let mut child = Guard(command.spawn().expect("server starts"), log);
        let listeners = wait_until("the ports file", || {
            if let Some(status) = child.0.try_wait().expect("wait") {
                let log = fs::read_to_string(self.dir.file("stderr.log"));
                panic!(
                    "the server ended with {status}: {}",
                    log.unwrap_or_default()
                );
            }
            let mark = format!("_{}.ports", child.0.id());
            let found = fs::read_dir(&ports).ok()?.flatten();
            let file = found
                .map(|entry| entry.path())
                .find(|path| path.to_str().is_some_and(|path| path.ends_with(&mark)))?;
            serde_json::from_str(&fs::read_to_string(file).ok()?).ok()
        });
        Server {
            child,
            listeners,
            builder: self,
        }
    }
}

/// A child process that does not outlive its test, and its log, which a test that fails shows.
struct Guard(Child, PathBuf);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        if std::thread::panicking() {
            let log = fs::read(&self.1).unwrap_or_default();
            eprintln!("--- server log ---\n{}", String::from_utf8_lossy(&log));
        }
    }
}

/// A running server; killed on drop.
pub struct Server {
    child: Guard,
    listeners: Value,
    builder: Builder,
}

impl Server {
    /// Choices before the start.
    pub fn builder() -> Builder {
        Builder {
            dir: TempDir::new(),
            program: executable(),
            name: None,
            config: None,
            flags: Vec::new(),
            environment: Vec::new(),
            own_listener: false,
        }
    }

    /// A server with defaults.
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A server with a configuration.
    #[track_caller]
    pub fn with_config(text: &str) -> Self {
        Self::builder().config(text).start()
    }

    /// A server with the monitoring port and a configuration.
    #[track_caller]
    pub fn with_monitor(text: &str) -> Self {
        Self::builder().config(text).flags("-m -1").start()
    }

    /// The whole ports file.
    pub fn listeners(&self) -> &Value {
        &self.listeners
    }

    fn listener(&self, kind: &str) -> SocketAddr {
        let url = self.listeners[kind][0]
            .as_str()
            .unwrap_or_else(|| panic!("no {kind} listener"));
        let address = url.split("//").nth(1).expect("scheme and address");
        address.parse().expect("numeric address")
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.listener("nats")
    }

    /// Where WebSocket clients connect.
    pub fn websocket_address(&self) -> SocketAddr {
        self.listener("websocket")
    }

    /// Where monitoring answers.
    pub fn monitor_address(&self) -> SocketAddr {
        self.listener("monitoring")
    }

    /// A connection that only has read INFO.
    #[track_caller]
    pub fn open(&self) -> Client {
        Client::open(self.address())
    }

    /// A connection after CONNECT, PING, PONG and the second INFO, with all features.
    #[track_caller]
    pub fn client(&self) -> Client {
        self.client_with("{}")
    }

    /// As [`Server::client`]; the fields of `options` replace those of the usual CONNECT.
    #[track_caller]
    pub fn client_with(&self, options: &str) -> Client {
        let mut client = self.open();
        client.connect(options);
        client
    }

    /// Eight clients: more than a machine for tests has shards to hide on.
    #[track_caller]
    pub fn clients(&self) -> Vec<Client> {
        (0..8).map(|_| self.client()).collect()
    }

    /// `GET path` on the monitoring port.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        http::get(self.monitor_address(), path)
    }

    /// `GET path`, which must answer 200, as JSON.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        let response = self.get(path);
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        response.json()
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// The server's directory.
    pub fn dir(&self) -> &TempDir {
        &self.builder.dir
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child.0), signal).expect("the server runs");
    }

    /// Replaces the configuration file.
    pub fn rewrite_config(&self, text: &str) {
        let text = text.replace("@DIR@", self.builder.dir.path().to_str().expect("text"));
        self.builder.dir.write("server.conf", &text);
    }

    /// Replaces the configuration file and waits for the reload to succeed.
    #[track_caller]
    pub fn reload(&self, text: &str) {
        self.rewrite_config(text);
        let before = self.count_in_log("Reloaded server configuration");
        self.signal(Signal::HUP);
        wait_until("the reload", || {
            (self.count_in_log("Reloaded server configuration") > before).then_some(())
        });
    }

    /// Replaces the configuration file, waits for the reload to fail and gives the reason.
    #[track_caller]
    pub fn refused_reload(&self, text: &str) -> String {
        const REFUSED: &str = "Failed to reload server configuration: ";
        self.rewrite_config(text);
        let before = self.count_in_log(REFUSED);
        self.signal(Signal::HUP);
        wait_until("the refusal", || {
            let log = self.log();
            let (_, reason) = log.rsplit_once(REFUSED)?;
            // Whole lines only.
            let reason = reason.split_once('\n')?.0;
            (log.matches(REFUSED).count() > before).then(|| reason.to_owned())
        })
    }

    /// Everything on standard error so far: the log, unless sent elsewhere.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.builder.dir.file("stderr.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How often `text` stands in the log.
    pub fn count_in_log(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Waits for `text` in the log and gives the first line that has it.
    #[track_caller]
    pub fn logged(&self, text: &str) -> String {
        wait_until(text, || {
            self.log()
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned)
        })
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub fn exited(&mut self) -> ExitStatus {
        wait_until("the server to exit", || {
            self.child.0.try_wait().expect("wait")
        })
    }

    /// Ends the server in good order and starts it again in the same directory, as it was.
    #[track_caller]
    pub fn restart(mut self) -> Self {
        self.signal(Signal::TERM);
        self.exited();
        self.crash()
    }

    /// Kills the server and starts it again in the same directory, as it was.
    #[track_caller]
    pub fn crash(self) -> Self {
        let Self { child, builder, .. } = self;
        drop(child);
        builder.start()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.0.try_wait().expect("wait").is_none()
    }

    /// Resident memory in bytes.
    pub fn resident_size(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("status");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("VmRSS");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .expect("figure")
            .parse()
            .expect("number");
        kib * 1024
    }
}
