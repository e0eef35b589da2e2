"""Pictures and labels as `flowrun synth` writes them, held on the device and varied there.

A batch is sampled from the whole pictures by one bilinear look-up, which is also how `detect` fits a picture into the
network's input (half-pixel middles, two taps each way, no smoothing), so that training sees what inference will.
"""

import pathlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from torch.nn import functional as F

GREY = 114 / 255


def read(path):
    """One picture as OpenCV has it, and its boxes: class, left, top, right, bottom in its pixels."""
    image = cv2.imread(str(path))
    height, width = image.shape[:2]
    label = pathlib.Path(str(path).replace("/images/", "/labels/")).with_suffix(".txt")
    rows = np.array([line.split() for line in label.read_text().splitlines()], dtype=np.float32).reshape(-1, 5)
    middle, half = rows[:, 1:3] * (width, height), rows[:, 3:5] * (width, height) / 2
    return torch.from_numpy(image), np.concatenate((rows[:, :1], middle - half, middle + half), 1)


class Pictures:
    """One folder's pictures, all of one size."""

    def __init__(self, folder, split, device, most=None):
        paths = sorted(pathlib.Path(folder, "images", split).glob("*.jpg"))[:most]
        self.images, found = None, []
        # OpenCV lets other threads work while it decodes.
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(paths), 512):
                images, rows = zip(*pool.map(read, paths[start : start + 512]))
                images = torch.stack(images).to(device).flip(3).permute(0, 3, 1, 2)
                if self.images is None:
                    self.images = torch.empty((len(paths), *images.shape[1:]), dtype=torch.uint8, device=device)
                self.images[start : start + len(images)] = images
                found.extend(rows)
        room = max(len(rows) for rows in found)
        boxes, names = np.zeros((len(found), room, 4), np.float32), np.zeros((len(found), room), np.int64)
        real = np.zeros((len(found), room), bool)
        for index, rows in enumerate(found):
            boxes[index, : len(rows)], names[index, : len(rows)] = rows[:, 1:], rows[:, 0]
            real[index, : len(rows)] = True
        self.boxes, self.names, self.real = (torch.from_numpy(part).to(device) for part in (boxes, names, real))

    def __len__(self):
        return len(self.images)

    def letterbox(self, height, width):
        """Scale, left and top of these pictures in an input of that size, as `detect` places them."""
        own_height, own_width = self.images.shape[2:]
        gain = min(height / own_height, width / own_width)
        inner = round(own_width * gain), round(own_height * gain)
        left, top = (max(0, round((room - length) / 2 - 0.1)) for room, length in zip((width, height), inner))
        return inner[0] / own_width, inner[1] / own_height, left, top

    def batch(self, index, height, width, place=None, flip=None):
        """Pictures [B, 3, H, W] in 0..1 and their boxes; `place` is scale and shift for each, [B, 4]."""
        images = self.images[index].float() / 255
        boxes, names, real = self.boxes[index].clone(), self.names[index], self.real[index]
        own_height, own_width = images.shape[2:]
        if place is None:
            place = torch.tensor(self.letterbox(height, width), device=images.device).expand(len(index), 4)
        scale, shift = place[:, :2], place[:, 2:]
        if flip is not None:
            images = torch.where(flip[:, None, None, None], images.flip(3), images)
            mirrored = torch.stack((own_width - boxes[..., 2], boxes[..., 1], own_width - boxes[..., 0], boxes[..., 3]), -1)
            boxes = torch.where(flip[:, None, None], mirrored, boxes)
        x = (torch.arange(width, device=images.device) + 0.5 - shift[:, :1]) / scale[:, :1]
        y = (torch.arange(height, device=images.device) + 0.5 - shift[:, 1:]) / scale[:, 1:]
        grid = torch.stack((
            (2 * x / own_width - 1)[:, None, :].expand(-1, height, -1),
            (2 * y / own_height - 1)[:, :, None].expand(-1, -1, width),
        ), -1)
        sampled = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
        on = ((x >= 0) & (x <= own_width))[:, None, None, :] & ((y >= 0) & (y <= own_height))[:, None, :, None]
        sampled = torch.where(on, sampled, torch.full_like(sampled, GREY))
        moved = boxes * scale.repeat(1, 2)[:, None] + shift.repeat(1, 2)[:, None]
        # What is left of a thing at the picture's edge is learnt where it is enough to tell what it is.
        low = shift.clamp(min=0)
        high = torch.minimum(shift + scale * scale.new_tensor([own_width, own_height]), scale.new_tensor([width, height]))
        clipped = torch.maximum(torch.minimum(moved, high.repeat(1, 2)[:, None]), low.repeat(1, 2)[:, None])
        area = lambda box: (box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1])
        real = real & (area(clipped) >= 0.4 * area(moved)) & (area(clipped) >= 1.0)
        return sampled, clipped, names, real


def vary(pictures, count, height, width, share, generator):
    """A random batch: `share` of the pictures are moved, as many mirrored; light, colour and noise vary in all."""
    device = pictures.images.device
    random = lambda *shape: torch.rand(*shape, device=device, generator=generator)
    index = torch.randint(len(pictures), (count,), device=device, generator=generator)
    usual = torch.tensor(pictures.letterbox(height, width), device=device).expand(count, 4)
    zoom = torch.exp((random(count, 1) - 0.4) * 0.9)
    scale = usual[:, :2] * zoom
    own = scale.new_tensor([pictures.images.shape[3], pictures.images.shape[2]])
    spare = scale.new_tensor([width, height]) - own * scale
    shift = spare * random(count, 2)
    moves = random(count, 1) < share
    place = torch.where(moves, torch.cat((scale, shift), 1), usual)
    images, boxes, names, real = pictures.batch(index, height, width, place, random(count) < share)
    each = lambda spread: 1 + spread * (2 * random(count, 1, 1, 1) - 1)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * each(0.4)
    middle = images.mean((1, 2, 3), keepdim=True)
    images = middle + (images - middle) * each(0.25)
    images = images * each(0.25)
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    images = torch.where(random(count, 1, 1, 1) < 0.1, images + (blurred - images) * random(count, 1, 1, 1), images)
    noise = torch.randn(images.shape, device=device, generator=generator) * 0.02 * random(count, 1, 1, 1)
    return (images + noise).clamp(0, 1), boxes, names, real
