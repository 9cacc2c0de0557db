//! Programs that tests start, and how to talk to them.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Nothing that a test waits for takes longer, unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Finds a program in the folders of `MONSTACK_TEST_BIN` or of `PATH`.
pub fn find(names: &[&str]) -> Option<PathBuf> {
    let folders = ["MONSTACK_TEST_BIN", "PATH"].iter().filter_map(env::var_os);
    let folders: Vec<_> =
        folders.flat_map(|folders| env::split_paths(&folders).collect::<Vec<_>>()).collect();
    let mut candidates =
        folders.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    candidates.find(|path| path.is_file())
}

/// A port of the loopback address that nobody uses now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program that ends with the test.
pub struct Running {
    pub child: Child,
    pub client: Client,
    lines: mpsc::Receiver<String>,
}

impl Running {
    /// Starts the agent and waits until its log says where it listens.
    pub fn agent(arguments: &[&str]) -> Running {
        let mut running = Running::start(agent(arguments));
        let line = running.line_with("\"message\":\"listening\"");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        running.client.address = line["address"].as_str().unwrap().to_owned();
        running
    }

    /// Starts any program.
    pub fn start(mut command: Command) -> Running {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Somebody has to read the log, or the program stops when the pipe is full.
        thread::spawn(move || {
            log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Running { child, client: Client::default(), lines }
    }

    /// Waits for a line of the log.
    pub fn line_with(&self, part: &str) -> String {
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("the log never said `{part}`"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Sends a signal such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "the program does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Its methods ask the program.
impl Deref for Running {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// Asks a program that listens.
#[derive(Clone, Default)]
pub struct Client {
    pub address: String,
}

impl Client {
    /// Connects.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Asks for a page and answers the head and the body.
    pub fn get(&self, path: &str) -> (String, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
    }

    /// Sends a request as it is, and answers head and body.
    pub fn ask(&self, request: &str) -> (String, String) {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// Asks for the metrics.
    pub fn metrics(&self) -> String {
        // The older version of HTTP has no chunks, which node_exporter would send otherwise.
        let (head, body) = self.ask("GET /metrics HTTP/1.0\r\nHost: test\r\n\r\n");
        assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
        body
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The agent's `run` command, with nothing inherited that would change it.
pub fn agent(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_monstack-agent"));
    command.arg("run").args(arguments);
    for (name, _) in
        env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MONSTACK_AGENT_"))
    {
        command.env_remove(name);
    }
    command
}

/// The value of a series without labels.
pub fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no `{name}` in the text")).parse().unwrap()
}
