//! What holds for every codec and any numbers: all instruction sets agree, errors are bounded, nothing panics.

use gguf_conv::quant::{GgmlType, Isa, QuantError};
use proptest::prelude::*;

/// The numbers of a row of each type's blocks, two of the longest.
const ROW: usize = 512;

fn encoders() -> impl Strategy<Value = GgmlType> {
    let types: Vec<GgmlType> = GgmlType::all().filter(|ty| ty.can_encode()).collect();
    prop::sample::select(types)
}

/// Any finite number: every bit pattern that is one.
fn finite() -> impl Strategy<Value = f32> {
    any::<u32>()
        .prop_map(f32::from_bits)
        .prop_filter("finite", |v| v.is_finite())
}

/// Rows as weights are: around zero, with a spread of their own, a few far out, some exactly zero.
fn weights() -> impl Strategy<Value = Vec<f32>> {
    let element = prop_oneof![8 => -1.0f32..1.0, 1 => -30.0f32..30.0, 1 => Just(0.0)];
    (prop::collection::vec(element, ROW), -4..3i32).prop_map(|(mut row, exponent)| {
        for v in &mut row {
            *v *= 10f32.powi(exponent);
        }
        row
    })
}

/// Rows of weights, of a constant, or of any numbers at all.
fn rows() -> impl Strategy<Value = Vec<f32>> {
    prop_oneof![
        4 => weights(),
        1 => finite().prop_map(|v| vec![v; ROW]),
        1 => prop::collection::vec(finite(), ROW),
        1 => prop::collection::vec(prop::sample::select(vec![0.0f32, -0.0, 1e-40, -1e-40, 1.0, -1.0]), ROW),
    ]
}

fn importance() -> impl Strategy<Value = Option<Vec<f32>>> {
    prop::option::of(prop::collection::vec(
        prop_oneof![4 => 0.0f32..1.0, 1 => Just(0.0)],
        ROW,
    ))
}

/// The weights that a type wants in any case, all the same.
fn wanted(ty: GgmlType) -> Option<&'static [f32]> {
    ty.needs_importance().then_some(&[1.0; ROW])
}

fn encode_on(isa: Isa, ty: GgmlType, row: &[f32], importance: Option<&[f32]>) -> Vec<u8> {
    let mut blocks = vec![0; row.len() / ty.block_len() * ty.block_bytes()];
    match ty.encode_on(isa, row, row.len(), importance.or(wanted(ty)), &mut blocks) {
        // The blocks are written all the same.
        Ok(()) | Err(QuantError::Overflow { .. }) => blocks,
        Err(error) => panic!("{ty}: {error}"),
    }
}

fn decode_on(isa: Isa, ty: GgmlType, blocks: &[u8]) -> Vec<f32> {
    let mut row = vec![0.0; blocks.len() / ty.block_bytes() * ty.block_len()];
    ty.decode_on(isa, blocks, &mut row).unwrap();
    row
}

/// The bits of each number, those of all NaN the same.
fn bits(row: &[f32]) -> Vec<u32> {
    row.iter()
        .map(|v| if v.is_nan() { u32::MAX } else { v.to_bits() })
        .collect()
}

