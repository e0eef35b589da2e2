//! Who is matched with whom: the cheapest one-to-one assignment in which a match must be worth it.
//!
//! The problem is that of `lapjv` with `extend_cost` and `cost_limit`: each row and each column left alone costs
//! half the limit, so a match pays only below the limit. Solved exactly by shortest augmenting paths (Jonker and
//! Volgenant 1987; Crouse 2016, "On implementing 2D rectangular assignment algorithms") over the pairs below the
//! limit only: with boxes that mostly do not meet there are few. Being left alone is a place of its own for each
//! row, at cost 0 once the limit is taken off every pair.

/// Pairs that may be matched.
#[derive(Debug, Default)]
pub struct Pairs {
    /// Pairs of row `r` are at `starts[r]..starts[r + 1]`.
    starts: Vec<usize>,
    /// Column, and cost less the limit: negative.
    pairs: Vec<(usize, f64)>,
    columns: usize,
}

impl Pairs {
    /// Those of `rows` times `columns` whose cost is below `limit`; a cost that is no number is not.
    pub fn below(limit: f64, rows: usize, columns: usize, mut cost: impl FnMut(usize, usize) -> f64) -> Self {
        let mut found = Pairs {
            starts: Vec::with_capacity(rows + 1),
            pairs: Vec::new(),
            columns,
        };
        found.starts.push(0);
        for row in 0..rows {
            for column in 0..columns {
                let gain = cost(row, column) - limit;
                if gain < 0.0 {
                    found.pairs.push((column, gain));
                }
            }
            found.starts.push(found.pairs.len());
        }
        found
    }

    fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    fn of(&self, row: usize) -> &[(usize, f64)] {
        &self.pairs[self.starts[row]..self.starts[row + 1]]
    }

    /// The column of each row, or none, such that the sum over matches of cost less limit is the least possible.
    /// Of equally good ones always the same is chosen.
    pub fn assign(&self) -> Vec<Option<usize>> {
        let mut search = Search::new(self);
        for row in 0..self.rows() {
            search.insert(row);
        }
        search.column_of
    }
}

/// A column reached by the search from one row.
#[derive(Clone, Copy)]
struct Reached {
    column: usize,
    distance: f64,
    settled: bool,
}

/// The assignment of the rows so far, with dual prices that prove it optimal: `gain >= row price + column price` for
/// every pair, with equality for matches; prices are never positive, and 0 for whatever is left alone.
struct Search<'a> {
    pairs: &'a Pairs,
    column_of: Vec<Option<usize>>,
    row_of: Vec<Option<usize>>,
    row_price: Vec<f64>,
    column_price: Vec<f64>,
    /// Columns of the present search, and where a column stands among them.
    reached: Vec<Reached>,
    place: Vec<Option<usize>>,
    /// The row from which a column was reached.
    from: Vec<usize>,
}

impl<'a> Search<'a> {
    fn new(pairs: &'a Pairs) -> Self {
        let (rows, columns) = (pairs.rows(), pairs.columns);
        Search {
            pairs,
            column_of: vec![None; rows],
            row_of: vec![None; columns],
            row_price: vec![0.0; rows],
            column_price: vec![0.0; columns],
            reached: Vec::new(),
            place: vec![None; columns],
            from: vec![0; columns],
        }
    }

    /// Adds a row by the cheapest change of the assignment: a path that ends at a free column, or at a row that is
    /// better left alone.
    fn insert(&mut self, row: usize) {
        let prices = self
            .pairs
            .of(row)
            .iter()
            .map(|(column, gain)| gain - self.column_price[*column]);
        self.row_price[row] = prices.fold(0.0, f64::min);

        let (mut here, mut distance) = (row, 0.0);
        let (mut leave, mut leave_distance) = (row, f64::INFINITY);
        let (end, total) = loop {
            let alone = distance - self.row_price[here];
            if alone < leave_distance {
                (leave, leave_distance) = (here, alone);
            }
            self.reach(here, distance);
            let unsettled = self.reached.iter().enumerate().filter(|(_, reached)| !reached.settled);
            let nearest = unsettled.min_by(|(_, a), (_, b)| a.distance.total_cmp(&b.distance));
            let Some((index, nearest)) = nearest.filter(|(_, reached)| reached.distance < leave_distance) else {
                break (None, leave_distance);
            };
            let nearest = *nearest;
            let Some(holder) = self.row_of[nearest.column] else {
                break (Some(nearest.column), nearest.distance);
            };
            self.reached[index].settled = true;
            (here, distance) = (holder, nearest.distance);
        };

        self.row_price[row] += total;
        for reached in std::mem::take(&mut self.reached) {
            self.place[reached.column] = None;
            if let (true, Some(holder)) = (reached.settled, self.row_of[reached.column]) {
                self.column_price[reached.column] -= total - reached.distance;
                self.row_price[holder] += total - reached.distance;
            }
        }
        // Along the path, each row takes the column that was reached from it and gives up its own.
        let mut free = end.or_else(|| self.column_of[leave].take());
        while let Some(column) = free {
            let taker = self.from[column];
            free = self.column_of[taker].replace(column);
            self.row_of[column] = Some(taker);
        }
    }

