//! The `pf` program as an operator meets it: it starts, says what it does, and stops.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test program: nobody reads its documentation, and what fails shall fail"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

const PF: &str = env!("CARGO_BIN_EXE_pf");

/// A folder with a configuration and a users file, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(more: &str) -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pf-run-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let config = format!(
            "state_dir = \"state\"\n{more}\n[sip]\nlisten = [\"udp:127.0.0.1:0\", \"tcp:127.0.0.1:0\"]\n[msrp]\n\
             listen = [\"127.0.0.1:0\"]\n[registrar]\ndomains = [\"example.org\"]\nusers = \"users.toml\"\n[admin]\n\
             socket = \"pf.sock\"\n"
        );
        fs::write(path.join("pf.toml"), config).unwrap();
        fs::write(
            path.join("users.toml"),
            "[[user]]\naddresses = [\"sip:alice.liddell@example.org\"]\nusername = \"alice\"\npassword = \"rabbit\"\n",
        )
        .unwrap();
        fs::set_permissions(path.join("users.toml"), fs::Permissions::from_mode(0o600)).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running `pf`, killed at the end if it still runs.
struct Running {
    child: Child,
    ready: String,
}

impl Running {
    fn start(folder: &Folder) -> Running {
        let mut child = Command::new(PF)
            .args(["run", "--config"])
            .arg(folder.file("pf.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        Running { child, ready }
    }

    /// The address after a word of the ready line.
    fn address(&self, before: &str) -> SocketAddr {
        let rest =
            self.ready.split(before).nth(1).unwrap_or_else(|| panic!("{before:?} in {:?}", self.ready));
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Sends a signal, waits for the end; gives whether it ended well, and its log.
    fn stop(mut self, signal: libc::c_int) -> (bool, String) {
        // SAFETY: kill takes numbers only; the process is our own child and has not been waited for.
        assert_eq!(unsafe { libc::kill(self.child.id() as libc::pid_t, signal) }, 0);
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "pf does not stop");
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (status.success(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pf(arguments: &[&str], file: &Path) -> Output {
    Command::new(PF).args(arguments).arg(file).output().unwrap()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[test]
fn it_starts_answers_and_stops_without_leaving_anything() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let folder = Folder::new("");
        let running = Running::start(&folder);
        assert!(running.ready.starts_with("pf ready: sip udp:127.0.0.1:"), "{}", running.ready);
        assert_ne!(running.address(" msrp ").port(), 0);
        assert_ne!(running.address(" tcp:").port(), 0);
        for view in ["sessions", "devices", "legs"] {
            let output = pf(&[view, "--json", "--socket"], &folder.file("pf.sock"));
            assert_eq!(text(&output.stdout).trim(), "[]", "{view}: {}", text(&output.stderr));
        }
        let stats = pf(&["stats", "--json", "--socket"], &folder.file("pf.sock"));
        let stats: serde_json::Value = serde_json::from_slice(&stats.stdout).unwrap();
        assert_eq!(stats["sessions"], 0);
        // Where this host and this build can, it is on; either way, one line says so.
        let available = stats["fast_path"]["available"].as_bool().unwrap();
        assert_eq!(stats["fast_path"]["missing"].is_null(), available);
        assert_eq!(fs::metadata(folder.file("state/contact.key")).unwrap().len(), 32);

        let (well, log) = running.stop(signal);
        assert!(well, "{log}");
        assert!(!folder.file("pf.sock").exists());
        let (on, off) = (log.matches("fast path: on").count(), log.matches("fast path: off").count());
        assert_eq!((on, off), if available { (1, 0) } else { (0, 1) }, "{log}");
    }
}

#[test]
fn without_a_running_pf_the_views_say_so_in_one_line() {
    let folder = Folder::new("");
    let output = pf(&["sessions", "--socket"], &folder.file("pf.sock"));
    assert!(!output.status.success());
    assert_eq!(text(&output.stderr).lines().count(), 1);
    assert!(text(&output.stderr).contains("is pf running?"), "{}", text(&output.stderr));
}

#[test]
fn a_required_fast_path_refuses_to_start() {
    // Several workers cannot have it, whatever the host can.
    let folder = Folder::new("fast_path = \"required\"\n");
    let file = folder.file("pf.toml");
    let workers = fs::read_to_string(&file).unwrap().replace("[msrp]\n", "[msrp]\nworkers = 2\n");
    fs::write(&file, workers).unwrap();
    let output = pf(&["run", "--config"], &folder.file("pf.toml"));
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("serves one worker"), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty(), "it was never ready");
}

#[test]
fn a_guard_that_cannot_be_had_refuses_to_start() {
    let folder = Folder::new("guard = { interfaces = [\"nosuch0\"] }\n");
    let output = pf(&["run", "--config"], &folder.file("pf.toml"));
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("guard"), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty(), "it was never ready");
    let check = pf(&["check"], &folder.file("pf.toml"));
    assert!(text(&check.stdout).contains("no interface `nosuch0`"), "{}", text(&check.stdout));
}

#[test]
fn without_a_guard_there_are_no_maps() {
    let folder = Folder::new("fast_path = \"off\"\n");
    let _running = Running::start(&folder);
    let maps = pf(&["maps", "--json", "--socket"], &folder.file("pf.sock"));
    assert_eq!(text(&maps.stdout).trim(), "[]", "{}", text(&maps.stderr));
    let set = pf(&["maps", "set", "guard.packets_per_second", "1000", "--socket"], &folder.file("pf.sock"));
    assert!(
        !set.status.success() && text(&set.stderr).contains("there is no guard"),
        "{}",
        text(&set.stderr)
    );
}

#[test]
fn a_fast_path_that_is_off_is_not_talked_about() {
    let folder = Folder::new("fast_path = \"off\"\n");
    let (_, log) = Running::start(&folder).stop(libc::SIGTERM);
    assert!(!log.contains("fast path"), "{log}");
}

#[test]
fn run_and_check_agree_about_a_bad_file() {
    let folder = Folder::new("stat_dir = \"x\"\n");
    let file = folder.file("pf.toml");
    let check = pf(&["check"], &file);
    assert_eq!(check.status.code(), Some(1));
    assert!(text(&check.stdout).contains("pf.toml:2:1: stat_dir"), "{}", text(&check.stdout));
    assert!(text(&check.stdout).contains("did you mean `state_dir`?"));
    let run = pf(&["run", "--config"], &file);
    assert!(!run.status.success());
    assert!(text(&run.stderr).contains("did you mean `state_dir`?"), "{}", text(&run.stderr));
    assert_eq!(pf(&["check"], &Folder::new("").file("pf.toml")).status.code(), Some(0));
}

#[test]
fn check_says_what_the_fast_path_takes_of_the_kernels_memory() {
    let line = |more: &str| {
        let check = pf(&["check"], &Folder::new(more).file("pf.toml"));
        assert_eq!(check.status.code(), Some(0), "{}", text(&check.stdout));
        text(&check.stdout).lines().find(|line| line.starts_with("fast path: ")).map(str::to_owned)
    };
    let told = line("datapath = { connections = 1000, log = 1048576 }\n").unwrap();
    let (sum, maps) = told.split_once(" octets of kernel memory (").unwrap();
    let sum = sum.strip_prefix("fast path: 1000 connections take ").unwrap();
    let maps: Vec<(&str, &str)> =
        maps.strip_suffix(')').unwrap().split(", ").map(|map| map.split_once(' ').unwrap()).collect();
    let wanted = ["FLOWS", "CONNECTIONS", "SESSIONS", "LEGS", "LOG", "CONTROL", "SPLICE_COUNTS", "SCRATCH"];
    assert_eq!(maps.iter().map(|(name, _)| *name).collect::<Vec<_>>(), wanted);
    assert!(maps.contains(&("LOG", "1.0M")), "{told}");
    // As they are told, rounded to a tenth.
    let octets = |text: &str| match text.split_at(text.len() - 1) {
        (number, "k") => number.parse::<f64>().unwrap() * 1024.0,
        (number, "M") => number.parse::<f64>().unwrap() * 1024.0 * 1024.0,
        _ => text.parse().unwrap(),
    };
    let all: f64 = maps.iter().map(|(_, memory)| octets(memory)).sum();
    assert!((all - octets(sum)).abs() < 400_000.0, "{told}");
    // Ten times as many connections, each with its state and its path lines.
    let more = line("datapath = { connections = 10000, log = 1048576 }\n").unwrap();
    let sum = more.split(' ').find(|word| word.ends_with('M')).unwrap();
    assert!(octets(sum) - all > 9000.0 * 2500.0, "{told}; {more}");
    assert_eq!(line("fast_path = \"off\"\n"), None);
}

#[test]
fn two_of_them_do_not_share_a_socket() {
    let folder = Folder::new("");
    let _first = Running::start(&folder);
    let second = pf(&["run", "--config"], &folder.file("pf.toml"));
    assert!(!second.status.success());
    assert!(text(&second.stderr).contains("another pf is running"), "{}", text(&second.stderr));
    let output = pf(&["sessions", "--json", "--socket"], &folder.file("pf.sock"));
    assert_eq!(text(&output.stdout).trim(), "[]", "the first one still answers");
}

#[test]
fn nobody_is_named_in_the_log_above_debug() {
    let folder = Folder::new("");
    let running = Running::start(&folder);
    let pf = running.address(" udp:").to_string();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let me = socket.local_addr().unwrap();
    for (method, more) in [
        ("REGISTER", "Contact: <sip:alice.liddell@ME>;+sip.instance=\"<urn:uuid:1>\"\r\n"),
        ("INVITE", "Contact: <sip:alice.liddell@ME>\r\nContent-Type: application/sdp\r\n"),
        ("OPTIONS", ""),
        ("INVITE", "Contact: <sip:alice.liddell@ME\r\nNo colon in alice.liddell\r\n"),
    ] {
        let request = format!(
            "{method} sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{method}{}\r\nMax-Forwards: 70\r\n\
             From: <sip:alice.liddell@example.org>;tag=1\r\nTo: <sip:alice.liddell@example.org>\r\nCall-ID: {method}\r\n\
             CSeq: 1 {method}\r\n{}Content-Length: 0\r\n\r\n",
            more.len(),
            more.replace("ME", &me.to_string()),
        );
        socket.send_to(request.as_bytes(), &pf).unwrap();
        let mut answer = [0; 4096];
        let (length, _) = socket.recv_from(&mut answer).expect("an answer");
        assert!(answer[..length].starts_with(b"SIP/2.0 "));
    }
    let (well, log) = running.stop(libc::SIGTERM);
    assert!(well);
    assert!(!log.contains("alice") && !log.contains("liddell"), "{log}");
}

#[test]
fn without_descriptors_it_waits_and_says_so_once() {
    let folder = Folder::new("");
    let log = fs::File::create(folder.file("log")).unwrap();
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" run --config \"$1\"", PF])
        .arg(folder.file("pf.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let running = Running { child, ready };
    let msrp = running.address("msrp ");
    let many: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(msrp).unwrap()).collect();
    // Every octet wakes the worker up.
    for stream in &many {
        let _ = std::io::Write::write_all(&mut &*stream, b"MSRP tid-0001 SEND\r\n");
    }
    std::thread::sleep(Duration::from_millis(800));
    let lines = fs::read_to_string(folder.file("log")).unwrap();
    assert_eq!(lines.matches("cannot accept MSRP connections").count(), 1, "{lines}");
    assert!(!lines.contains('\u{1b}'), "no colours in a file");
    drop(many);
    // It accepts again by itself.
    let mut late = std::net::TcpStream::connect(msrp).unwrap();
    late.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let request = "MSRP tid-0002 SEND\r\nTo-Path: msrp://127.0.0.1:1/x;tcp\r\nFrom-Path: msrp://127.0.0.1:2/y;tcp\r\n\
                   -------tid-0002$\r\n";
    std::io::Write::write_all(&mut late, request.as_bytes()).unwrap();
    let mut answer = [0; 17];
    late.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"MSRP tid-0002 481");
}
