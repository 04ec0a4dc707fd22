//! The figures of a run as a table.

use std::fmt;

use crate::scenario::Scenario;

/// The rounds of one scenario: for each round a value for each proxy, in the proxies' order.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub scenario: Scenario,
    /// Values by round and proxy, in the scenario's unit.
    pub rounds: Vec<Vec<f64>>,
}

/// The figures of a run. [`fmt::Display`] is a table with a line for each scenario: the median of
/// each proxy, and each proxy's ratio to the last one, with the least and greatest of the rounds.
#[derive(Clone, Debug)]
pub struct Report {
    /// The proxies' names, in the order in which they were run.
    pub proxies: Vec<String>,
    /// The scenarios, in the order in which they were run.
    pub rows: Vec<Row>,
}

/// The ratio of two proxies in one scenario.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Median over the rounds.
    pub median: f64,
    /// The least of a round.
    pub least: f64,
    /// The greatest of a round.
    pub greatest: f64,
}

impl Row {
    /// The median over the rounds of the proxy with this index; `None` without rounds.
    pub fn median(&self, proxy: usize) -> Option<f64> {
        median(self.rounds.iter().filter_map(|round| round.get(proxy).copied()).collect())
    }

    /// One proxy's values over another's. Each ratio is taken within a round, where both had the
    /// same machine, and the median then over the rounds; rounds in which the other's value is not
    /// above zero have none.
    pub fn ratio(&self, proxy: usize, base: usize) -> Option<Ratio> {
        let of_round = |round: &Vec<f64>| {
            let base = *round.get(base).filter(|base| **base > 0.0)?;
            Some(round.get(proxy)? / base)
        };
        let ratios: Vec<f64> = self.rounds.iter().filter_map(of_round).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Ratio { median: median(ratios)?, least, greatest })
    }
}

/// The mean of the two in the middle where the number is even.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

impl Report {
    fn header(&self) -> Vec<String> {
        let mut cells = vec!["scenario".to_owned(), "unit".to_owned()];
        cells.extend(self.proxies.iter().cloned());
        if let Some((base, others)) = self.proxies.split_last() {
            cells.extend(others.iter().map(|other| format!("{other}/{base}")));
        }
        cells
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let mut cells = vec![row.scenario.name().to_owned(), row.scenario.unit().to_owned()];
        let none = || "-".to_owned();
        cells.extend((0..self.proxies.len()).map(|proxy| row.median(proxy).map_or_else(none, |it| format!("{it:.1}"))));
        let base = self.proxies.len().saturating_sub(1);
        cells.extend((0..base).map(|proxy| row.ratio(proxy, base).map_or_else(none, |ratio| ratio.to_string())));
        cells
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}..{:.2})", self.median, self.least, self.greatest)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![self.header()];
        lines.extend(self.rows.iter().map(|row| self.cells(row)));
        let columns = lines.first().map_or(0, Vec::len);
        let width = |column: usize| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for line in &lines {
            let padded = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            writeln!(f, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row(rounds: &[[f64; 2]]) -> Row {
        Row { scenario: Scenario::Bulk { bytes: 1 }, rounds: rounds.iter().map(|round| round.to_vec()).collect() }
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0]), Some(5.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        // The machine is slower from round to round; the ratio of the medians would be 20/40 too,
        // but its spread would not be told.
        let row = row(&[[10.0, 20.0], [20.0, 40.0], [100.0, 400.0]]);
        assert_eq!(row.ratio(0, 1), Some(Ratio { median: 0.5, least: 0.25, greatest: 0.5 }));
        assert_eq!(row.ratio(1, 1).unwrap().median, 1.0);
        assert_eq!(row.median(1), Some(40.0));
        // Here the ratio of the medians would be 1.
        let row = self::row(&[[1.0, 3.0], [2.0, 2.0], [3.0, 9.0]]);
        assert!((row.ratio(0, 1).unwrap().median - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn no_ratio_to_nothing() {
        assert_eq!(row(&[[1.0, 0.0], [1.0, -2.0]]).ratio(0, 1), None);
        assert_eq!(row(&[]).ratio(0, 1), None);
        assert_eq!(row(&[[1.0, 2.0]]).ratio(0, 5), None);
    }

    #[test]
    fn the_table() {
        let report = Report { proxies: vec!["a".to_owned(), "b".to_owned()], rows: vec![row(&[[1.0, 2.0]]), row(&[])] };
        let text = report.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "scenario  unit        a    b    a/b",
                "bulk      CPU ms/GiB  1.0  2.0  0.50 (0.50..0.50)",
                "bulk      CPU ms/GiB  -    -    -"
            ]
        );
    }
}
