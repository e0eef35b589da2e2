"""Writes trained weights as an ONNX file that `detect` runs, with the metadata that Ultralytics' exports carry.

Weights are stored as fp16 and cast to fp32 in the graph: runtimes fold the casts away when they load the file, so it
has half the size and computes as fast as one of fp32. (A graph that computes in fp16 is slower on processors.)
"""

import argparse
import pathlib

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from network import Exported, Yolo11n
from train import NAMES


def halve(model):
    """Stores large fp32 constants as fp16 behind a cast."""
    graph = model.graph
    casts, kept = [], []
    for constant in graph.initializer:
        values = numpy_helper.to_array(constant)
        if constant.data_type != TensorProto.FLOAT or values.size < 16 or not np.isfinite(values.astype(np.float16)).all():
            kept.append(constant)
            continue
        stored = f"{constant.name}.half"
        kept.append(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [constant.name], to=TensorProto.FLOAT))
    del graph.initializer[:]
    graph.initializer.extend(kept)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(casts + nodes)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=416)
    parser.add_argument("--whole", action="store_true", help="store fp32, to compare with")
    args = parser.parse_args()
    network = Yolo11n(len(NAMES))
    saved = torch.load(args.weights, map_location="cpu")
    network.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in saved.items()})
    exported = Exported(network.eval().fuse(), args.height, args.width).eval()
    torch.onnx.export(
        exported, torch.zeros(1, 3, args.height, args.width), str(args.out), opset_version=17, dynamo=False,
        input_names=["images"], output_names=["output0"],
        dynamic_axes={"images": {0: "batch"}, "output0": {0: "batch"}},
    )
    model = onnx.load(str(args.out))
    if not args.whole:
        halve(model)
    del model.metadata_props[:]
    helper.set_model_props(model, {
        "description": "YOLO11n trained on flowrun's synthetic junction",
        "author": "the flowrun authors",
        "license": "MIT OR Apache-2.0",
        "task": "detect",
        "stride": "32",
        "batch": "1",
        "imgsz": str([args.height, args.width]),
        "names": str(dict(enumerate(NAMES))),
    })
    onnx.checker.check_model(model)
    onnx.save(model, str(args.out))


if __name__ == "__main__":
    main()
