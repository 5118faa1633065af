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
            reorder(source, &mut converted, &config.numbers, true)?;
            if !config.norm_before_fc {
                converted.hide("enc.output_norm.weight");
            }
            &config.numbers
        }
        DrafterConfig::DFlash(config) => {
            if config.neighbours {
                reorder(source, &mut converted, &config.numbers, false)?;
            }
            if !config.has_table {
                converted.hide("token_embd.weight");
            }
            &config.numbers
        }
    };
    number_tokens(source, &mut converted, numbers)?;
    // Converters leave out a head that scores the whole vocabulary, and llama.cpp then takes the target's.
    const OUTPUT: &str = "output.weight";
    if drafter.info(OUTPUT).is_none() && drafter.info(D2T).is_none() {
        converted.hide(OUTPUT);
    }
    Ok(converted)
}

/// Queries and keys in the order in which llama.cpp turns them. `side_by_side`: as for EAGLE-3, where a checkpoint has
/// halves: in each head, row `i` of the first half is followed by row `i` of the second. Otherwise the reverse, as for
/// DFlash.
fn reorder(
    source: &dyn Weights,
    converted: &mut Overlay,
    numbers: &Numbers,
    side_by_side: bool,
) -> Result<(), ModelError> {
    const PARTS: [&str; 4] = ["attn_q", "attn_k", "attn_q_norm", "attn_k_norm"];
    for (l, part) in (0..numbers.layers).flat_map(|l| PARTS.map(|part| (l, part))) {
        let name = format!("blk.{l}.{part}.weight");
        let Some(tensor) = source.tensor(&name)? else {
            continue;
        };
        let rows = tensor.shape.first().copied().unwrap_or(0);
        let head_dim = numbers.head_dim;
        if rows == 0 || !rows.is_multiple_of(head_dim) || !head_dim.is_multiple_of(2) {
            continue;
        }
        let half = head_dim / 2;
        let row_bytes = tensor.data.len() / rows;
        let from = |row: usize| match side_by_side {
            true => row % 2 * half + row / 2,
            false => row % half * 2 + row / half,
        };
        let order = (0..rows).map(|row| row / head_dim * head_dim + from(row % head_dim));
        let data = order
            .flat_map(|row| &tensor.data[row * row_bytes..][..row_bytes])
            .copied()
            .collect();
        converted.replace_bytes(&name, tensor.ty, tensor.shape, data);
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
