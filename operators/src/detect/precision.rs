//! Whether a model can be computed in the numbers that a graph asks for.

use std::path::Path;

use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::infer::{Precision, is_quantised};

use super::params::ModelParams;

/// Refuses what no machine can do.
///
/// # Errors
/// When bytes are asked for and nothing says which of them mean what, or two things do.
pub(super) fn check(model: &Path, params: &ModelParams) -> Result<()> {
    let table = params.calibration.as_deref();
    if let Some(table) = table.filter(|table| !table.is_file()) {
        let cause = format!("the calibration table `{}` is no file", table.display());
        return Err(cause.into());
    }
    // Only this asks for a look into the model.
    let is_quantised = params.precision == Precision::Int8 && is_quantised(model)?;
    fits(params.precision, is_quantised, table.is_some())
}

fn fits(precision: Precision, is_quantised: bool, has_table: bool) -> Result<()> {
    match (precision, is_quantised, has_table) {
        (Precision::Int8, false, false) => Err(OperatorError::new(
            "`precision=int8` needs a model that is quantised itself, or a calibration table",
        )
        .help(
            "export the model with QuantizeLinear and DequantizeLinear nodes, as ONNX Runtime's `quantize_static` does \
             with QuantFormat.QDQ, or write `calibration=` with the table that `flowrun model calibrate` makes",
        )),
        (Precision::Int8, true, true) => Err(OperatorError::new(
            "the model is quantised itself, and TensorRT takes no calibration table beside that",
        )
        .help("take `calibration` out")),
        (Precision::Fp32 | Precision::Fp16, _, true) => {
            let cause = format!("`calibration` is for `precision=int8`, not for {}", precision.word());
            Err(OperatorError::new(cause).help("write `precision=int8`, or take `calibration` out"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_need_somebody_who_says_what_they_mean() {
        let cause = |precision, is_quantised, has_table| {
            let refused = fits(precision, is_quantised, has_table);
            refused
                .err()
                .map(|error| (error.cause, error.remedy.expect("a remedy")))
        };
        for (is_quantised, has_table) in [(true, false), (false, true)] {
            assert_eq!(cause(Precision::Int8, is_quantised, has_table), None);
        }
        let (neither, remedy) = cause(Precision::Int8, false, false).unwrap();
        assert!(neither.contains("quantised itself, or a calibration table") && remedy.contains("quantize_static"));
        assert!(
            cause(Precision::Int8, true, true)
                .unwrap()
                .0
                .contains("no calibration table beside")
        );
        for precision in [Precision::Fp32, Precision::Fp16] {
            assert_eq!(
                cause(precision, true, false),
                None,
                "a quantised model may be computed otherwise"
            );
            assert!(cause(precision, false, true).unwrap().0.contains(precision.word()));
        }
    }
}
