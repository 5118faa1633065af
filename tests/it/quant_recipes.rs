//! Holds the choice of tensor types to what `llama-quantize` chose for the models in `fixtures/quant/recipes.json`.

use gguf_conv::quant::GgmlType;
use gguf_conv::quant::recipe::{FileType, Model, Options, Tensor, choose};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    name: String,
    layers: usize,
    experts: usize,
    heads: usize,
    kv_heads: usize,
    /// `NAME DIMxDIM TYPE`.
    tensors: Vec<String>,
    /// By file type and the options it was asked with, the types of the tensors.
    types: BTreeMap<String, String>,
}

fn ty(name: &str) -> GgmlType {
    GgmlType::from_name(name).unwrap_or_else(|| panic!("no type {name}"))
}

#[test]
fn types_are_those_that_llama_quantize_chooses() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/quant/recipes.json");
    let models: Vec<Recorded> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut compared = 0;
    for recorded in &models {
        let dims: Vec<(&str, Vec<u64>, GgmlType)> = recorded
            .tensors
            .iter()
            .map(|line| {
                let mut words = line.split(' ');
                let mut next = || words.next().unwrap();
                let (name, dims) = (next(), next());
                (
                    name,
                    dims.split('x').map(|dim| dim.parse().unwrap()).collect(),
                    ty(next()),
                )
            })
            .collect();
        let tensors: Vec<Tensor> = dims
            .iter()
            .map(|(name, dims, ty)| Tensor { name, dims, ty: *ty })
            .collect();
        let model = Model {
            layers: recorded.layers,
            experts: recorded.experts,
            heads: recorded.heads,
            kv_heads: recorded.kv_heads,
        };
        for (run, types) in &recorded.types {
            let (name, option) = run.split_once(' ').unwrap_or((run, ""));
            let options = Options {
                pure: option == "pure",
                importance: option == "importance",
                ..Options::default()
            };
            let chosen = choose(FileType::from_name(name).unwrap(), &model, &tensors, &options);
            for ((tensor, chosen), expected) in tensors.iter().zip(chosen).zip(types.split(' ')) {
                assert_eq!(
                    chosen.ty,
                    ty(expected),
                    "{} as {run}: {}",
                    recorded.name,
                    tensor.name
                );
                compared += 1;
            }
        }
    }
    // A type for every file type of every model, so that an empty fixture cannot pass.
    assert!(compared > 10_000, "{compared}");
}
