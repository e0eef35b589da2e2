"""Times the same network in PyTorch, fp16 on a GPU: CUDA graph and torch.compile. Prints rows of gpu-bench's table."""

import pathlib
import sys
import time

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "models"))
from network import Exported, Yolo11n  # noqa: E402

BATCHES = (1, 8, 16, 32)


def row(what, batch, run):
    for _ in range(20):
        run()
    torch.cuda.synchronize()
    times, begun = [], time.perf_counter()
    while time.perf_counter() - begun < 1.5 or len(times) < 50:
        at = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - at)
    times.sort()
    mean = sum(times) / len(times)
    middle, worst = times[len(times) // 2], times[int((len(times) - 1) * 0.99)]
    print(f"| {what} | {batch} | {middle * 1e3:.3f} | {worst * 1e3:.3f} | {batch / mean:.0f} |", flush=True)


@torch.inference_mode()
def main():
    if not torch.cuda.is_available():
        print("no CUDA device")
        return
    network = Exported(Yolo11n(80).eval().fuse(), 640, 640).eval().cuda().half()
    for batch in BATCHES:
        images = torch.rand(batch, 3, 640, 640, device="cuda", dtype=torch.half)
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                network(images)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            network(images)
        row("PyTorch, CUDA graph: network alone", batch, graph.replay)
    network = network.to(memory_format=torch.channels_last)
    for batch in BATCHES:
        images = torch.rand(batch, 3, 640, 640, device="cuda", dtype=torch.half).to(memory_format=torch.channels_last)
        torch._dynamo.reset()
        compiled = torch.compile(network, mode="reduce-overhead")
        row("PyTorch, torch.compile: network alone", batch, lambda: compiled(images))


main()
