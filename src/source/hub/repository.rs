//! A repository's list of files, and their bytes.

use super::error::HubError;
use super::http::{Answer, Http, header};
use crate::io::distant::{Distant, FetchError};
use crate::source::HubName;
use crate::source::hub_name::is_inner_path;
use crate::text::escape;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Longest answer that is no file.
const MAX_ANSWER: u64 = 64 << 20;
/// Bytes that are read at once.
const BUFFER: usize = 1 << 16;
/// How often a connection may break without a byte in between.
const TRIES: u32 = 5;
/// How long is waited after the first break, doubled with each more.
const PAUSE: Duration = Duration::from_millis(50);
/// What stands for itself in a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

/// What a file's content is known by, in hexadecimal digits. It names the file in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// Of a large file: SHA-256 of its bytes.
    Sha256(String),
    /// Of a small one: SHA-1 of `blob LENGTH\0` and its bytes, as Git has it.
    GitSha1(String),
}

impl Checksum {
    /// The digits.
    pub fn digits(&self) -> &str {
        match self {
            Checksum::Sha256(digits) | Checksum::GitSha1(digits) => digits,
        }
    }
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoFile {
    /// Its path, which stays in the repository.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// What its content is known by.
    pub checksum: Checksum,
}

/// What a repository holds at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// `ORG/NAME`.
    pub name: String,
    /// The commit that the revision stands for.
    pub commit: String,
    /// Its files.
    pub files: Vec<RepoFile>,
}

#[derive(Deserialize)]
struct Info {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Repository {
    pub(super) fn ask(http: &Http, name: &HubName) -> Result<Repository, HubError> {
        let repository = name.repository();
        let revision = utf8_percent_encode(name.revision(), NON_ALPHANUMERIC);
        let path = format!("/api/models/{repository}/revision/{revision}?blobs=true");
        let answer = http.get(&path, None)?;
        if answer.response.status() != 200 {
            return Err(refused(http, &answer, name, None));
        }
        let host = answer.host;
        let no_hub = |what: String| HubError::NoHub {
            host: host.clone(),
            what,
        };
        let mut text = Vec::new();
        let mut reader = answer.response.into_body().into_reader().take(MAX_ANSWER);
        reader
            .read_to_end(&mut text)
            .map_err(|error| HubError::Unreachable {
                host: host.clone(),
                message: error.to_string(),
            })?;
        let info: Info = serde_json::from_slice(&text).map_err(|error| no_hub(error.to_string()))?;
        if !is_hex(&info.sha, 40) {
            return Err(no_hub(format!("commit {:?}", escape(info.sha.as_bytes()))));
        }
        let mut files = Vec::new();
        for sibling in info.siblings {
            if !is_inner_path(&sibling.rfilename) {
                let file = escape(sibling.rfilename.as_bytes());
                return Err(HubError::Outside { repository, file });
            }
            let (size, checksum) = match (sibling.lfs, sibling.size, sibling.blob_id) {
                (Some(lfs), ..) if is_hex(&lfs.sha256, 64) => (lfs.size, Checksum::Sha256(lfs.sha256)),
                (None, Some(size), Some(id)) if is_hex(&id, 40) => (size, Checksum::GitSha1(id)),
                _ => {
                    return Err(no_hub(format!(
                        "no checksum for {}",
                        escape(sibling.rfilename.as_bytes())
                    )));
                }
            };
            files.push(RepoFile {
                path: sibling.rfilename,
                size,
                checksum,
            });
        }
        Ok(Repository {
            name: repository,
            commit: info.sha,
            files,
        })
    }
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Why an answer is none: by its status, and what the Hub says of it in `x-error-code`.
fn refused(http: &Http, answer: &Answer, name: &HubName, file: Option<&str>) -> HubError {
    let status = answer.response.status().as_u16();
    let code = header(&answer.response, "x-error-code").unwrap_or_default();
    let repository = name.repository();
    let no_file = |file: &str| HubError::NoFile {
        repository: repository.clone(),
        file: file.to_owned(),
    };
    match (status, code.as_str(), file) {
        (_, "GatedRepo", _) | (403, ..) => HubError::Gated {
            repository,
            endpoint: http.endpoint.clone(),
        },
        (_, "RevisionNotFound", _) => HubError::NoRevision {
            revision: name.revision().to_owned(),
            repository,
        },
        (_, "EntryNotFound", Some(file)) => no_file(file),
        (401, "", _) if http.has_token() => HubError::Refused,
        (401, ..) | (404, _, None) | (_, "RepoNotFound", _) => HubError::NoRepository { repository },
        (404, _, Some(file)) => no_file(file),
        (429, ..) => HubError::RateLimit {
            host: answer.host.clone(),
            after: header(&answer.response, "retry-after").and_then(|after| after.parse().ok()),
            known: http.has_token(),
        },
        _ => HubError::Status {
            host: answer.host.clone(),
            status,
        },
    }
}

/// A file on the Hub, whose bytes can be had.
#[derive(Debug, Clone)]
pub struct RemoteFile {
    http: Arc<Http>,
    name: HubName,
    /// What it is.
    pub file: RepoFile,
    address: String,
}

impl RemoteFile {
    pub(super) fn new(http: Arc<Http>, repository: &Repository, file: &RepoFile) -> RemoteFile {
        let path = utf8_percent_encode(&file.path, PLAIN);
        RemoteFile {
            http,
            name: HubName::of_repository(&repository.name, &repository.commit),
            file: file.clone(),
            address: format!("/{}/resolve/{}/{path}", repository.name, repository.commit),
        }
    }