    /// Offers the columns of a row at this distance from the start.
    fn reach(&mut self, row: usize, distance: f64) {
        for (column, gain) in self.pairs.of(row) {
            let offered = distance + gain - self.row_price[row] - self.column_price[*column];
            match self.place[*column] {
                None => {
                    self.place[*column] = Some(self.reached.len());
                    self.reached.push(Reached {
                        column: *column,
                        distance: offered,
                        settled: false,
                    });
                    self.from[*column] = row;
                }
                Some(place) if !self.reached[place].settled && offered < self.reached[place].distance => {
                    self.reached[place].distance = offered;
                    self.from[*column] = row;
                }
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The least sum of cost less limit over all ways to match the rows from `row` on.
    fn brute(costs: &[Vec<f64>], limit: f64, row: usize, taken: &mut Vec<bool>) -> f64 {
        if row == costs.len() {
            return 0.0;
        }
        let mut best = brute(costs, limit, row + 1, taken);
        for column in 0..taken.len() {
            if !std::mem::replace(&mut taken[column], true) {
                best = best.min(costs[row][column] - limit + brute(costs, limit, row + 1, taken));
                taken[column] = false;
            }
        }
        best
    }

    fn matrix() -> impl Strategy<Value = Vec<Vec<f64>>> {
        (1..7_usize, 1..7_usize).prop_flat_map(|(rows, columns)| {
            // Few distinct values, so that ties and chains of displacement are common.
            let cost = prop_oneof![0.0..1.2, (0..6_u8).prop_map(|step| f64::from(step) / 5.0)];
            prop::collection::vec(prop::collection::vec(cost, columns), rows)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_assignment_is_better(costs in matrix(), limit in 0.05..1.1) {
            let columns = costs[0].len();
            let matches = Pairs::below(limit, costs.len(), columns, |row, column| costs[row][column]).assign();
            let mut taken = vec![false; columns];
            let mut sum = 0.0;
            for (row, column) in matches.iter().enumerate() {
                if let Some(column) = column {
                    prop_assert!(!std::mem::replace(&mut taken[*column], true), "column {column} is matched twice");
                    prop_assert!(costs[row][*column] < limit);
                    sum += costs[row][*column] - limit;
                }
            }
            let best = brute(&costs, limit, 0, &mut vec![false; columns]);
            prop_assert!((sum - best).abs() < 1e-9, "found {sum}, possible {best}");
        }
    }

    #[test]
    fn nothing_to_match_is_no_match() {
        assert_eq!(Pairs::below(0.8, 0, 3, |_, _| 0.0).assign(), []);
        assert_eq!(Pairs::below(0.8, 2, 0, |_, _| 0.0).assign(), [None, None]);
        assert_eq!(Pairs::below(0.8, 1, 1, |_, _| f64::NAN).assign(), [None]);
    }

    #[test]
    fn two_fair_matches_beat_one_good_one() {
        // Greedy takes 0.1 and leaves row 1 alone; together 0.3 + 0.4 - 2 * 0.8 is less than 0.1 - 0.8.
        let costs = [[0.1, 0.3], [0.4, 0.9]];
        let matches = Pairs::below(0.8, 2, 2, |row, column| costs[row][column]).assign();
        assert_eq!(matches, [Some(1), Some(0)]);
    }
}
