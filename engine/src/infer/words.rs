//! What ONNX Runtime says of a failure, without what only its makers can use: where in its source that was, in which
//! instance of which template, and on what host.

/// Begins a place in ONNX Runtime's source, as its published builds have it.
const SOURCE: &str = "/onnxruntime_src/";
/// Ahead of a message that was passed on, with a code and its name.
const STATUS: &str = "[ONNXRuntimeError] : ";
/// Begins what a failed call of CUDA's libraries says of itself.
const CALL: &str = " ; GPU=";

/// The words of it that say what went wrong; all of it where it is none of the known forms.
pub(super) fn plain(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, after)) = next(rest) {
        words.push_str(&rest[..at]);
        rest = after;
    }
    words.push_str(rest);
    words.trim_end().to_owned()
}

/// Where the next thing to leave out begins, and what follows it.
fn next(text: &str) -> Option<(usize, &str)> {
    let place = place(text);
    let status = text.find(STATUS).and_then(|at| {
        let (_, after) = text[at + STATUS.len()..].split_once(" : ")?;
        let (_, after) = after.split_once(" : ")?;
        Some((at, after))
    });
    let call = text.find(CALL).map(|at| {
        let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
        (at, &text[end..])
    });
    [place, status, call].into_iter().flatten().min_by_key(|(at, _)| *at)
}

/// `/onnxruntime_src/FILE:LINE FUNCTION(PARAMETERS) [with TEMPLATE] `, as far as it is whole.
fn place(text: &str) -> Option<(usize, &str)> {
    let at = text.find(SOURCE)?;
    let (file, function) = text[at..].split_once(' ')?;
    let (_, line) = file.rsplit_once(':')?;
    line.parse::<u32>().ok()?;
    let mut open = 0;
    let end = function.char_indices().find(|(_, letter)| {
        match letter {
            '(' => open += 1,
            ')' => open -= 1,
            _ => return false,
        }
        open <= 0
    });
    let after = &function[end?.0 + 1..];
    let after = after.strip_prefix(" const").unwrap_or(after);
    let after = match after.strip_prefix(" [with ") {
        Some(template) => template.split_once(']')?.1,
        None => after,
    };
    Some((at, after.strip_prefix(' ')?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of ONNX Runtime 1.31.1, with a card that was full.
    const FULL: &str = "Exception during initialization: /onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:154 \
        std::conditional_t<THRW, void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const char*, \
        SUCCTYPE, const char*, const char*, int) [with ERRTYPE = cublasStatus_t; bool THRW = true; SUCCTYPE = cublasStatus_t; \
        std::conditional_t<THRW, void, common::Status> = void] /onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:146 \
        std::conditional_t<THRW, void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const char*, \
        SUCCTYPE, const char*, const char*, int) [with ERRTYPE = cublasStatus_t; bool THRW = true; SUCCTYPE = cublasStatus_t; \
        std::conditional_t<THRW, void, common::Status> = void] CUBLAS failure 3: the resource allocation failed ; GPU=0 ; \
        hostname=gate ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider.cc ; line=245 ; \
        expr=cublasCreate(&cublas_handle_); \n\n";
    /// Of the same, with another library under the name of cuDNN's.
    const WRONG: &str = "Non-zero status code returned while running Conv node. Name:'model.0.conv' Status Message: \
        /onnxruntime_src/onnxruntime/core/providers/cuda/cuda_kernel.h:296 static cudnnContext* \
        onnxruntime::cuda::CudaKernel::RequireCudnnHandle(cudnnHandle_t) [ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : cuDNN is \
        unavailable or disabled for CUDA Execution Provider: dlsym failed for cudnnCreate\n";

    #[test]
    fn what_went_wrong_is_left() {
        let full = "Exception during initialization: CUBLAS failure 3: the resource allocation failed";
        assert_eq!(plain(FULL), full);
        assert!(crate::device::is_out_of_memory(full));
        assert_eq!(
            plain(WRONG),
            "Non-zero status code returned while running Conv node. Name:'model.0.conv' Status Message: cuDNN is unavailable \
             or disabled for CUDA Execution Provider: dlsym failed for cudnnCreate"
        );
    }

    #[test]
    fn other_words_stay_as_they_are() {
        for text in [
            "",
            "Load model from m.onnx failed: no such file",
            "/onnxruntime_src/core/a.cc is not there",
            "/onnxruntime_src/core/a.cc:12 Status f(int, Protobuf",
            "[ONNXRuntimeError] : 9",
        ] {
            assert_eq!(plain(text), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken(
            pieces in prop::collection::vec(
                prop::sample::select(vec![SOURCE, STATUS, CALL, "a.cc:1", " ", "(", ")", "]", " [with ", " const", " : ", "\n", "é"]),
                0..24,
            ),
        ) {
            let text = pieces.concat();
            let words = plain(&text);
            prop_assert!(words.len() <= text.len());
        }
    }
}