/// The most that a number may change, as a part of the largest magnitude in its block.
fn bound(ty: GgmlType) -> f32 {
    match ty {
        GgmlType::F32 => 0.0,
        GgmlType::F16 => 1.0 / 2048.0,
        GgmlType::BF16 => 1.0 / 256.0,
        GgmlType::Q8_0 => 0.5 / 127.0 + 1.0 / 1024.0,
        // One step: the largest element has a level, its opposite has not.
        GgmlType::Q4_0 => 1.01 / 8.0,
        GgmlType::Q5_0 => 1.01 / 16.0,
        // Half a step of a range that is at most twice the largest magnitude.
        GgmlType::Q4_1 => 1.02 / 15.0,
        GgmlType::Q5_1 => 1.02 / 31.0,
        // The others search for the least error over a whole group, at the price of single elements.
        GgmlType::Q6_K => 0.08,
        GgmlType::Q5_K => 0.12,
        GgmlType::Q4_K | GgmlType::IQ4_NL => 0.25,
        // No level is zero, and what is near zero has little weight.
        GgmlType::IQ1_S | GgmlType::IQ1_M => 2.0,
        _ => 1.0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_path_writes_the_same_blocks(ty in encoders(), row in rows(), importance in importance()) {
        let portable = encode_on(Isa::portable(), ty, &row, importance.as_deref());
        for isa in Isa::available() {
            let blocks = encode_on(isa, ty, &row, importance.as_deref());
            prop_assert!(blocks == portable, "{} on {}", ty, isa.name());
        }
    }

    #[test]
    fn every_path_reads_the_same_numbers(
        ty in prop::sample::select(GgmlType::all().collect::<Vec<_>>()),
        bytes in prop::collection::vec(any::<u8>(), 600),
    ) {
        let blocks = &bytes[..bytes.len() / ty.block_bytes() * ty.block_bytes()];
        let portable = decode_on(Isa::portable(), ty, blocks);
        for isa in Isa::available() {
            prop_assert_eq!(bits(&decode_on(isa, ty, blocks)), bits(&portable), "{} on {}", ty, isa.name());
        }
    }

    #[test]
    fn a_product_is_that_of_the_numbers_read(
        ty in prop::sample::select(GgmlType::all().collect::<Vec<_>>()),
        bytes in prop::collection::vec(any::<u8>(), 600),
        x in prop::collection::vec(-1.0f32..1.0, 8 * 600),
    ) {
        let blocks = &bytes[..bytes.len() / ty.block_bytes() * ty.block_bytes()];
        let row = decode_on(Isa::best(), ty, blocks);
        let products: Vec<f64> = row.iter().zip(&x).map(|(v, x)| f64::from(*v) * f64::from(*x)).collect();
        let magnitude: f64 = products.iter().map(|p| p.abs()).sum();
        let dot = f64::from(ty.decoder().dot(blocks, &x[..row.len()]));
        // Sums that f32 does not have are nobody's.
        if magnitude < 1e38 {
            let error = (dot - products.iter().sum::<f64>()).abs();
            prop_assert!(error <= 1e-4 * magnitude + 1e-30, "{}: off by {} of {}", ty, error, magnitude);
        }
    }

    #[test]
    fn errors_are_bounded(ty in encoders(), row in weights()) {
        let decoded = decode_on(Isa::best(), ty, &encode_on(Isa::best(), ty, &row, None));
        for (block, decoded) in row.chunks(ty.block_len()).zip(decoded.chunks(ty.block_len())) {
            let amax = block.iter().fold(0.0f32, |amax, v| amax.max(v.abs()));
            for (v, decoded) in block.iter().zip(decoded) {
                // Scales below the normal range of f16 are coarse.
                let allowed = bound(ty) * amax + 1e-7 * 127.0;
                prop_assert!((v - decoded).abs() <= allowed, "{}: {} became {}, largest {}", ty, v, decoded, amax);
            }
        }
    }

    #[test]
    fn what_lies_on_the_grid_stays_there(
        ty in prop::sample::select(vec![GgmlType::Q8_0, GgmlType::Q4_0, GgmlType::Q5_0, GgmlType::F16, GgmlType::BF16]),
        row in weights(),
    ) {
        let blocks = encode_on(Isa::best(), ty, &row, None);
        let decoded = decode_on(Isa::best(), ty, &blocks);
        prop_assert_eq!(encode_on(Isa::best(), ty, &decoded, None), blocks);
    }

    #[test]
    fn the_first_number_that_is_none_is_found(
        ty in encoders(),
        row in weights(),
        at in 0..ROW,
        bad in prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
    ) {
        let mut rows = [row.clone(), row.clone(), row].concat();
        rows[ROW + at] = bad;
        rows[2 * ROW + at] = bad;
        let mut blocks = vec![0; rows.len() / ty.block_len() * ty.block_bytes()];
        let result = ty.encode(&rows, ROW, wanted(ty), &mut blocks);
        let found = match result {
            Err(QuantError::NonFinite { index, .. }) => Some(index),
            _ => None,
        };
        prop_assert_eq!(found, Some(ROW + at));
    }

    #[test]
    fn what_is_written_is_finite_or_the_number_that_is_not_is_named(
        ty in encoders(),
        row in weights(),
        at in 0..ROW,
        exponent in -140..128,
        negative in any::<bool>(),
        importance in prop::option::of(prop::sample::select(vec![1e-6_f32, 1.0, 1e6])),
    ) {
        let outlier = 2f64.powi(exponent) as f32 * if negative { -1.0 } else { 1.0 };
        let mut rows = [row.clone(), row].concat();
        rows[ROW + at] = outlier;
        let importance = importance.map(|weight| vec![weight; ROW]);
        let mut blocks = vec![0; rows.len() / ty.block_len() * ty.block_bytes()];
        match ty.encode(&rows, ROW, importance.as_deref().or(wanted(ty)), &mut blocks) {
            Ok(()) => prop_assert!(decode_on(Isa::best(), ty, &blocks).iter().all(|v| v.is_finite())),
            Err(QuantError::Overflow { index, value, .. }) => {
                prop_assert_eq!((index, value), (ROW + at, outlier));
                prop_assert!(outlier.abs() > 65504.0, "{}", outlier);
            }
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }
}

#[test]
fn counts_that_do_not_fit_are_errors() {
    let row = [0.0; 64];
    let mut blocks = [0; 68];
    let q8_0 = GgmlType::Q8_0;
    assert_eq!(q8_0.encode(&row, 64, None, &mut blocks), Ok(()));
    let size = |elements, bytes| {
        Err(QuantError::Size {
            ty: q8_0,
            elements,
            bytes,
        })
    };
    assert_eq!(q8_0.encode(&row, 64, None, &mut blocks[..67]), size(64, 67));
    assert_eq!(q8_0.encode(&row[..63], 63, None, &mut blocks), size(63, 68));
    assert_eq!(q8_0.decode(&blocks, &mut [0.0; 32]), size(32, 68));
    let row_len = |row_len| Err(QuantError::RowLength { ty: q8_0, row_len });
    assert_eq!(q8_0.encode(&row, 48, None, &mut blocks), row_len(48));
    assert_eq!(q8_0.encode(&row, 0, None, &mut blocks), row_len(0));
    assert_eq!(q8_0.encode(&row, 32, Some(&row), &mut blocks), row_len(32));
    let unsupported = GgmlType::Q8_1.encode(&row, 64, None, &mut blocks);
    assert_eq!(unsupported, Err(QuantError::Unsupported(GgmlType::Q8_1)));
}
