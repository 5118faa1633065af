//! A Hub that is not one: it answers on the loopback interface as the Hub does (`/api/models/…`, `/ORG/NAME/resolve/…`),
//! leads to a second server for large files, and fails as it is told to.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};

pub const COMMIT: &str = "fedcba9876543210fedcba9876543210fedcba98";
/// Longer files are on the second server.
const SMALL: usize = 1000;

/// A request, as a server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whether it came to the second server.
    pub elsewhere: bool,
    pub path: String,
    pub token: Option<String>,
    pub range: Option<(usize, usize)>,
}

/// What goes wrong.
#[derive(Default)]
pub struct Trouble {
    /// Every answer of the Hub is of this status, with these headers.
    pub status: Option<(u16, Vec<(&'static str, String)>)>,
    /// Bytes of files after which the next answers are cut, one each.
    pub cuts: Vec<usize>,
    /// All later answers are cut after so many bytes.
    pub cut_always: Option<usize>,
    /// Whole files only.
    pub no_ranges: bool,
    /// The bytes that are sent are others.
    pub wrong_bytes: bool,
    /// The etag is another.
    pub wrong_etag: bool,
    /// Where large files lead to.
    pub redirect: Option<String>,
    /// Listed besides.
    pub listed: Option<String>,
    /// The size that is told of every large file.
    pub size: Option<u64>,
}

#[derive(Clone)]
struct File {
    bytes: Arc<Vec<u8>>,
    etag: String,
}

#[derive(Default)]
struct State {
    repositories: Mutex<BTreeMap<String, BTreeMap<String, File>>>,
    seen: Mutex<Vec<Seen>>,
    sent: AtomicU64,
    trouble: Mutex<Trouble>,
}

pub struct FakeHub {
    pub url: String,
    state: Arc<State>,
}

impl FakeHub {
    pub fn new() -> FakeHub {
        let state = Arc::new(State::default());
        let elsewhere = serve(state.clone(), None);
        let url = serve(state.clone(), Some(elsewhere));
        FakeHub { url, state }
    }

    pub fn add(&self, repository: &str, files: impl IntoIterator<Item = (String, Vec<u8>)>) {
        let mut all = self.state.repositories.lock().expect("no panics");
        let of_it = all.entry(repository.to_owned()).or_default();
        of_it.extend(files.into_iter().map(|(name, bytes)| {
            let etag = etag(&bytes);
            let bytes = Arc::new(bytes);
            (name, File { bytes, etag })
        }));
    }

    pub fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.state.trouble.lock().expect("no panics")
    }

    /// The requests since this was last asked.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.seen.lock().expect("no panics"))
    }

    /// Bytes of answers since this was last asked, heads included.
    pub fn sent(&self) -> u64 {
        self.state.sent.swap(0, SeqCst)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn etag(bytes: &[u8]) -> String {
    if bytes.len() > SMALL {
        return hex(&Sha256::digest(bytes));
    }
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hex(&hasher.finalize())
}

/// Starts a server; one that has an address to lead to is the Hub, the other what it leads to.
fn serve(state: Arc<State>, elsewhere: Option<String>) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (state, elsewhere) = (state.clone(), elsewhere.clone());
            std::thread::spawn(move || connection(stream, &state, elsewhere.as_deref()));
        }
    });
    url
}

fn connection(stream: TcpStream, state: &State, elsewhere: Option<&str>) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream.try_clone().expect("a stream can be cloned"));
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut seen = Seen {
            elsewhere: elsewhere.is_none(),
            path: line.split(' ').nth(1).unwrap_or("").to_owned(),
            token: None,
            range: None,
        };
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let Some((name, value)) = line.trim().split_once(':') else {
                break;
            };
            match name.to_lowercase().as_str() {
                "authorization" => seen.token = Some(value.trim().to_owned()),
                "range" => {
                    let range = value
                        .trim()
                        .strip_prefix("bytes=")
                        .and_then(|range| range.split_once('-'));
                    let (start, end) = range.expect("a range");
                    seen.range = Some((
                        start.parse().expect("a start"),
                        end.parse::<usize>().expect("an end") + 1,
                    ));
                }
                _ => {}
            }
        }
        state.seen.lock().expect("no panics").push(seen.clone());
        let answer = answer(state, &seen, elsewhere);
        let (head, body, cut) = answer;
        let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
        let end = cut.unwrap_or(body.len()).min(body.len());
        state.sent.fetch_add((head.len() + end) as u64, SeqCst);
        let written = stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(&body[..end]));
        if written.is_err() || end < body.len() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

