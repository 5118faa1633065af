//! Counters of drafts in a server's `/metrics` (Prometheus' text format): llama-server's and vLLM's, whose names differ in
//! front only.

use super::http::Http;
use crate::bench::BenchError;

/// What a server counted since it was started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Drafts made.
    pub drafts: u64,
    /// Tokens drafted.
    pub drafted: u64,
    /// Those accepted.
    pub accepted: u64,
    /// Those accepted, by place in the draft.
    pub by_position: Vec<u64>,
}

impl Counters {
    /// Reads `/metrics`; `None` where the server has none, or counts no drafts there.
    pub(super) fn fetch(http: &Http) -> Result<Option<Counters>, BenchError> {
        let answer = http.get("/metrics")?;
        Ok(match answer.status {
            200 => Counters::parse(&answer.body),
            _ => None,
        })
    }

    fn parse(text: &str) -> Option<Counters> {
        let mut counters = Counters::default();
        let mut found = false;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, rest)) = line.split_once(['{', ' ']) else {
                continue;
            };
            let labels = rest.rsplit_once('}').map_or("", |(labels, _)| labels);
            let Some(value) = line
                .rsplit(' ')
                .next()
                .and_then(|value| value.parse::<f64>().ok())
            else {
                continue;
            };
            let value = value as u64;
            let name = name.split_once(':').map_or(name, |(_, name)| name);
            match name {
                "spec_decode_num_drafts_total" => counters.drafts += value,
                "spec_decode_num_draft_tokens_total" => counters.drafted += value,
                "spec_decode_num_accepted_tokens_total" => counters.accepted += value,
                "spec_decode_num_accepted_tokens_per_pos_total" => counters.add_position(labels, value),
                _ => continue,
            }
            found = true;
        }
        found.then_some(counters)
    }

    fn add_position(&mut self, labels: &str, value: u64) {
        let position = labels.split(',').find_map(|label| {
            let (name, value) = label.split_once('=')?;
            (name.trim() == "position").then(|| value.trim_matches('"').parse::<usize>().ok())?
        });
        // Drafts are a few tokens long; a place beyond is no place.
        if let Some(position) = position.filter(|position| *position < 1024) {
            let len = self.by_position.len().max(position + 1);
            self.by_position.resize(len, 0);
            self.by_position[position] += value;
        }
    }

    /// What was counted since `before`.
    pub fn since(&self, before: &Counters) -> Counters {
        let earlier = |at: usize| before.by_position.get(at).copied().unwrap_or(0);
        let positions = self.by_position.iter().enumerate();
        Counters {
            drafts: self.drafts.saturating_sub(before.drafts),
            drafted: self.drafted.saturating_sub(before.drafted),
            accepted: self.accepted.saturating_sub(before.accepted),
            by_position: positions
                .map(|(at, count)| count.saturating_sub(earlier(at)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_llama_server_and_vllm_are_read() {
        let llama = "# TYPE llamacpp:spec_decode_num_drafts_total counter\n\
            llamacpp:spec_decode_num_drafts_total 10\n\
            llamacpp:spec_decode_num_draft_tokens_total 30\n\
            llamacpp:spec_decode_num_accepted_tokens_total 20\n\
            llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position=\"1\"} 7\n\
            llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position=\"0\"} 13\n";
        let counters = Counters::parse(llama).unwrap();
        assert_eq!(
            (counters.drafts, counters.drafted, counters.accepted),
            (10, 30, 20)
        );
        assert_eq!(counters.by_position, [13, 7]);
        let vllm = "vllm:spec_decode_num_accepted_tokens_per_pos_total{engine=\"0\",position=\"0\"} 5.0\n";
        assert_eq!(Counters::parse(vllm).unwrap().by_position, [5]);
        assert_eq!(Counters::parse("llamacpp:prompt_tokens_total 12\n"), None);
        assert_eq!(Counters::parse("<html>\n"), None);
    }
}
