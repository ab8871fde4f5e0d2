//! Files of the network, by curl or wget of this machine: always with a deadline, never larger than asked for, into a file
//! that has no name, so that nothing is left of it. A target names the servers, so no redirection is followed and nobody on
//! the own link is asked, where the clouds answer with credentials of the machine.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};
use sickbay_formats::apt::is_link_local;

use crate::command::{self, Group};
use crate::{sys, vm};

/// How long the name of a mirror is looked for.
const RESOLVED: Duration = Duration::from_secs(20);
/// How long a mirror may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// The slowest mirror that is waited for, in bytes per second.
const SLOWEST: u64 = 20_000;
/// The largest file that is fetched, in bytes, whatever a list says: kernels with debug information come near.
pub const LARGEST: u64 = 2 << 30;
/// Which programs can fetch, the better first.
const PROGRAMS: [&str; 2] = ["curl", "wget"];
/// What of the environment tells the way: to proxies and to certificates.
const ENVIRONMENT: [&str; 11] = [
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "TMPDIR",
];

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// There is nothing to fetch with.
    #[error("neither curl nor wget is installed on this machine")]
    NoProgram,
    /// The server answered that it has no such file.
    #[error("{0}")]
    Absent(String),
    /// There was no answer, its end did not come, or it is not about the file: a proxy that refuses, a server that is ill.
    #[error("{0}")]
    Unreachable(String),
    /// It is larger than it may be.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    /// The file could not be kept.
    #[error("keeping it in {dir}: {source}")]
    Io {
        /// The directory.
        dir: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A file that was fetched. It is gone when this is dropped.
#[derive(Debug)]
pub struct Download(File);

impl Download {
    /// What it holds.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let (mut file, mut bytes) = (&self.0, Vec::new());
        file.rewind()?;
        file.take(LARGEST).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Whether there is a program to fetch with.
///
/// # Errors
/// [`DownloadError::NoProgram`]
pub fn is_there() -> Result<(), DownloadError> {
    program().map(drop)
}

fn program() -> Result<&'static str, DownloadError> {
    PROGRAMS.into_iter().find(|name| command::is_installed(name)).ok_or(DownloadError::NoProgram)
}

/// Fetches a `http` or `https` URL, in which everything odd is escaped, and at most `limit` bytes of it. `watch` is told now
/// and then how many bytes there are.
///
/// # Errors
/// See [`DownloadError`].
pub fn fetch(url: &str, limit: u64, watch: &mut dyn FnMut(u64)) -> Result<Download, DownloadError> {
    fetch_with(program()?, url, limit, watch)
}

fn fetch_with(program: &str, url: &str, limit: u64, watch: &mut dyn FnMut(u64)) -> Result<Download, DownloadError> {
    let dir = vm::spacious();
    let fail = |source: io::Error| DownloadError::Io { dir: dir.display().to_string(), source };
    let limit = limit.min(LARGEST);
    if let Some(address) = link_local(url) {
        return Err(DownloadError::Unreachable(format!(
            "its address {address} is link-local, and such addresses are not contacted"
        )));
    }
    let path = dir.join(vm::unique("sickbay-fetch"));
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(fail)?;
    std::fs::remove_file(&path).map_err(fail)?;

    let mut command = command::plain(program);
    command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    let seconds = SILENCE.as_secs().to_string();
    if program == "curl" {
        // No configuration of a user's, no patterns in URLs, and no way out of the web by a redirection.
        command.args(["--disable", "--globoff", "--proto", "=http,https", "--silent", "--show-error", "--fail"]);
        // A redirection is an error then (47).
        command.args(["--location", "--max-redirs", "0"]);
        command.args(["--connect-timeout", &seconds, "--max-filesize", &limit.to_string(), "--url", url]);
    } else {
        // GNU's: that of busybox follows every redirection.
        command.args(["-nv", "-t", "1", "-T", &seconds, "--max-redirect=0", "-O", "-", url]);
    }
    command.stdin(Stdio::null()).stdout(file.try_clone().map_err(fail)?).stderr(Stdio::piped());
    sys::before_exec(&mut command, bounded);
    let mut child = Group::of(command.spawn().map_err(fail)?);

    let until = Instant::now() + SILENCE + Duration::from_secs(limit / SLOWEST);
    let (mut size, mut heard) = (0, Instant::now());
    loop {
        // In this order: what it wrote last counts.
        let ended = child.has_ended().map_err(fail)?;
        let now = file.metadata().map_err(fail)?.len();
        if now > limit {
            return Err(DownloadError::TooLarge(limit));
        }
        if now != size {
            (size, heard) = (now, Instant::now());
            watch(size);
        }
        if ended {
            break;
        }
        if heard.elapsed() > SILENCE || Instant::now() > until {
            return Err(DownloadError::Unreachable(format!("no answer for {seconds} s, or too slow a one")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let (status, complaint) = child.ended().map_err(fail)?;
    // curl(1), wget(1): EXIT CODES; both name the answer. Whoever answers anything else says nothing of the file.
    let is_absent = ["404", "410"].iter().any(|answer| complaint.split([' ', ':']).any(|word| word == *answer));
    match (program, status.code()) {
        (_, Some(0)) => Ok(Download(file)),
        ("curl", Some(63)) => Err(DownloadError::TooLarge(limit)),
        ("curl", Some(22)) | ("wget", Some(8)) if is_absent => Err(DownloadError::Absent(complaint)),
        _ => Err(DownloadError::Unreachable(complaint)),
    }
}

/// The address on the own link under which this machine would look for the server of `url`: names can lead there as well. A
/// proxy looks for itself.
fn link_local(url: &str) -> Option<String> {
    let has_proxy = |name: &str| name.to_ascii_lowercase().ends_with("_proxy") && std::env::var_os(name).is_some();
    let authority = url.split('/').nth(2)?;
    if is_link_local(authority) {
        return Some(authority.to_owned());
    }
    if authority.starts_with('[') || ENVIRONMENT.into_iter().any(has_proxy) {
        return None;
    }
    let host = authority.split(':').next()?;
    // Where there is no getent, or no answer, the program that fetches does not find the server either, or says so.
    let answer = command::run("getent", &["ahosts", host], b"", RESOLVED, 64 << 10).ok()?;
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let mut addresses = text.lines().filter_map(|line| line.split_whitespace().next());
    let bracketed = |address: &str| if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    addresses.find(|address| is_link_local(&bracketed(address))).map(str::to_owned)
}

/// What the child does before it becomes the program. System calls only, see [`sys::before_exec`].
fn bounded() -> io::Result<()> {
    setrlimit(Resource::Fsize, Rlimit { current: Some(LARGEST), maximum: Some(LARGEST) })?;
    command::die_with_parent()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers every request in the same way.
    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let lines = BufReader::new(&stream).lines();
                let _ = lines.map_while(Result::ok).find(String::is_empty);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        url
    }

    #[test]
    fn both_programs_tell_the_same() {
        for program in PROGRAMS {
            let fetch = |url: &str| fetch_with(program, url, 10, &mut |_| {});
            let good = fetch(&server("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")).unwrap();
            assert_eq!((good.read().unwrap(), good.read().unwrap()), (b"good".to_vec(), b"good".to_vec()));
            let absent = fetch(&server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"));
            assert!(matches!(absent, Err(DownloadError::Absent(_))), "{program}: {absent:?}");
            let ill = fetch(&server("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"));
            assert!(matches!(ill, Err(DownloadError::Unreachable(_))), "{program}: {ill:?}");
            let here = fetch("http://169.254.169.254/x");
            assert!(matches!(here, Err(DownloadError::Unreachable(_))), "{program}: {here:?}");
            let elsewhere = server("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
            let answer = format!("HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n");
            let elsewhere = fetch(&server(answer.leak()));
            assert!(matches!(elsewhere, Err(DownloadError::Unreachable(_))), "{program}: {elsewhere:?}");
            for large in
                ["HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n12345678901", "HTTP/1.0 200 OK\r\n\r\n12345678901"]
            {
                let large = fetch(&server(large));
                assert!(matches!(large, Err(DownloadError::TooLarge(10))), "{program}: {large:?}");
            }
            let cut = fetch(&server("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n123"));
            assert!(matches!(cut, Err(DownloadError::Unreachable(_))), "{program}: {cut:?}");
            let outside =
                fetch(&server("HTTP/1.1 302 Found\r\nLocation: file:///etc/hostname\r\nContent-Length: 0\r\n\r\n"));
            assert!(outside.is_err(), "{program}: {outside:?}");
        }
    }
}
