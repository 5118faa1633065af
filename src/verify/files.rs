//! The files of a verification: opened, known for what they are, and read for their numbers.

use super::error::VerifyError;
use super::options::Options;
use crate::arch::{Arch, Registry};
use crate::checkpoint::Checkpoint;
use crate::facts::drafter::{Kind, kind_of};
use crate::gguf::{Gguf, Part};
use crate::io::Inputs;
use crate::io::kind::{FileKind, Wanted};
use crate::model::{Compute, Config, DrafterConfig, Head, ModelError, Weights, Window};
use bstr::BStr;
use std::path::PathBuf;

/// The files of a verification, open.
pub(super) struct Files<'a> {
    pub inputs: &'a Inputs,
    pub drafter: Gguf,
    pub target: Gguf,
    pub source: Option<Checkpoint>,
    pub target_source: Option<Checkpoint>,
    pub registry: Registry,
}

impl<'a> Files<'a> {
    pub fn open(inputs: &'a Inputs, options: &Options) -> Result<Files<'a>, VerifyError> {
        let checkpoint = |path: &Option<PathBuf>| {
            let path = path.as_deref();
            path.map(|path| Checkpoint::open(inputs, path)).transpose()
        };
        Ok(Files {
            inputs,
            drafter: Gguf::open(inputs, &options.drafter)?,
            target: Gguf::open(inputs, &options.target)?,
            source: checkpoint(&options.source)?,
            target_source: checkpoint(&options.target_source)?,
            registry: match &options.arch {
                Some(path) => Registry::with(Arch::read(inputs, path)?)?,
                None => Registry::builtin()?,
            },
        })
    }

    pub fn drafter_arch(&self) -> &Arch {
        self.registry.of_gguf(&self.drafter)
    }

    /// How the checkpoint of a target is read.
    pub fn target_arch(&self) -> Result<&Arch, ModelError> {
        let name = &self.drafter_arch().target;
        self.registry
            .by_name(BStr::new(name))
            .ok_or_else(|| ModelError::Config {
                path: self.target.path().to_owned(),
                message: format!("no architecture file describes checkpoints of {name}"),
            })
    }

    /// Size of the target.
    pub fn target_bytes(&self) -> u64 {
        let parts = self.target.parts().iter();
        parts.map(Part::file_len).sum()
    }

    pub fn drafter_config(&self) -> Result<DrafterConfig, ModelError> {
        DrafterConfig::from_gguf(&self.drafter, &self.drafter_arch().architecture)
    }

    pub fn target_config(&self) -> Result<Config, ModelError> {
        Config::from_gguf(&self.target, &self.drafter_arch().target)
    }

    /// How the drafter's checkpoint is read.
    pub fn source_arch(&self, source: &Checkpoint) -> Result<&Arch, VerifyError> {
        Ok(match DrafterConfig::has_own_keys(&self.drafter) {
            true => self.registry.of_checkpoint(source, source.config()?),
            false => self.drafter_arch(),
        })
    }

    /// The numbers of the drafter's source; for a lone file without `config.json` those of the GGUF, the rotary factors
    /// those of the target.
    pub fn source_config(
        &self,
        source: &Checkpoint,
        ours: &DrafterConfig,
        target: &Config,
    ) -> Result<DrafterConfig, ModelError> {
        let DrafterConfig::Assistant(ours) = ours else {
            return DrafterConfig::from_checkpoint(source, ours, target);
        };
        if let Some(config) = Config::from_checkpoint(source)? {
            return Ok(DrafterConfig::Assistant(config));
        }
        let mut config = Config {
            path: source.path().to_owned(),
            compute: Compute::default(),
            ..ours.clone()
        };
        let pairs = config.rope_full.dims / 2;
        let factors = self.target.vector("rope_freqs.weight", pairs)?;
        config.rope_full.rotated_pairs = Some(factors.iter().filter(|f| **f == 1.0).count());
        Ok(DrafterConfig::Assistant(config))
    }
}

/// Both files are what they are taken for.
pub(super) fn check_kinds(drafter: &Gguf, target: &Gguf, arch: &Arch) -> Result<(), VerifyError> {
    match drafter.key(kind_of(drafter, arch))? {
        _ if DrafterConfig::has_own_keys(drafter) => {}
        Kind::Drafter(None) => {}
        Kind::Drafter(Some(dialect)) => {
            return Err(VerifyError::Dialect {
                path: drafter.path().to_owned(),
                of: dialect.of.clone(),
            });
        }
        Kind::Target | Kind::Other(_) => return Err(drafter.wrong_kind(Wanted::Drafter).into()),
    }
    match target.kind() {
        FileKind::Model(found) if found == arch.target => Ok(()),
        _ => Err(target.wrong_kind(Wanted::Target).into()),
    }
}

/// Options that say how an assistant is read are given for one only.
pub(super) fn check_options(drafter: &Gguf, options: &Options) -> Result<(), VerifyError> {
    let FileKind::OtherDrafter(kind) = drafter.kind() else {
        return Ok(());
    };
    let given = [
        ("--window", options.window != Window::default()),
        ("--head", options.head != Head::default()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(VerifyError::Option {
            path: drafter.path().to_owned(),
            option,
            kind,
        }),
        None => Ok(()),
    }
}
