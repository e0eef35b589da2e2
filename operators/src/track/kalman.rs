//! The motion model of SORT, DeepSORT and ByteTrack: constant velocity in centre, aspect ratio and height.
//!
//! Wojke et al., "Simple online and realtime tracking with a deep association metric" (2017), §2.1: the state is
//! (cx, cy, a, h) with their rates, a = width / height, one step a frame. All noise is independent from axis to axis,
//! a rate drives its own axis only and each axis is measured directly, so the 8x8 covariance falls apart into four 2x2
//! blocks and the innovation's Cholesky factor into four square roots. This is therefore the same filter as the matrix
//! form (a test holds it to one) at a twentieth of the arithmetic.

use serde::{Deserialize, Serialize};

/// Standard deviation of a position, as a part of the box's height.
const POSITION: f64 = 1.0 / 20.0;
/// Standard deviation of a rate per frame, as a part of the box's height.
const RATE: f64 = 1.0 / 160.0;

/// Centre across and down in pixels, width / height, height in pixels.
pub type Measurement = [f64; 4];

/// Place of the aspect ratio in a [`Measurement`].
const ASPECT: usize = 2;
/// Place of the height in a [`Measurement`].
const HEIGHT: usize = 3;

/// One measured quantity, its rate per frame, and how sure we are of both.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Axis {
    value: f64,
    rate: f64,
    value_variance: f64,
    covariance: f64,
    rate_variance: f64,
}

/// The filter of one track.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Motion {
    axes: [Axis; 4],
}

/// Standard deviations that scale with the height, except those of the aspect ratio, which has no unit.
fn deviations(height: f64, part: f64, aspect: f64) -> [f64; 4] {
    let scaled = part * height;
    [scaled, scaled, aspect, scaled]
}

impl Motion {
    /// A thing first seen here, at rest as far as we know.
    pub fn begin(seen: Measurement) -> Self {
        let values = deviations(seen[HEIGHT], 2.0 * POSITION, 1e-2);
        let rates = deviations(seen[HEIGHT], 10.0 * RATE, 1e-5);
        Motion {
            axes: std::array::from_fn(|axis| Axis {
                value: seen[axis],
                rate: 0.0,
                value_variance: values[axis].powi(2),
                covariance: 0.0,
                rate_variance: rates[axis].powi(2),
            }),
        }
    }

    /// Goes on by one frame.
    pub fn predict(&mut self) {
        let height = self.axes[HEIGHT].value;
        let (values, rates) = (deviations(height, POSITION, 1e-2), deviations(height, RATE, 1e-5));
        for (index, axis) in self.axes.iter_mut().enumerate() {
            axis.value += axis.rate;
            axis.value_variance += 2.0 * axis.covariance + axis.rate_variance + values[index].powi(2);
            axis.covariance += axis.rate_variance;
            axis.rate_variance += rates[index].powi(2);
        }
    }

    /// Takes what was seen in this frame.
    pub fn correct(&mut self, seen: Measurement) {
        let noise = deviations(self.axes[HEIGHT].value, POSITION, 1e-1);
        for (index, axis) in self.axes.iter_mut().enumerate() {
            let variance = axis.value_variance + noise[index].powi(2);
            // Only a box without height leaves no uncertainty at all: then the measurement is all there is.
            let (gain, rate_gain) = if variance > 0.0 {
                (axis.value_variance / variance, axis.covariance / variance)
            } else {
                (1.0, 0.0)
            };
            let surprise = seen[index] - axis.value;
            axis.value += gain * surprise;
            axis.rate += rate_gain * surprise;
            axis.rate_variance -= rate_gain * axis.covariance;
            axis.covariance -= gain * axis.covariance;
            axis.value_variance -= gain * axis.value_variance;
        }
    }

    /// Forgets how fast it grows: nothing was seen to hold that against, and a lost box would swell or turn inside out.
    pub fn stop_growing(&mut self) {
        self.axes[HEIGHT].rate = 0.0;
    }

    /// Where it is held to be.
    pub fn measurement(&self) -> Measurement {
        self.axes.map(|axis| axis.value)
    }

    /// Left, top, right, bottom in pixels.
    pub fn corners(&self) -> [f64; 4] {
        let [x, y, aspect, height] = self.measurement();
        let (half_width, half_height) = (0.5 * aspect * height, 0.5 * height);
        [x - half_width, y - half_height, x + half_width, y + half_height]
    }

    /// Whether the arithmetic has not overflowed, and the box can be told in f32.
    pub fn is_finite(&self) -> bool {
        let told = self.corners().iter().all(|number| (*number as f32).is_finite());
        told && self
            .axes
            .iter()
            .all(|axis| axis.value_variance.is_finite() && axis.rate_variance.is_finite())
    }
}

