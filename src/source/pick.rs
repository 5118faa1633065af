//! Which file of a repository is meant, by what is named of it and what is wanted.
//!
//! Where nothing is named it goes as in llama.cpp (`common/download.cpp`): Q4_K_M before Q8_0, helpers such as projectors
//! left out, and a drafter by the `mtp-` in front of its name.

use super::error::SourceError;
use super::hub_name::{HubFile, HubName};
use crate::io::kind::Wanted;

/// Types that are taken where none is named, the first that there is.
const USUAL: [&str; 2] = ["Q4_K_M", "Q8_0"];
/// What stands in the names of GGUF files that are no models.
const HELPERS: [&str; 2] = ["mmproj", "imatrix"];
/// What stands in front of the names of drafters.
const DRAFTERS: [&str; 4] = ["mtp-", "eagle3-", "dflash-", "dspark-"];

/// The file that is meant; `None` for the folder as a whole, a checkpoint.
pub(super) fn pick(name: &HubName, files: &[String], wanted: Wanted) -> Result<Option<String>, SourceError> {
    let ggufs: Vec<&String> = files.iter().filter(|file| file.ends_with(".gguf")).collect();
    let has_checkpoint = files.iter().any(|file| file.ends_with(".safetensors"));
    let nothing = |wanted: String, there: Vec<String>| SourceError::NoFile {
        name: name.to_string(),
        wanted,
        there,
    };
    let weights = || files.iter().filter(|file| is_weights(file)).cloned().collect();
    match name.file() {
        Some(HubFile::Path(file)) => match files.contains(file) {
            true => return Ok(Some(file.clone())),
            false => return Err(nothing(format!("file {file}"), weights())),
        },
        Some(HubFile::Quantization(_)) => {}
        // A checkpoint is a folder; where both are there, the type or file of a GGUF names the other.
        None if wanted == Wanted::Checkpoint => {
            return match has_checkpoint {
                true => Ok(None),
                false => Err(nothing("checkpoint".to_owned(), weights())),
            };
        }
        None if wanted == Wanted::Weights && has_checkpoint => return Ok(None),
        None => {}
    }
    let is_drafter = |file: &&String| DRAFTERS.iter().any(|front| base(file).contains(front));
    let is_helper = |file: &&String| HELPERS.iter().any(|word| base(file).contains(word));
    let models = || ggufs.iter().copied().filter(|file| !is_helper(file));
    let (drafters, targets): (Vec<&String>, Vec<&String>) = models().partition(is_drafter);
    let candidates = match wanted {
        Wanted::Drafter if !drafters.is_empty() => drafters,
        _ if targets.is_empty() => drafters,
        _ => targets,
    };
    // Of a split model the first part stands for all.
    let candidates: Vec<&String> = candidates
        .into_iter()
        .filter(|file| !is_later_part(file))
        .collect();
    let of_type = |ty: &str| -> Vec<&String> {
        let fits = |file: &&String| has_type(file, ty);
        candidates.iter().copied().filter(fits).collect()
    };
    let fitting = match name.file() {
        Some(HubFile::Quantization(ty)) if of_type(ty).is_empty() => {
            // What is there in this type may be of the other role; whoever opens it tells.
            models()
                .filter(|file| has_type(file, ty) && !is_later_part(file))
                .collect()
        }
        Some(HubFile::Quantization(ty)) => of_type(ty),
        _ if candidates.len() == 1 => candidates.clone(),
        _ => {
            let usual = USUAL
                .iter()
                .map(|ty| of_type(ty))
                .find(|fitting| !fitting.is_empty());
            usual.unwrap_or_else(|| candidates.clone())
        }
    };
    match (fitting.as_slice(), name.file()) {
        ([only], _) => Ok(Some((*only).clone())),
        ([], Some(HubFile::Quantization(ty))) => {
            let there = candidates.into_iter().cloned().collect();
            Err(nothing(format!("GGUF in the type {ty}"), there))
        }
        ([], _) => Err(nothing("GGUF".to_owned(), weights())),
        (several, _) => Err(SourceError::Several {
            name: name.to_string(),
            there: several.iter().map(|file| (*file).clone()).collect(),
        }),
    }
}

