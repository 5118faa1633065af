//! Requests to the Hub: the token goes to its endpoint only, redirects are followed one by one.

use super::access::{Access, Token};
use super::error::HubError;
use std::ops::Range;
use std::time::Duration;
use ureq::http::{Response, Uri};
use ureq::{Agent, Body};

/// Redirects in a row that are followed.
const MAX_REDIRECTS: usize = 5;
const CONNECT: Duration = Duration::from_secs(15);
/// Longest silence of a server.
const SILENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Http {
    agent: Agent,
    pub endpoint: String,
    token: Option<Token>,
}

/// An answer of whatever status, and what the endpoint itself said of a file before it led elsewhere.
pub(super) struct Answer {
    pub response: Response<Body>,
    /// The checksum of the file, as the endpoint gives it.
    pub etag: Option<String>,
    /// Who answered.
    pub host: String,
}

impl Http {
    pub(super) fn new(access: &Access) -> Result<Http, HubError> {
        if access.offline {
            return Err(HubError::Offline);
        }
        let wrong = || HubError::Endpoint(access.endpoint.clone());
        let uri: Uri = access.endpoint.parse().map_err(|_| wrong())?;
        if origin(&uri).is_none() || uri.query().is_some() {
            return Err(wrong());
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .user_agent(concat!("gguf-conv/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Ok(Http {
            agent,
            endpoint: access.endpoint.clone(),
            token: access.token.clone(),
        })
    }

    /// Whether requests say who sends them.
    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Asks for an address below the endpoint, or for a range of what is there.
    pub(super) fn get(&self, path: &str, range: Option<&Range<u64>>) -> Result<Answer, HubError> {
        let parsed = |text: &str| text.parse::<Uri>().ok();
        let home = parsed(&self.endpoint);
        let home = home.as_ref().and_then(origin);
        let mut address = format!("{}{path}", self.endpoint);
        let mut etag = None;
        for _ in 0..=MAX_REDIRECTS {
            let uri = parsed(&address).ok_or_else(|| HubError::Endpoint(self.endpoint.clone()))?;
            let here = origin(&uri);
            let host = uri.host().unwrap_or_default().to_owned();
            let redirect = |what| HubError::Redirect {
                host: host.clone(),
                what,
            };
            let mut request = self.agent.get(&address);
            if let Some(token) = self.token.as_ref().filter(|_| here == home) {
                request = request.header("authorization", token.bearer());
            }
            if let Some(range) = range {
                request = request.header("range", format!("bytes={}-{}", range.start, range.end.max(1) - 1));
            }
            let response = request.call().map_err(|error| unreachable(&host, &error))?;
            if here == home {
                // One that leads to the new name of a repository has none.
                let found = header(&response, "x-linked-etag").or_else(|| header(&response, "etag"));
                etag = found.or(etag);
            }
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer {
                    response,
                    etag: etag.as_deref().map(plain_etag),
                    host,
                });
            }
            let to = header(&response, "location").ok_or_else(|| redirect("to nowhere"))?;
            let (scheme, authority) = here.ok_or_else(|| redirect("to nowhere"))?;
            address = match to.starts_with('/') && !to.starts_with("//") {
                true => format!("{scheme}://{authority}{to}"),
                false => to,
            };
            let next = parsed(&address).and_then(|uri| origin(&uri).map(|(scheme, _)| scheme));
            match next.as_deref() {
                None => return Err(redirect("to what is no address")),
                Some("http") if scheme == "https" => return Err(redirect("from https to http")),
                Some(_) => {}
            }
        }
        Err(HubError::Redirect {
            host: self.host(),
            what: "in a circle",
        })
    }

    /// The endpoint's host.
    pub(super) fn host(&self) -> String {
        let uri = self.endpoint.parse::<Uri>().ok();
        uri.and_then(|uri| uri.host().map(str::to_owned))
            .unwrap_or_default()
    }
}

/// Scheme and authority of an address of the web: who is asked. User and password in it are not supported.
fn origin(uri: &Uri) -> Option<(String, String)> {
    let scheme = uri
        .scheme_str()
        .filter(|scheme| ["http", "https"].contains(scheme))?;
    let authority = uri.authority()?.as_str();
    (!authority.contains('@')).then(|| (scheme.to_owned(), authority.to_lowercase()))
}

/// A header, where it is text.
pub(super) fn header(response: &Response<Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// An etag without quotes and mark of weakness.
fn plain_etag(etag: &str) -> String {
    etag.trim_start_matches("W/").trim_matches('"').to_owned()
}

fn unreachable(host: &str, error: &ureq::Error) -> HubError {
    let message = match error {
        ureq::Error::HostNotFound => "no such host".to_owned(),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        // Its text would be the address, which may be signed.
        ureq::Error::BadUri(_) => "it leads to what is no address".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    };
    HubError::Unreachable {
        host: host.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_is_scheme_host_and_port() {
        let of = |text: &str| origin(&text.parse().unwrap());
        assert_eq!(
            of("https://A.b/c?d"),
            Some(("https".to_owned(), "a.b".to_owned()))
        );
        assert_ne!(of("http://a:1/"), of("http://a:2/"));
        assert_ne!(of("http://a/"), of("https://a/"));
        assert_eq!(of("ftp://a/"), None);
        assert_eq!(of("http://me:key@a/"), None);
        assert_eq!(plain_etag("W/\"abc\""), "abc");
    }
}
