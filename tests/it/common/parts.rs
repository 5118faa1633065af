//! Drafters in pieces that a test may change, and in the dialects of other programs.

use super::*;
use gguf_conv::gguf::Gguf;
use gguf_conv::io::Inputs;

pub const UPSTREAM: &str = "gemma4-assistant";

/// Name, lengths innermost first, type, data.
pub type PartTensor = (String, Vec<u64>, GgmlType, Vec<u8>);

/// A drafter's GGUF in pieces that a test may change.
pub struct Parts {
    pub metadata: Vec<(String, Value)>,
    pub tensors: Vec<PartTensor>,
}

impl Parts {
    pub fn read(path: &Path) -> Parts {
        let gguf = Gguf::open(&Inputs::new(), path).unwrap();
        let entry = |(key, value): (_, &Value)| (format!("{key}"), value.clone());
        let tensor = |info: &gguf_conv::gguf::TensorInfo| {
            let tensor = gguf.tensor(&info.name.to_string()).unwrap().unwrap();
            (
                info.name.to_string(),
                info.dims.clone(),
                tensor.ty,
                tensor.data.to_vec(),
            )
        };
        Parts {
            metadata: gguf.metadata().iter().map(entry).collect(),
            tensors: gguf.tensors().map(tensor).collect(),
        }
    }

    pub fn write(&self, path: &Path) {
        let mut metadata = Metadata::default();
        for (key, value) in &self.metadata {
            metadata.set(key.as_str(), value.clone());
        }
        let tensors: Vec<(&str, &[u64], GgmlType, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, dims, ty, data)| (name.as_str(), dims.as_slice(), *ty, data.clone()))
            .collect();
        write_gguf(path, &metadata, &tensors);
    }

    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        let at = self.metadata.iter().position(|(k, _)| k == key).unwrap();
        self.metadata[at].1 = value.into();
    }

    pub fn remove(&mut self, key: &str) {
        let before = self.metadata.len();
        self.metadata.retain(|(k, _)| k != key);
        assert_eq!(self.metadata.len(), before - 1, "{key}");
    }

    pub fn rename_tensor(&mut self, from: &str, to: &str) {
        let at = self.tensors.iter().position(|(name, ..)| name == from).unwrap();
        to.clone_into(&mut self.tensors[at].0);
    }

    /// Another architecture, its name in front of every key of its own.
    pub fn rename_architecture(&mut self, to: &str) {
        self.set("general.architecture", to);
        for (key, _) in &mut self.metadata {
            if let Some(rest) = key.strip_prefix(UPSTREAM) {
                *key = format!("{to}{rest}");
            }
        }
    }
}

/// What `convert` writes for a pair.
pub fn converted(pair: &str, args: &[&str]) -> Vec<u8> {
    let drafter = Drafter::copy_of(pair);
    let out = drafter.beside("drafter.gguf");
    succeed(&[&[drafter.str(), "-o", path_str(&out)], args].concat());
    std::fs::read(out).unwrap()
}

pub fn parts_of(bytes: &[u8]) -> Parts {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.gguf");
    std::fs::write(&path, bytes).unwrap();
    Parts::read(&path)
}

/// The order of the keys is that of a file published by AtomicChat.
pub fn atomic(pair: &str, outtype: &str) -> Parts {
    let mut parts = parts_of(&converted(pair, &["--outtype", outtype, "--keep-centroids"]));
    let ordered = ["n_centroids", "centroid_top_k", "use_ordered_embeddings"];
    let mut group: Vec<(String, Value)> = Vec::new();
    for name in ordered {
        let key = format!("{UPSTREAM}.{name}");
        let held = parts.metadata.iter().position(|(k, _)| *k == key);
        group.extend(held.map(|at| parts.metadata.remove(at)));
    }
    let at = parts
        .metadata
        .iter()
        .position(|(k, _)| k.ends_with("embedding_length_out"))
        .unwrap();
    let (_, backbone) = parts.metadata.remove(at);
    let key = |name: &str| format!("{UPSTREAM}.{name}");
    group.insert(group.len().min(2), (key("n_embd_backbone"), backbone));
    group.push((key("attention.k_eq_v"), false.into()));
    group.push((key("requires_target_arch"), "gemma4".into()));
    parts.metadata.splice(at..at, group);
    parts.remove(&key("nextn_predict_layers"));
    parts.rename_architecture("gemma4_assistant");
    parts.rename_tensor("nextn.pre_projection.weight", "mtp.pre_projection.weight");
    parts.rename_tensor("nextn.post_projection.weight", "mtp.post_projection.weight");
    if pair == "mini-edge" {
        parts.rename_tensor("masked_embd_centroids.weight", "mtp.centroids.weight");
        parts.rename_tensor("masked_embd_ordering", "mtp.token_ordering.weight");
    }
    parts
}

/// Published files of ik_llama.cpp hold no factors of rotary frequencies.
pub fn ik(pair: &str, outtype: &str) -> Parts {
    let mut parts = parts_of(&converted(pair, &["--outtype", outtype]));
    parts.remove(&format!("{UPSTREAM}.nextn_predict_layers"));
    parts.rename_architecture("gemma4_mtp");
    for (key, _) in &mut parts.metadata {
        *key = key.replace("embedding_length_out", "backbone_embedding_length");
    }
    parts.rename_tensor("nextn.pre_projection.weight", "mtp_pre_proj.weight");
    parts.rename_tensor("nextn.post_projection.weight", "mtp_post_proj.weight");
    parts.tensors.retain(|(name, ..)| name != "rope_freqs.weight");
    parts
}