/// The files that a command needs besides the one that was picked: the other parts of a split model.
pub(super) fn parts(file: &str, files: &[String]) -> Vec<String> {
    let Some((front, total)) = split(file) else {
        return vec![file.to_owned()];
    };
    let is_part = |other: &&String| split(other).is_some_and(|(f, t)| f == front && t == total);
    files.iter().filter(is_part).cloned().collect()
}

fn is_weights(file: &str) -> bool {
    file.ends_with(".gguf") || file.ends_with(".safetensors")
}

fn base(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

/// Of `FRONT-00001-of-00003.gguf` the front and the number of parts.
fn split(file: &str) -> Option<(&str, &str)> {
    let (front, total) = file.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (front, number) = front.rsplit_once('-')?;
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(number) && is_number(total)).then_some((front, total))
}

fn is_later_part(file: &str) -> bool {
    split(file).is_some_and(|(front, _)| !file[front.len()..].starts_with("-00001-"))
}

/// Whether a file's name tells this type: as a word of its own, whatever the case, at the end or in front of `-` or `.`.
fn has_type(file: &str, ty: &str) -> bool {
    let (file, ty) = (file.to_lowercase(), ty.to_lowercase());
    file.match_indices(&ty).any(|(at, _)| {
        let before = file[..at].chars().next_back();
        let after = file[at + ty.len()..].chars().next();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_') && after.is_none_or(|c| "-./".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(name: &str, files: &[&str], wanted: Wanted) -> Result<Option<String>, SourceError> {
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        pick(&HubName::parse(name).unwrap(), &files, wanted)
    }

    #[test]
    fn a_type_or_a_role_tells_the_file() {
        let files = [
            "README.md",
            "g-IQ4_XS.gguf",
            "g-Q4_K_M.gguf",
            "g-UD-Q4_K_XL.gguf",
            "g-q8_0-00001-of-00002.gguf",
            "g-q8_0-00002-of-00002.gguf",
            "mmproj-F16.gguf",
            "mtp-g-Q8_0.gguf",
        ];
        let file = |name, wanted| picked(name, &files, wanted).unwrap().unwrap();
        assert_eq!(file("a/b", Wanted::Target), "g-Q4_K_M.gguf");
        assert_eq!(file("a/b", Wanted::Weights), "g-Q4_K_M.gguf");
        assert_eq!(file("a/b", Wanted::Drafter), "mtp-g-Q8_0.gguf");
        assert_eq!(file("a/b:Q8_0", Wanted::Target), "g-q8_0-00001-of-00002.gguf");
        assert_eq!(file("a/b:Q4_K_XL", Wanted::Target), "g-UD-Q4_K_XL.gguf");
        assert_eq!(file("a/b:mmproj-F16.gguf", Wanted::Weights), "mmproj-F16.gguf");
        assert_eq!(file("a/b:Q8_0", Wanted::Drafter), "mtp-g-Q8_0.gguf");
        assert_eq!(file("a/b:IQ4_XS", Wanted::Drafter), "g-IQ4_XS.gguf");
        let missing = picked("a/b:Q2_K", &files, Wanted::Target);
        assert!(matches!(missing, Err(SourceError::NoFile { .. })));
        let several = picked("a/b", &["x-Q5_0.gguf", "x-Q6_K.gguf"], Wanted::Target);
        assert!(matches!(several, Err(SourceError::Several { .. })));
        let checkpoint = ["config.json", "model.safetensors", "x.gguf"];
        assert_eq!(picked("a/b", &checkpoint, Wanted::Checkpoint).unwrap(), None);
        assert_eq!(picked("a/b", &checkpoint, Wanted::Weights).unwrap(), None);
    }

    #[test]
    fn a_split_model_is_all_of_its_parts() {
        let files: Vec<String> = [
            "a-00001-of-00002.gguf",
            "a-00002-of-00002.gguf",
            "b-00001-of-00002.gguf",
        ]
        .map(str::to_owned)
        .to_vec();
        assert_eq!(parts(&files[0], &files), files[..2]);
        assert_eq!(parts("x.gguf", &files), ["x.gguf"]);
    }
}
