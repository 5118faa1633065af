//! Holds every codec, on every instruction set that this machine has, to the bytes and numbers that ggml and gguf-py made
//! (`fixtures/quant`).

use crate::common::fixture;
use gguf_conv::quant::{GgmlType, Isa, QuantError};
use sha2::{Digest, Sha256};

const ROW: usize = 512;

fn read(name: &str) -> Vec<u8> {
    let path = fixture("quant").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn read_f32(name: &str) -> Vec<f32> {
    let bytes = read(name);
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect()
}

/// Types that take no notice of an importance matrix.
const UNWEIGHTED: [GgmlType; 7] = [
    GgmlType::Q8_0,
    GgmlType::TQ1_0,
    GgmlType::TQ2_0,
    GgmlType::MXFP4,
    GgmlType::NVFP4,
    GgmlType::Q1_0,
    GgmlType::Q2_0,
];

/// Types that ggml does not encode where a sum of squares passes f32.
const BOUNDED: [GgmlType; 7] = [
    GgmlType::IQ3_S,
    GgmlType::IQ3_XXS,
    GgmlType::IQ2_S,
    GgmlType::IQ2_XS,
    GgmlType::IQ2_XXS,
    GgmlType::IQ1_M,
    GgmlType::IQ1_S,
];

/// The rows that `make.py` encodes as this type.
fn rows(ty: GgmlType) -> Vec<f32> {
    let mut rows = read_f32("encode/input.f32");
    if BOUNDED.contains(&ty) {
        let kept = rows.chunks(ROW).filter(|row| row.iter().all(|v| v.abs() < 1e9));
        rows = kept.flatten().copied().collect();
    }
    rows
}

#[track_caller]
fn assert_encodes(ty: GgmlType, importance: Option<&[f32]>, expected: &str) {
    let (rows, expected) = (rows(ty), read(expected));
    let row_bytes = ROW / ty.block_len() * ty.block_bytes();
    for isa in Isa::available() {
        let pairs = rows.chunks(ROW).zip(expected.chunks(row_bytes));
        for (row, (numbers, expected)) in pairs.enumerate() {
            let mut blocks = vec![0xaa; row_bytes];
            let result = ty.encode_on(isa, numbers, ROW, importance, &mut blocks);
            let mut pairs = blocks
                .chunks(ty.block_bytes())
                .zip(expected.chunks(ty.block_bytes()));
            if let Some(at) = pairs.position(|(block, expected)| block != expected) {
                panic!("{ty} on {}: block {at} in row {row} differs", isa.name());
            }
            // Where ggml makes infinities of the largest numbers.
            let mut decoded = vec![0.0; ROW];
            ty.decode_on(isa, expected, &mut decoded).unwrap();
            match result {
                Ok(()) => assert!(decoded.iter().all(|v| v.is_finite()), "{ty}: row {row}"),
                Err(QuantError::Overflow { .. }) => {
                    assert!(!decoded.iter().all(|v| v.is_finite()), "{ty}: row {row}");
                }
                Err(error) => panic!("{ty}: {error}"),
            }
        }
    }
}

#[test]
fn encoders_write_what_ggml_writes() {
    let unweighted = |ty: &GgmlType| ty.can_encode() && !ty.needs_importance();
    for ty in GgmlType::all().filter(|ty| unweighted(ty) && *ty != GgmlType::F32) {
        assert_encodes(ty, None, &format!("encode/{}.bin", ty.name().to_lowercase()));
    }
}

#[test]
fn encoders_write_what_ggml_writes_with_an_importance_matrix() {
    let importance = read_f32("encode/importance.f32");
    for ty in GgmlType::all().filter(|ty| ty.can_encode() && ty.is_quantized()) {
        let name = ty.name().to_lowercase();
        let kind = if UNWEIGHTED.contains(&ty) {
            ""
        } else {
            "-importance"
        };
        assert_encodes(ty, Some(&importance), &format!("encode/{name}{kind}.bin"));
    }
}

#[test]
fn types_that_ggml_encodes_with_an_importance_matrix_only_are_refused_without() {
    let refused: Vec<GgmlType> = GgmlType::all().filter(|ty| ty.needs_importance()).collect();
    assert_eq!(refused, [GgmlType::IQ2_XXS, GgmlType::IQ2_XS, GgmlType::IQ1_S]);
    for ty in refused {
        let mut blocks = vec![0; ty.block_bytes()];
        let result = ty.encode(&[1.0; 256], 256, None, &mut blocks);
        assert_eq!(result, Err(QuantError::NoImportance(ty)));
    }
}

#[test]
fn decoders_read_what_gguf_py_reads() {
    let sums = String::from_utf8(read("decode/SHA256SUMS")).unwrap();
    let mut decoded = Vec::new();
    for line in sums.lines() {
        let (expected, name) = line.split_once("  ").unwrap();
        let ty = GgmlType::from_name(name).unwrap();
        let blocks = read(&format!("decode/{name}.bin"));
        for isa in Isa::available() {
            let mut numbers = vec![0.0; blocks.len() / ty.block_bytes() * ty.block_len()];
            ty.decode_on(isa, &blocks, &mut numbers).unwrap();
            let bytes: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
            let sum: String = Sha256::digest(&bytes)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            assert_eq!(sum, expected, "{ty} on {}", isa.name());
        }
        decoded.push(ty);
    }
    // Every type with blocks, but for one that no file holds and no program decodes to compare with.
    let missing: Vec<GgmlType> = GgmlType::all()
        .filter(|ty| ty.is_quantized() && !decoded.contains(ty))
        .collect();
    assert_eq!(missing, [GgmlType::Q8_1]);
}

#[test]
fn types_without_blocks_decode_to_the_nearest_numbers() {
    fn decoded(ty: GgmlType, bytes: &[u8]) -> f32 {
        let mut out = [0.0];
        ty.decode(bytes, &mut out).unwrap();
        out[0]
    }
    assert_eq!(decoded(GgmlType::F32, &1.5f32.to_le_bytes()), 1.5);
    assert_eq!(decoded(GgmlType::F64, &0.1f64.to_le_bytes()), 0.1);
    assert_eq!(decoded(GgmlType::I8, &[0xff]), -1.0);
    assert_eq!(decoded(GgmlType::I16, &(-300i16).to_le_bytes()), -300.0);
    assert_eq!(decoded(GgmlType::I32, &16_777_217i32.to_le_bytes()), 16_777_216.0);
    assert_eq!(decoded(GgmlType::I64, &(1i64 << 40).to_le_bytes()), 2f32.powi(40));
}
