//! "Did you mean": the nearest of the words that would have been right.

/// Words beyond this many are not compared: a mistake in a file of thousands of names must not take seconds.
const CANDIDATES: usize = 2_000;

/// The candidate nearest to what was written, if one is near enough to be meant.
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = written.chars().count();
    // Of one letter nothing would be left that speaks for it.
    let limit = (letters / 3).max(1).min(letters.saturating_sub(1));
    let distances = candidates.into_iter().take(CANDIDATES).filter_map(|candidate| {
        let far = candidate.chars().count().abs_diff(letters) > limit;
        let distance = if far { usize::MAX } else { distance(written, candidate) };
        (distance <= limit && candidate != written).then_some((distance, candidate))
    });
    distances
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?", or else the list of what is allowed.
pub fn help<'a>(written: &str, what: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(nearest) = nearest(written, candidates.iter().copied()) {
        return Some(format!("did you mean `{nearest}`?"));
    }
    match candidates.len() {
        0 => None,
        many if many > 24 => Some(format!(
            "there are {many} {what}, among them {}",
            candidates[..8].join(", ")
        )),
        _ => Some(format!("{what} here: {}", candidates.join(", "))),
    }
}

/// The number of letters to insert, remove, replace or swap with a neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for row in 1..=a.len() {
        let mut current = vec![row];
        for column in 1..=b.len() {
            let same = usize::from(a[row - 1] != b[column - 1]);
            let mut best = (above[column - 1] + same)
                .min(above[column] + 1)
                .min(current[column - 1] + 1);
            if row > 1 && column > 1 && a[row - 1] == b[column - 2] && a[row - 2] == b[column - 1] {
                best = best.min(before[column - 2] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        assert_eq!(nearest("detcet", ["track", "detect", "visit"]), Some("detect"));
        assert_eq!(nearest("min-scor", ["min-score", "max"]), Some("min-score"));
        assert_eq!(nearest("draw", ["detect", "track"]), None);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("ab", "ba"), 1);
    }
}
