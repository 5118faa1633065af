//! What makes pairs, and what is read for that.

use super::*;
use crate::arch::Match;
use crate::io::distant::{Distant, FetchError};
use crate::plan::WriteError;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// What is read of a safetensors file at once, whatever its header takes of it.
const SAFETENSORS_FRONT: u64 = 64 << 10;

/// A file of which only what stands in front of the data can be read, and the rotary factors that a pair must share.
#[derive(Debug)]
struct Front {
    bytes: Vec<u8>,
    len: u64,
    readable: Vec<Range<u64>>,
}

impl Front {
    fn of_text(path: &str) -> Front {
        let bytes = std::fs::read(path).unwrap();
        let len = bytes.len() as u64;
        let readable = std::iter::once(0..len).collect();
        Front { bytes, len, readable }
    }

    fn of_gguf(path: &str) -> Front {
        let gguf = Gguf::look(&Inputs::new(), Path::new(path)).unwrap();
        let header = &gguf.parts()[0].header;
        let factors = gguf.info("rope_freqs.weight").map(|info| header.range(info));
        let mut front = Front::of_text(path);
        front.readable = std::iter::once(0..header.data_offset)
            .chain(factors.map(|(start, end)| start..end))
            .collect();
        front
    }

    /// What would be the checkpoint of a target, by the architecture file's names.
    fn of_target(gguf: &Gguf, registry: &Registry) -> Front {
        let mut tensors = registry.iter().filter(|arch| !arch.is_drafter());
        let specs = &tensors.next().unwrap().tensors;
        let mut header = serde_json::Map::new();
        let mut end = 0;
        for info in gguf.tensors() {
            let name = info.name.to_string();
            let fit = specs
                .iter()
                .find_map(|spec| Some((spec, spec.gguf.matches(&name)?)));
            let (spec, fit) = fit.unwrap();
            let layer = match fit {
                Match::Whole => 0,
                Match::Layer(layer) => layer,
            };
            let Some(name) = spec.source_names(layer).next() else {
                continue;
            };
            let shape: Vec<u64> = info.dims.iter().rev().copied().collect();
            let range = [end, end + 2 * info.elements()];
            end = range[1];
            header.insert(
                name,
                serde_json::json!({ "dtype": "BF16", "shape": shape, "data_offsets": range }),
            );
        }
        let header = serde_json::Value::Object(header).to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        let len = bytes.len() as u64 + end;
        bytes.resize(SAFETENSORS_FRONT as usize, 0);
        let readable = std::iter::once(0..SAFETENSORS_FRONT).collect();
        Front { bytes, len, readable }
    }

    fn of_safetensors(path: &str) -> Front {
        let mut front = Front::of_text(path);
        front.readable = std::iter::once(0..SAFETENSORS_FRONT).collect();
        front
    }
}

impl Distant for Front {
    fn file_len(&self) -> u64 {
        self.len
    }

    fn step(&self) -> u64 {
        self.readable.first().map_or(1, |front| front.end)
    }

    fn read(
        &self,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), FetchError> {
        let holds = |part: &Range<u64>| part.start <= range.start && range.end <= part.end;
        assert!(
            self.readable.iter().any(holds),
            "{range:?} is read of {:?}",
            self.readable
        );
        Ok(take(&self.bytes[range.start as usize..range.end as usize])?)
    }
}

/// Pairs are told by headers: here reading any other byte of a tensor is a panic.
#[test]
fn no_tensor_is_read_to_tell_pairs() {
    let (inputs, registry) = (Inputs::new(), Registry::builtin().unwrap());
    let target = "fixtures/mini-dense/target-bf16.gguf";
    let gguf = Gguf::look(&Inputs::new(), Path::new(target)).unwrap();
    let text = |name: &str| Front::of_text(&format!("fixtures/mini-dense/{name}"));
    let attach = |name: &str, front: Front| inputs.attach(Path::new(name), Arc::new(front));
    attach("t.gguf", Front::of_gguf(target));
    attach("d.gguf", Front::of_gguf("fixtures/mini-dense/drafter-q8_0.gguf"));
    attach(
        "other.gguf",
        Front::of_gguf("fixtures/mini-edge/target-bf16.gguf"),
    );
    attach("target/model.safetensors", Front::of_target(&gguf, &registry));
    attach("target/config.json", text("target-config.json"));
    attach("target/tokenizer.json", text("drafter/tokenizer.json"));
    attach(
        "target/tokenizer_config.json",
        text("drafter/tokenizer_config.json"),
    );
    let weights = "drafter/model.safetensors";
    attach(
        weights,
        Front::of_safetensors(&format!("fixtures/mini-dense/{weights}")),
    );
    attach("drafter/config.json", text("drafter/config.json"));
    // Without a tokenizer of its own it takes the target's.
    let names = ["t.gguf", "d.gguf", "other.gguf", "target", "drafter"];
    let candidates = names.map(|name| Candidate {
        name: name.to_owned(),
        path: name.into(),
        place: Place::LmStudio,
    });
    let models = list_of(&inputs, candidates.into(), &registry);
    let fits = |name: &str| {
        let model = models.iter().find(|model| model.name == name).unwrap();
        model.content.as_ref().unwrap().fits.clone()
    };
    assert_eq!(fits("d.gguf"), ["t.gguf", "target"]);
    assert_eq!(fits("drafter"), ["t.gguf", "target"]);
    assert_eq!(fits("target"), ["d.gguf", "drafter"]);
    assert!(fits("other.gguf").is_empty());
}

/// A plan of what is not here can be looked at; it cannot be written.
#[test]
fn an_outline_holds_no_numbers() {
    let inputs = Inputs::new();
    let path = Path::new("fixtures/mini-dense/drafter");
    let head = CheckpointHead::open(&inputs, path).unwrap().without_data();
    let registry = Registry::builtin().unwrap();
    let arch = registry.of_checkpoint(&head, head.config().unwrap());
    let plan = convert::plan(arch, &head, None, convert::Options::default())
        .unwrap()
        .plan;
    let outline = plan.outline(Path::new("planned")).unwrap();
    assert!(outline.tensor("rope_freqs.weight").unwrap().is_some());
    let error = outline.tensor("token_embd.weight").unwrap_err().to_string();
    assert!(error.contains("not written"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let written = plan.write(&folder.path().join("d.gguf"), &inputs, false, &|_| ());
    assert!(matches!(written, Err(WriteError::Elsewhere { .. })));
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

/// What makes a list quick: of the types of a model one is read with its vocabulary.
#[test]
fn types_of_a_model_are_alike_and_other_models_are_not() {
    let (inputs, registry) = (Inputs::new(), Registry::builtin().unwrap());
    let of = |file: &str| {
        let path = Path::new("fixtures").join(file);
        fingerprint(&Gguf::skim(&inputs, &path).unwrap(), &registry).unwrap()
    };
    let dense = of("mini-dense/drafter-q8_0.gguf");
    assert_eq!(dense, of("mini-dense/drafter-lq-q4_0.gguf"));
    assert_ne!(dense, of("mini-edge/drafter-q8_0.gguf"));
    assert_ne!(dense, of("mini-dense/target-bf16.gguf"));
    // Of a header that was not skimmed there is none.
    let read = Gguf::look(&inputs, Path::new("fixtures/mini-dense/drafter-q8_0.gguf")).unwrap();
    assert_eq!(fingerprint(&read, &registry), None);
}
