//! Weights with some tensors replaced: what a drafter would be if a suspected fault were not there.

use crate::model::{ModelError, Tensor, Weights};
use crate::quant::GgmlType;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Weights that stand in front of others.
pub struct Overlay<'a> {
    base: &'a dyn Weights,
    /// Tensors by name that are read under other names, possibly of other weights.
    renamed: HashMap<String, (&'a dyn Weights, String)>,
    replaced: HashMap<String, Owned>,
    hidden: HashSet<String>,
}

struct Owned {
    ty: GgmlType,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl<'a> Overlay<'a> {
    /// As `base` until something is changed.
    pub fn new(base: &'a dyn Weights) -> Overlay<'a> {
        Overlay {
            base,
            renamed: HashMap::new(),
            replaced: HashMap::new(),
            hidden: HashSet::new(),
        }
    }

    /// Exchanges two tensors.
    pub fn exchange(&mut self, a: &str, b: &str) {
        self.renamed.insert(a.to_owned(), (self.base, b.to_owned()));
        self.renamed.insert(b.to_owned(), (self.base, a.to_owned()));
    }

    /// Reads a tensor from other weights.
    pub fn borrow(&mut self, name: &str, from: &'a dyn Weights) {
        self.renamed.insert(name.to_owned(), (from, name.to_owned()));
    }

    /// Has no tensor of this name.
    pub fn hide(&mut self, name: &str) {
        self.hidden.insert(name.to_owned());
    }

    /// Replaces a tensor by one with these bytes.
    pub fn replace_bytes(&mut self, name: &str, ty: GgmlType, shape: Vec<usize>, data: Vec<u8>) {
        self.replaced.insert(name.to_owned(), Owned { ty, shape, data });
    }

    /// Replaces a tensor by one of these numbers.
    pub fn replace(&mut self, name: &str, shape: Vec<usize>, numbers: &[f32]) {
        let data = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.replace_bytes(name, GgmlType::F32, shape, data);
    }
}

impl Weights for Overlay<'_> {
    fn path(&self) -> &Path {
        self.base.path()
    }

    fn tensor(&self, name: &str) -> Result<Option<Tensor<'_>>, ModelError> {
        if self.hidden.contains(name) {
            return Ok(None);
        }
        if let Some(owned) = self.replaced.get(name) {
            return Ok(Some(Tensor {
                ty: owned.ty,
                shape: owned.shape.clone(),
                data: &owned.data,
            }));
        }
        match self.renamed.get(name) {
            Some((from, name)) => from.tensor(name),
            None => self.base.tensor(name),
        }
    }
}