    /// Hands these bytes to `take`, in order. A connection that breaks is taken up again where it broke.
    pub fn read_range(
        &self,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), HubError> {
        let mut at = range.start;
        let mut failed = 0;
        while at < range.end {
            let before = at;
            match self.read_once(at..range.end, &mut at, take) {
                Ok(()) => {}
                // What broke may work the next time; what is refused stays so.
                Err(HubError::Unreachable { .. } | HubError::Broken { .. }) if failed + 1 < TRIES => {}
                Err(error) => return Err(error),
            }
            failed = if at > before { 0 } else { failed + 1 };
            if failed >= TRIES {
                return Err(self.broken());
            }
            if failed > 0 {
                std::thread::sleep(PAUSE * (1 << failed));
            }
        }
        Ok(())
    }

    /// The whole file in one answer, for servers that know no ranges. Begins anew where the connection breaks.
    pub(super) fn read_whole(
        &self,
        start: &mut dyn FnMut() -> io::Result<()>,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), HubError> {
        for _ in 0..TRIES {
            start().map_err(|source| self.kept(source))?;
            let answer = self.answer(None)?;
            let mut at = 0;
            self.drain(answer, self.file.size, &mut at, take)?;
            if at == self.file.size {
                return Ok(());
            }
        }
        Err(self.broken())
    }

    fn read_once(
        &self,
        range: Range<u64>,
        at: &mut u64,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), HubError> {
        let answer = self.answer(Some(&range))?;
        let status = answer.response.status().as_u16();
        let is_whole = range == (0..self.file.size);
        if status == 206 {
            let given = header(&answer.response, "content-range");
            if given.as_deref().and_then(content_range) != Some((range.start, self.file.size)) {
                return Err(self.changed());
            }
        } else if !is_whole {
            let host = answer.host;
            return Err(HubError::NoRanges { host });
        }
        self.drain(answer, range.end, at, take)
    }

    /// An answer with content, of the file that the repository lists.
    fn answer(&self, range: Option<&Range<u64>>) -> Result<Answer, HubError> {
        let answer = self.http.get(&self.address, range)?;
        match answer.response.status().as_u16() {
            200 | 206 => {}
            416 => return Err(self.changed()),
            _ => return Err(refused(&self.http, &answer, &self.name, Some(&self.file.path))),
        }
        match &answer.etag {
            Some(etag) if is_hex(etag, 64) || is_hex(etag, 40) => match etag == self.file.checksum.digits() {
                true => Ok(answer),
                false => Err(self.changed()),
            },
            // Others make etags of their own; the checksum is held against what came.
            _ => Ok(answer),
        }
    }

    /// Takes what an answer holds, up to this place of the file, until it ends or breaks.
    fn drain(
        &self,
        answer: Answer,
        end: u64,
        at: &mut u64,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), HubError> {
        let mut reader = answer.response.into_body().into_reader();
        let mut buffer = vec![0; BUFFER];
        while *at < end {
            let most = usize::try_from(end - *at).unwrap_or(BUFFER).min(BUFFER);
            // One that breaks is as one that ends: what came, came.
            let read = match reader.read(&mut buffer[..most]) {
                Ok(0) | Err(_) => return Ok(()),
                Ok(read) => read,
            };
            take(&buffer[..read]).map_err(|source| self.kept(source))?;
            *at += read as u64;
        }
        Ok(())
    }

    fn kept(&self, source: io::Error) -> HubError {
        HubError::Io {
            path: self.file.path.clone().into(),
            source,
        }
    }

    fn changed(&self) -> HubError {
        HubError::Changed {
            file: self.file.path.clone(),
        }
    }

    fn broken(&self) -> HubError {
        HubError::Broken {
            file: self.file.path.clone(),
            times: TRIES,
        }
    }
}

impl Distant for RemoteFile {
    fn file_len(&self) -> u64 {
        self.file.size
    }

    fn read(
        &self,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), FetchError> {
        let read = self.read_range(range, take);
        read.map_err(|error| FetchError::new(&error, error.is_system()))
    }
}

/// Of `bytes 0-99/1000` where it begins and how long the whole is.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()?))
}
