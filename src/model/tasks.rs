//! How the product of a matrix splits into tasks for threads: rows, in order, and fewer of them in the end, so that no thread
//! waits long for the last one, be it of a slower core. Also the memory that products are made in.

use super::lines::zeros;
use rayon::prelude::*;
use std::hint::black_box;
use std::ops::Range;
use std::sync::Once;

/// Rows that tasks take.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// So many at the most, a multiple of `group`.
    most: usize,
    /// Multiples of so many, which a kernel takes at once.
    group: usize,
}

impl Sizes {
    /// Of a prompt: what a task makes stays in the second-level cache, a tile of 102 KiB or levels of 48 KiB, and `group` are
    /// whole groups of every kernel.
    pub const PROMPT: Sizes = Sizes { most: 96, group: 24 };

    /// About `most`, in groups.
    pub fn new(most: usize, group: usize) -> Sizes {
        let most = most.max(1).next_multiple_of(group);
        Sizes { most, group }
    }
}

/// The product of so many rows with so many tokens, `[tokens, rows]`. `multiply` is given some rows and, of each token, the
/// place of its products with them.
pub fn by_rows(
    rows: usize,
    tokens: usize,
    sizes: Sizes,
    multiply: impl Fn(Range<usize>, &mut [&mut [f32]]) + Sync,
) -> Vec<f32> {
    if rows == 0 || tokens == 0 {
        return Vec::new();
    }
    keep_freed_memory();
    let mut product = zeros(tokens * rows);
    let tasks = Tasks {
        threads: rayon::current_num_threads(),
        sizes,
        rows: 0..rows,
        left: product.chunks_exact_mut(rows).collect(),
    };
    tasks
        .par_bridge()
        .for_each(|mut task| multiply(task.rows, &mut task.out));
    product
}

struct Task<'a> {
    rows: Range<usize>,
    /// By token.
    out: Vec<&'a mut [f32]>,
}

/// The tasks that are not yet taken.
struct Tasks<'a> {
    threads: usize,
    sizes: Sizes,
    rows: Range<usize>,
    /// By token, the products with these rows.
    left: Vec<&'a mut [f32]>,
}

impl<'a> Iterator for Tasks<'a> {
    type Item = Task<'a>;

    fn next(&mut self) -> Option<Task<'a>> {
        let Sizes { most, group } = self.sizes;
        let share = self.rows.len().div_ceil(2 * self.threads);
        let count = share.next_multiple_of(group).min(most).min(self.rows.len());
        let rows = self.rows.start..self.rows.start + count;
        self.rows.start = rows.end;
        let take = |left: &mut &'a mut [f32]| left.split_off_mut(..count);
        let out = self.left.iter_mut().filter_map(take).collect();
        (count > 0).then_some(Task { rows, out })
    }
}

/// Has glibc's allocator keep what is freed for what is asked for next, as others do. It gives memory back to the system, and
/// takes it again page by page, where that is as large as the largest that it freed before, up to 32 MiB: so it is given one
/// of that size to free. Nothing of it is touched.
fn keep_freed_memory() {
    const LARGEST: usize = (32 << 20) - (64 << 10);
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(black_box(Vec::<u8>::with_capacity(LARGEST))));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_product_is_of_one_task_whatever_the_number_of_threads() {
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            for (rows, tokens) in [
                (0, 3),
                (5, 0),
                (1, 1),
                (23, 2),
                (96, 1),
                (97, 4),
                (1000, 3),
                (3000, 350),
            ] {
                let product = pool.install(|| {
                    by_rows(rows, tokens, Sizes::PROMPT, |rows, out| {
                        assert!(rows.len() <= Sizes::PROMPT.most);
                        assert!(tokens > 0 && out.len() == tokens);
                        for (token, out) in out.iter_mut().enumerate() {
                            assert_eq!(out.len(), rows.len());
                            for (row, out) in rows.clone().zip(out.iter_mut()) {
                                *out += (1 + token * 3000 + row) as f32;
                            }
                        }
                    })
                });
                let all =
                    (0..tokens).flat_map(|token| (0..rows).map(move |row| (1 + token * 3000 + row) as f32));
                assert!(product.into_iter().eq(all), "{rows} {tokens} {threads}");
            }
        }
    }

    #[test]
    fn tasks_end_in_smaller_ones() {
        let tasks = |rows, threads, sizes| -> Vec<usize> {
            let left = Vec::new();
            let tasks = Tasks {
                threads,
                sizes,
                rows: 0..rows,
                left,
            };
            tasks.map(|task| task.rows.len()).collect()
        };
        assert_eq!(
            tasks(600, 2, Sizes::PROMPT),
            [96, 96, 96, 96, 72, 48, 24, 24, 24, 24]
        );
        assert_eq!(tasks(50, 1, Sizes::PROMPT), [48, 2]);
        assert_eq!(tasks(20, 2, Sizes::new(100, 6)), [6, 6, 6, 2]);
        assert_eq!(
            tasks(300, 2, Sizes::new(100, 6)),
            [78, 60, 42, 30, 24, 18, 12, 12, 6, 6, 6, 6]
        );
        assert_eq!(tasks(5, 1, Sizes::new(0, 2)), [2, 2, 1]);
    }
}