/// The measurement of a box; none for one without an inside.
pub fn measure([x1, y1, x2, y2]: [f64; 4]) -> Option<Measurement> {
    let (width, height) = (x2 - x1, y2 - y1);
    (width > 0.0 && height > 0.0).then(|| {
        let mut seen = [0.5 * (x1 + x2), 0.5 * (y1 + y2), 0.0, height];
        seen[ASPECT] = width / height;
        seen
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The filter as the papers write it: 8x8 matrices and a Cholesky factorisation.
    struct Matrices {
        mean: [f64; 8],
        covariance: [[f64; 8]; 8],
    }

    impl Matrices {
        fn begin(seen: Measurement) -> Self {
            let mut covariance = [[0.0; 8]; 8];
            let h = seen[3];
            let deviations = [h / 10.0, h / 10.0, 1e-2, h / 10.0, h / 16.0, h / 16.0, 1e-5, h / 16.0];
            for (axis, deviation) in deviations.iter().enumerate() {
                covariance[axis][axis] = deviation * deviation;
            }
            let mut mean = [0.0; 8];
            mean[..4].copy_from_slice(&seen);
            Matrices { mean, covariance }
        }

        fn predict(&mut self) {
            let h = self.mean[3];
            let noise = [
                h / 20.0,
                h / 20.0,
                1e-2,
                h / 20.0,
                h / 160.0,
                h / 160.0,
                1e-5,
                h / 160.0,
            ];
            let transition = |row: usize, column: usize| f64::from(row == column || row + 4 == column);
            let (mean, before) = (self.mean, self.covariance);
            self.mean = std::array::from_fn(|row| (0..8).map(|k| transition(row, k) * mean[k]).sum());
            let spread = |row: usize, column: usize| -> f64 {
                let along = |k: usize| (0..8).map(|l| before[k][l] * transition(column, l)).sum::<f64>();
                (0..8).map(|k| transition(row, k) * along(k)).sum()
            };
            self.covariance = std::array::from_fn(|row| {
                std::array::from_fn(|column| spread(row, column) + f64::from(row == column) * noise[row].powi(2))
            });
        }

        fn correct(&mut self, seen: Measurement) {
            let h = self.mean[3];
            let noise = [h / 20.0, h / 20.0, 1e-1, h / 20.0];
            let projected: [[f64; 4]; 4] = std::array::from_fn(|row| {
                std::array::from_fn(|column| {
                    self.covariance[row][column] + f64::from(row == column) * noise[row].powi(2)
                })
            });
            let mut factor = [[0.0_f64; 4]; 4];
            for row in 0..4 {
                for column in 0..=row {
                    let known: f64 = (0..column).map(|k| factor[row][k] * factor[column][k]).sum();
                    let rest = projected[row][column] - known;
                    factor[row][column] = if row == column {
                        rest.sqrt()
                    } else {
                        rest / factor[column][column]
                    };
                }
            }
            // Each row of the gain solves projected * gain = covariance.
            let mut gain = [[0.0; 4]; 8];
            for (row, line) in gain.iter_mut().enumerate() {
                let mut half = [0.0; 4];
                for i in 0..4 {
                    let known: f64 = (0..i).map(|k| factor[i][k] * half[k]).sum();
                    half[i] = (self.covariance[row][i] - known) / factor[i][i];
                }
                for i in (0..4).rev() {
                    let known: f64 = (i + 1..4).map(|k| factor[k][i] * line[k]).sum();
                    line[i] = (half[i] - known) / factor[i][i];
                }
            }
            let surprise: [f64; 4] = std::array::from_fn(|axis| seen[axis] - self.mean[axis]);
            for row in 0..8 {
                self.mean[row] += (0..4).map(|k| gain[row][k] * surprise[k]).sum::<f64>();
                for column in 0..8 {
                    let mut taken = 0.0;
                    for k in 0..4 {
                        for l in 0..4 {
                            taken += gain[row][k] * projected[k][l] * gain[column][l];
                        }
                    }
                    self.covariance[row][column] -= taken;
                }
            }
        }
    }

    proptest! {
        #[test]
        fn four_small_filters_are_the_matrix_filter(
            first in (0.0..2000.0, 0.0..1000.0, 0.2..4.0, 5.0..500.0),
            steps in prop::collection::vec(prop::option::of((-9.0..9.0_f64, -9.0..9.0_f64, -0.1..0.1_f64, -4.0..4.0_f64)), 1..40),
        ) {
            let mut seen: Measurement = [first.0, first.1, first.2, first.3];
            let (mut small, mut matrices) = (Motion::begin(seen), Matrices::begin(seen));
            for step in steps {
                small.predict();
                matrices.predict();
                if let Some((x, y, a, h)) = step {
                    seen = [seen[0] + x, seen[1] + y, (seen[2] + a).max(0.1), (seen[3] + h).max(3.0)];
                    small.correct(seen);
                    matrices.correct(seen);
                }
                for (axis, value) in small.measurement().iter().enumerate() {
                    prop_assert!((value - matrices.mean[axis]).abs() < 1e-6 * value.abs().max(1.0));
                }
                for (axis, part) in small.axes.iter().enumerate() {
                    let (rate, variance) = (matrices.mean[axis + 4], matrices.covariance[axis][axis]);
                    prop_assert!((part.rate - rate).abs() < 1e-6 * rate.abs().max(1.0));
                    prop_assert!((part.value_variance - variance).abs() < 1e-6 * variance.max(1e-3));
                }
            }
        }
    }

    #[test]
    fn a_box_without_inside_has_no_measurement() {
        assert_eq!(measure([0.0, 0.0, 0.0, 5.0]), None);
        assert_eq!(measure([5.0, 0.0, 0.0, 5.0]), None);
        assert_eq!(measure([0.0, 0.0, 10.0, 5.0]), Some([5.0, 2.5, 2.0, 5.0]));
    }
}
