//! The grids, and for every run of levels that is no point of a grid the points near it.
//!
//! A run is written as a pattern: 16 bits, in which each of `RUN` elements has 16 / `RUN` bits for its level. `grids.bin`
//! holds the points of `ggml-common.h`'s grids as patterns, as `gguf` 0.19 packs them, little-endian, in the order of the
//! constants below.

use std::sync::LazyLock;

static POINTS: &[u8; 2 * 4608] = include_bytes!("grids.bin");

/// The points of one grid in [`POINTS`], and what its levels stand for.
pub(super) struct Grid<const LEVELS: usize> {
    start: usize,
    len: usize,
    values: [i8; LEVELS],
}

#[rustfmt::skip]
mod grids {
    use super::Grid;
    pub(in super::super) const IQ2_XXS: Grid<4> = Grid { start: 0, len: 256, values: [8, 25, 43, 0] };
    pub(in super::super) const IQ2_XS: Grid<4> = Grid { start: 256, len: 512, values: [8, 25, 43, 0] };
    pub(in super::super) const IQ2_S: Grid<4> = Grid { start: 768, len: 1024, values: [8, 25, 43, 0] };
    pub(in super::super) const IQ1: Grid<4> = Grid { start: 1792, len: 2048, values: [-1, 0, 1, 0] };
    pub(in super::super) const IQ3_XXS: Grid<8> = Grid { start: 3840, len: 256, values: [4, 12, 20, 28, 36, 44, 52, 62] };
    pub(in super::super) const IQ3_S: Grid<8> = Grid { start: 4096, len: 512, values: [1, 3, 5, 7, 9, 11, 13, 15] };
}
pub(super) use grids::*;

impl<const LEVELS: usize> Grid<LEVELS> {
    /// Point `index` as a pattern.
    #[inline(always)]
    pub(super) fn pattern(&self, index: usize) -> u16 {
        let at = 2 * (self.start + index);
        u16::from_le_bytes([POINTS[at], POINTS[at + 1]])
    }

    /// What the elements of point `index` stand for.
    #[inline(always)]
    pub(super) fn point<const RUN: usize>(&self, index: usize) -> [f32; RUN] {
        let pattern = self.pattern(index);
        std::array::from_fn(|i| f32::from(self.values[level::<RUN, LEVELS>(pattern, i)]))
    }
}

/// The level of element `i`.
#[inline(always)]
pub(super) fn level<const RUN: usize, const LEVELS: usize>(pattern: u16, i: usize) -> usize {
    usize::from(pattern >> (i * 16 / RUN)) % LEVELS
}

/// The pattern of these levels, which are below `LEVELS`.
#[inline(always)]
pub(super) fn pattern_of<const RUN: usize>(levels: impl Fn(usize) -> u16) -> u16 {
    (0..RUN).fold(0, |pattern, i| pattern | levels(i) << (i * 16 / RUN))
}

/// The points of a grid by their patterns.
pub(super) struct Map<const RUN: usize> {
    /// By pattern: the index of the point, or [`OFF`] and where its neighbours are.
    places: Vec<u32>,
    /// For each pattern that is no point their number, then they.
    neighbours: Vec<u16>,
}

const OFF: u32 = 1 << 31;

pub(super) static IQ2_XXS_MAP: LazyLock<Map<8>> = LazyLock::new(|| Map::new(&IQ2_XXS, 3, 2));
pub(super) static IQ2_XS_MAP: LazyLock<Map<8>> = LazyLock::new(|| Map::new(&IQ2_XS, 3, 2));
pub(super) static IQ2_S_MAP: LazyLock<Map<8>> = LazyLock::new(|| Map::new(&IQ2_S, 3, 1));
pub(super) static IQ1_MAP: LazyLock<Map<8>> = LazyLock::new(|| Map::new(&IQ1, 3, 3));
pub(super) static IQ3_XXS_MAP: LazyLock<Map<4>> = LazyLock::new(|| Map::new(&IQ3_XXS, 8, 2));
pub(super) static IQ3_S_MAP: LazyLock<Map<4>> = LazyLock::new(|| Map::new(&IQ3_S, 8, 3));

impl<const RUN: usize> Map<RUN> {
    /// The map of a grid whose elements have `used` levels. The neighbours of a pattern are the points at the `shells`
    /// smallest distances from it, the nearest first, and of those as near in the order of the grid.
    fn new<const LEVELS: usize>(grid: &Grid<LEVELS>, used: usize, shells: usize) -> Map<RUN> {
        let points: Vec<u16> = (0..grid.len).map(|i| grid.pattern(i)).collect();
        let levels: Vec<[i16; RUN]> = points.iter().map(|p| Self::levels::<LEVELS>(*p)).collect();
        let mut places = vec![OFF; 1 << 16];
        for (i, point) in points.iter().enumerate() {
            places[usize::from(*point)] = i as u32;
        }
        let mut neighbours = Vec::new();
        for number in 0..used.pow(RUN as u32) {
            let pattern = pattern_of::<RUN>(|i| (number / used.pow(i as u32) % used) as u16);
            if places[usize::from(pattern)] != OFF {
                continue;
            }
            let from = Self::levels::<LEVELS>(pattern);
            let squares: Vec<i16> = levels
                .iter()
                .map(|to| (0..RUN).map(|i| (from[i] - to[i]) * (from[i] - to[i])).sum())
                .collect();
            let count_at = neighbours.len();
            places[usize::from(pattern)] = OFF | count_at as u32;
            neighbours.push(0);
            let mut shell = -1;
            for _ in 0..shells {
                let farther = squares.iter().copied().filter(|square| *square > shell);
                let Some(next) = farther.min() else { break };
                shell = next;
                let at = points
                    .iter()
                    .zip(&squares)
                    .filter(|(_, square)| **square == shell);
                neighbours.extend(at.map(|(point, _)| *point));
            }
            neighbours[count_at] = (neighbours.len() - count_at - 1) as u16;
        }
        Map { places, neighbours }
    }

    fn levels<const LEVELS: usize>(pattern: u16) -> [i16; RUN] {
        std::array::from_fn(|i| level::<RUN, LEVELS>(pattern, i) as i16)
    }

    /// The points near a pattern, as patterns, at least one; `None` for a point.
    #[inline(always)]
    pub(super) fn neighbours(&self, pattern: u16) -> Option<&[u16]> {
        let place = self.places[usize::from(pattern)];
        if place & OFF == 0 {
            return None;
        }
        let at = (place ^ OFF) as usize;
        let count = usize::from(self.neighbours[at]);
        Some(&self.neighbours[at + 1..][..count])
    }

    /// The index of the point with this pattern.
    #[inline(always)]
    pub(super) fn index(&self, point: u16) -> u16 {
        self.places[usize::from(point)] as u16
    }
}

/// Of `neighbours` the one with the smallest sum of the terms of its levels; the first where none has a finite sum.
#[inline(always)]
pub(super) fn nearest<const RUN: usize, const LEVELS: usize>(
    neighbours: &[u16],
    terms: &[[f32; LEVELS]; RUN],
) -> u16 {
    let mut best = (f32::MAX, neighbours[0]);
    for neighbour in neighbours {
        let mut sum = 0.0;
        for (i, terms) in terms.iter().enumerate() {
            sum += terms[level::<RUN, LEVELS>(*neighbour, i)];
        }
        if sum < best.0 {
            best = (sum, *neighbour);
        }
    }
    best.1
}
