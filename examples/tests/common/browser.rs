//! A real browser: headless Chromium, steered through chromedriver (W3C WebDriver, which is JSON over HTTP).

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Headless, as root, and without a word to anybody outside.
const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// How long a page may take to load, on a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(1);

/// A browser with a profile of its own. It ends with the value, and its profile is removed.
pub(crate) struct Browser {
    driver: Child,
    /// Kept open, so that what it prints later does not end it.
    _output: BufReader<ChildStdout>,
    port: u16,
    session: String,
    /// Everything that the two write.
    home: PathBuf,
}

impl Browser {
    /// Starts one, with an empty page.
    pub(crate) fn start() -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let nth = STARTED.fetch_add(1, Ordering::Relaxed);
        let home = std::env::temp_dir().join(format!("heartring-browser-{}-{nth}", std::process::id()));
        fs::create_dir(&home).expect("a directory can be made");
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", &home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed");
        let mut output = BufReader::new(driver.stdout.take().expect("it is piped"));
        let port = hear_port(&mut output);
        let mut browser = Self { driver, _output: output, port, session: String::new(), home };
        let profile = format!("--user-data-dir={}", browser.home.join("profile").display());
        let flags: Vec<&str> = FLAGS.into_iter().chain([profile.as_str()]).collect();
        let wanted = json!({ "browserName": "chrome", "goog:chromeOptions": { "args": flags } });
        let session = browser.ask("POST", "/session", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.session = session["sessionId"].as_str().expect("a session has a name").into();
        browser
    }

    /// Opens a page and waits until it is loaded.
    pub(crate) fn open(&self, url: &str) {
        self.order("url", &json!({ "url": url }));
    }

    /// Runs the body of a function in the page and gives what it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.order("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Presses and releases a key, which is named by its WebDriver code point.
    pub(crate) fn press(&self, key: char) {
        let strokes = ["keyDown", "keyUp"].map(|stroke| json!({ "type": stroke, "value": key }));
        self.order(
            "actions",
            &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] }),
        );
    }

    /// Stops its processes where they are: it has vanished, although its kernel still answers.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        for pid in descendants(self.driver.id()) {
            // One that has ended meanwhile is no loss.
            let _ = kill_process(pid, signal);
        }
    }

    fn order(&self, what: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}/{what}", self.session), body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, body) = self.exchange(method, path, body).expect("chromedriver answers");
        let mut body: Value = serde_json::from_slice(&body).expect("WebDriver speaks JSON");
        assert!(status.contains(" 200 "), "{method} {path}: {body}");
        body["value"].take()
    }

    /// One request and its answer: the status line and the body.
    fn exchange(&self, method: &str, path: &str, body: &Value) -> io::Result<(String, Vec<u8>)> {
        let body = body.to_string();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (port, length) = (self.port, body.len());
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: {length}\r\n");
        stream.write_all(format!("{head}Content-Type: application/json\r\n\r\n{body}").as_bytes())?;
        let mut answer = BufReader::new(stream);
        let mut head = Vec::new();
        while head.last().is_none_or(|line: &String| line != "\r\n") {
            let mut line = String::new();
            if answer.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            head.push(line);
        }
        let length = head
            .iter()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        answer.read_exact(&mut body)?;
        Ok((head.swap_remove(0), body))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.thaw(); // A stopped process does not even die in order.
        let ours = descendants(self.driver.id());
        let _ = self.exchange("DELETE", &format!("/session/{}", self.session), &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        for pid in ours {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// "ChromeDriver was started successfully on port 40123."
fn hear_port(output: &mut impl BufRead) -> u16 {
    let mut words = String::new();
    while output.read_line(&mut words).expect("its words are text") > 0 {
        let port =
            words.split_once("successfully on port ").map(|(_, port)| port.trim_end().trim_end_matches('.'));
        if let Some(port) = port.and_then(|port| port.parse().ok()) {
            return port;
        }
    }
    panic!("chromedriver did not start: {words}");
}

/// The processes that a process has started, and those that they have.
fn descendants(ancestor: u32) -> Vec<Pid> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .expect("/proc is mounted")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent_of(pid)?)))
        .collect();
    let mut family = vec![ancestor];
    let mut nth = 0;
    while let Some(&parent) = family.get(nth) {
        family.extend(parents.iter().filter(|link| link.1 == parent).map(|link| link.0));
        nth += 1;
    }
    family.into_iter().skip(1).filter_map(|pid| Pid::from_raw(pid.cast_signed())).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // "7 (a name) S 1 ...": the name may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
