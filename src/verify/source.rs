//! A drafter's checkpoint as its GGUF should be: what converters do to some tensors is done here too, by code that the
//! converter does not share.

use super::overlay::Overlay;
use crate::gguf::Gguf;
use crate::model::{D2T, DrafterConfig, ModelError, Numbers, Weights};
use crate::quant::GgmlType;

/// The weights of a checkpoint as a GGUF of the same drafter should have them.
pub fn as_converted<'a>(
    source: &'a dyn Weights,
    config: &DrafterConfig,
    drafter: &Gguf,
) -> Result<Overlay<'a>, ModelError> {
    let mut converted = Overlay::new(source);
    let numbers = match config {
        DrafterConfig::Assistant(_) => return Ok(converted),
        DrafterConfig::Eagle3(config) => {
            interleave(source, &mut converted, &config.numbers)?;
            &config.numbers
        }
        DrafterConfig::DFlash(config) => &config.numbers,
    };
    number_tokens(source, &mut converted, numbers)?;
    // Converters leave out a head that scores the whole vocabulary, and llama.cpp then takes the target's.
    const OUTPUT: &str = "output.weight";
    if drafter.info(OUTPUT).is_none() && drafter.info(D2T).is_none() {
        converted.hide(OUTPUT);
    }
    Ok(converted)
}

/// Queries and keys by neighbours, as llama.cpp turns EAGLE-3's, where a checkpoint has halves: in each head, row `i` of
/// the first half is followed by row `i` of the second.
fn interleave(source: &dyn Weights, converted: &mut Overlay, numbers: &Numbers) -> Result<(), ModelError> {
    for (name, heads) in [
        ("blk.0.attn_q.weight", numbers.heads),
        ("blk.0.attn_k.weight", numbers.kv_heads),
    ] {
        let Some(tensor) = source.tensor(name)? else {
            continue;
        };
        let rows = tensor.shape.first().copied().unwrap_or(0);
        if rows == 0 || !rows.is_multiple_of(2 * heads) {
            continue;
        }
        let half = rows / heads / 2;
        let row_bytes = tensor.data.len() / rows;
        let order = (0..heads)
            .flat_map(|head| (0..half).flat_map(move |i| [0, half].map(|h| head * 2 * half + h + i)));
        let data = order
            .flat_map(|row| &tensor.data[row * row_bytes..][..row_bytes])
            .copied()
            .collect();
        converted.replace_bytes(name, tensor.ty, tensor.shape, data);
    }
    Ok(())
}

/// The tokens of a reduced vocabulary by number, where a checkpoint says how far each is from its own row.
fn number_tokens(source: &dyn Weights, converted: &mut Overlay, numbers: &Numbers) -> Result<(), ModelError> {
    let Some(tensor) = source.tensor(D2T)? else {
        return Ok(());
    };
    let offsets = tensor
        .integers()
        .ok_or_else(|| numbers.error(format!("{D2T} holds {}, whole numbers are needed", tensor.ty)))?;
    let tokens = offsets
        .iter()
        .zip(0..)
        .map(|(offset, row)| offset.wrapping_add(row));
    let data = tokens.flat_map(i64::to_le_bytes).collect();
    converted.replace_bytes(D2T, GgmlType::I64, tensor.shape, data);
    Ok(())
}
