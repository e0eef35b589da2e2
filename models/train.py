"""Trains the demo detector on pictures that `flowrun synth` draws. See README.md here for the whole recipe."""

import argparse
import copy
import csv
import math
import pathlib
import time

import torch

from data import Pictures, vary
from loss import loss
from network import Exported, Yolo11n, anchors
from precision import measure

NAMES = ("person", "bicycle", "car", "motorcycle", "bus", "truck")


def mixed(device):
    """Computes in bfloat16 where that serves. Casts are not kept from call to call: a recorded graph holds its own."""
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def recorded(network, batch, height, width, device):
    """The network with its kernels recorded once each way: to start some thousand small ones takes longer than they do."""
    example = torch.rand(batch, 3, height, width, device=device).contiguous(memory_format=torch.channels_last)
    with mixed(device):
        return torch.cuda.make_graphed_callables(network, (example,))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", required=True, help="folders of flowrun synth; the first is validated on")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=416)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--warm-up", type=int, default=500, help="steps over which the rate rises")
    parser.add_argument("--settled", type=float, default=0.2,
                        help="share of the steps, the last, that see pictures only where `detect` will place them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=2_000, help="steps from one validation to the next")
    parser.add_argument("--start", type=pathlib.Path, help="weights to go on from")
    parser.add_argument("--most", type=int, help="pictures of a folder at most, to try things out")
    parser.add_argument("--seconds", type=float, help="choose the steps so that training takes this long")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(args.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    generator = torch.Generator(device).manual_seed(args.seed)
    began = time.time()
    folders = [Pictures(folder, "train", device, args.most) for folder in args.data]
    held_out = Pictures(args.data[0], "val", device, args.most or 1500)
    shares = torch.tensor([float(len(folder)) for folder in folders])
    print(f"{[len(folder) for folder in folders]} pictures read in {time.time() - began:.0f} s", flush=True)

    network = Yolo11n(len(NAMES)).to(device, memory_format=torch.channels_last)
    if args.start:
        saved = torch.load(args.start, map_location=device)
        network.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in saved.items()})
    average = copy.deepcopy(network).requires_grad_(False).eval()
    plain = [p for p in network.parameters() if p.ndim < 2]
    weighty = [p for p in network.parameters() if p.ndim >= 2]
    optimiser = torch.optim.AdamW(
        [{"params": weighty, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}],
        lr=args.rate, betas=(0.9, 0.999), fused=device.type == "cuda",
    )
    points, strides = anchors(args.height, args.width, device)
    state = [value for value in network.state_dict().values()]
    kept = [value for value in average.state_dict().values()]
    floats = [index for index, value in enumerate(state) if value.is_floating_point()]
    total, parts, last = torch.zeros((), device=device), torch.zeros(3, device=device), began
    if device.type == "cuda":
        network = recorded(network, args.batch, args.height, args.width, device)

    with open(args.out / "training.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["step", "pictures", "rate", "box", "class", "side", "map50", *NAMES])
        step, told, steady = 0, 0, began
        while step < args.steps:
            step += 1
            if args.seconds and step == args.warm_up // 2:
                steady = time.time()
            if args.seconds and step == args.warm_up:
                left = 0.95 * args.seconds - (time.time() - began)
                args.steps = args.warm_up + int(left / (time.time() - steady) * (args.warm_up - args.warm_up // 2))
                print(f"{args.steps} steps", flush=True)
            part = max(0.0, (step - args.warm_up) / max(1, args.steps - args.warm_up))
            rate = args.rate * min(1.0, step / args.warm_up) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))
            for group in optimiser.param_groups:
                group["lr"] = rate
            share = 0.5 if step < (1 - args.settled) * args.steps else 0.0
            source = folders[int(torch.multinomial(shares, 1))]
            images, boxes, names, real = vary(source, args.batch, args.height, args.width, share, generator)
            images = images.contiguous(memory_format=torch.channels_last)
            with mixed(device):
                answer = network(images)
            total, each = loss(answer, points, strides, boxes, names, real)
            optimiser.zero_grad(set_to_none=True)
            total.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0, foreach=True)
            optimiser.step()
            parts += each
            keep = 0.9998 * (1 - math.exp(-step / 2000))
            torch._foreach_lerp_([kept[i] for i in floats], [state[i] for i in floats], 1 - keep)
            if step % args.every == 0 or step in (2 * args.warm_up, args.steps):
                torch.save({name: value.half() if value.is_floating_point() else value
                            for name, value in average.state_dict().items()}, args.out / "weights.pt")
                exported = Exported(average, args.height, args.width).to(device).eval()
                found = measure(exported, held_out, args.height, args.width, len(NAMES))
                mean = sum(value for value in found if value == value) / sum(value == value for value in found)
                count = step - told
                table.writerow([step, step * args.batch, f"{rate:.2e}", *(f"{v:.4f}" for v in (parts / count).tolist()),
                                f"{mean:.4f}", *(f"{v:.4f}" for v in found)])
                file.flush()
                now = time.time()
                print(f"step {step} {count / (now - last):.1f} steps/s, losses {(parts / count).tolist()}, "
                      f"mAP50 {mean:.4f} {[round(v, 3) for v in found]}, {now - began:.0f} s", flush=True)
                last, told = now, step
                parts.zero_()


if __name__ == "__main__":
    main()