/// Head without its end, body, and where that is cut.
fn answer(state: &State, seen: &Seen, elsewhere: Option<&str>) -> (String, Vec<u8>, Option<usize>) {
    let repositories = state.repositories.lock().expect("no panics").clone();
    let mut trouble = state.trouble.lock().expect("no panics");
    let error = |status: u16, code: &str| {
        (
            format!("{status} X\r\nX-Error-Code: {code}"),
            b"{\"error\": \"x\"}".to_vec(),
            None,
        )
    };
    if let (Some((status, headers)), true) = (&trouble.status, elsewhere.is_some()) {
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("\r\n{name}: {value}"))
            .collect();
        return (format!("{status} X{headers}"), Vec::new(), None);
    }
    let path = seen.path.split('?').next().unwrap_or_default();
    if let Some(rest) = path.strip_prefix("/api/models/") {
        let (repository, revision) = rest.split_once("/revision/").expect("a revision");
        let Some(files) = repositories.get(repository) else {
            return error(401, "");
        };
        if revision != "main" && revision != COMMIT {
            return error(404, "RevisionNotFound");
        }
        let mut siblings: Vec<serde_json::Value> = files
            .iter()
            .map(|(name, File { bytes, etag })| {
                let size = trouble.size.unwrap_or(bytes.len() as u64);
                let mut file =
                    serde_json::json!({ "rfilename": name, "size": size, "blobId": "0".repeat(40) });
                match bytes.len() > SMALL {
                    true => {
                        file["lfs"] = serde_json::json!({ "sha256": etag, "size": size, "pointerSize": 130 })
                    }
                    false => file["blobId"] = etag.clone().into(),
                }
                file
            })
            .collect();
        if let Some(name) = &trouble.listed {
            siblings.push(serde_json::json!({ "rfilename": name, "size": 1, "blobId": "0".repeat(40) }));
        }
        let info = serde_json::json!({ "id": repository, "sha": COMMIT, "siblings": siblings });
        return (
            "200 OK\r\nContent-Type: application/json".to_owned(),
            info.to_string().into_bytes(),
            None,
        );
    }
    let (file, etag_header) = match path.strip_prefix("/blob/") {
        // The second server gives what the address says, to everyone.
        Some(sum) => {
            let mut files = repositories.values().flat_map(BTreeMap::values);
            (
                files.find(|file| file.etag == sum).map(|file| file.bytes.clone()),
                "\r\nETag: \"of-another-kind\"".to_owned(),
            )
        }
        None => {
            let Some((repository, rest)) = path[1..].split_once("/resolve/") else {
                return error(404, "");
            };
            let name = rest.split_once('/').map_or("", |(_, name)| name);
            let file = repositories
                .get(repository)
                .and_then(|files| files.get(name))
                .cloned();
            let Some(File { bytes, etag }) = file else {
                return error(404, "EntryNotFound");
            };
            let sum = if trouble.wrong_etag {
                "1".repeat(64)
            } else {
                etag.clone()
            };
            if bytes.len() > SMALL {
                let to = match &trouble.redirect {
                    Some(to) => to.clone(),
                    None => format!(
                        "{}/blob/{}?X-Signature=s3cret",
                        elsewhere.expect("this is the Hub"),
                        etag
                    ),
                };
                let head = format!(
                    "302 Found\r\nLocation: {to}\r\nX-Linked-Etag: \"{sum}\"\r\nX-Linked-Size: {}\r\nX-Repo-Commit: {COMMIT}",
                    bytes.len()
                );
                return (head, Vec::new(), None);
            }
            (Some(bytes), format!("\r\nETag: \"{sum}\""))
        }
    };
    let Some(bytes) = file else {
        return error(403, "");
    };
    let cut = match trouble.cuts.is_empty() {
        true => trouble.cut_always,
        false => Some(trouble.cuts.remove(0)),
    };
    let range = seen.range.filter(|_| !trouble.no_ranges);
    let (status, mut body) = match range {
        Some((start, end)) if start < bytes.len() => {
            let end = end.min(bytes.len());
            let status = format!(
                "206 Partial Content\r\nContent-Range: bytes {start}-{}/{}",
                end - 1,
                bytes.len()
            );
            (status, bytes[start..end].to_vec())
        }
        Some(_) => ("416 Range Not Satisfiable".to_owned(), Vec::new()),
        None => ("200 OK".to_owned(), bytes.to_vec()),
    };
    if trouble.wrong_bytes && !body.is_empty() {
        body[0] ^= 1;
    }
    (format!("{status}{etag_header}"), body, cut)
}
