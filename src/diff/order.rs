//! Which of the things that two lists share have changed their place.

/// Marks the entries of a permutation that have moved: the fewest without which the rest stands in order.
pub(super) fn moved(places: &[usize]) -> Vec<bool> {
    // The longest increasing run: by its length, the position that ends it lowest; and what comes before each.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(places.len());
    for (at, place) in places.iter().enumerate() {
        let len = ends.partition_point(|&end| places[end] < *place);
        before.push(len.checked_sub(1).map(|shorter| ends[shorter]));
        match ends.get_mut(len) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut moved = vec![true; places.len()];
    let mut at = ends.last().copied();
    while let Some(stays) = at {
        moved[stays] = false;
        at = before[stays];
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(places: &[usize]) -> Vec<usize> {
        let moved = moved(places);
        (0..places.len()).filter(|&at| moved[at]).collect()
    }

    #[test]
    fn the_fewest_have_moved() {
        assert_eq!(positions(&[]), [0; 0]);
        assert_eq!(positions(&[0, 1, 2, 3]), [0; 0]);
        assert_eq!(positions(&[4, 0, 1, 2, 3]), [0]);
        assert_eq!(positions(&[0, 2, 3, 1, 4]), [3]);
        assert_eq!(positions(&[2, 1, 0]).len(), 2);
    }
}
