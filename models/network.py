"""YOLO11's network in PyTorch, written from its published block structure.

Jocher and Qiu, "Ultralytics YOLO11" (2024), names the blocks: C3k2 (a CSP stage whose branches are all kept), SPPF
(pooling at several reaches), C2PSA (self-attention over the smallest map) and a head that tells boxes and classes
apart, with box sides as distributions (Li et al., "Generalized Focal Loss", NeurIPS 2020). This is the size `n`:
2.6 million weights.
"""

import torch
from torch import nn
from torch.nn import functional as F

# Of each side of a box the head tells a distribution over 0..15 cells.
BINS = 16
STRIDES = (8, 16, 32)


class Conv(nn.Module):
    """Convolution, normalisation, SiLU."""

    def __init__(self, inputs, outputs, kernel=1, stride=1, groups=1, active=True):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)
        self.active = active

    def forward(self, x):
        x = self.norm(self.conv(x))
        return F.silu(x) if self.active else x

    def fuse(self):
        """Puts the normalisation's factors into the weights; for inference only."""
        if isinstance(self.norm, nn.Identity):
            return
        factor = self.norm.weight / torch.sqrt(self.norm.running_var + self.norm.eps)
        fused = nn.Conv2d(
            self.conv.in_channels, self.conv.out_channels, self.conv.kernel_size, self.conv.stride,
            self.conv.padding, groups=self.conv.groups, bias=True,
        )
        fused.weight.data = self.conv.weight.data * factor.view(-1, 1, 1, 1)
        fused.bias.data = self.norm.bias.data - self.norm.running_mean * factor
        self.conv, self.norm = fused, nn.Identity()


class Bottleneck(nn.Module):
    """Two convolutions around which the input is added."""

    def __init__(self, channels, inner):
        super().__init__()
        self.first, self.second = Conv(channels, inner, 3), Conv(inner, channels, 3)

    def forward(self, x):
        return x + self.second(self.first(x))


class C3k(nn.Module):
    """Two bottlenecks on one half, the other half passed by."""

    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.left, self.right = Conv(channels, half), Conv(channels, half)
        self.blocks = nn.Sequential(Bottleneck(half, half), Bottleneck(half, half))
        self.out = Conv(2 * half, channels)

    def forward(self, x):
        return self.out(torch.cat((self.blocks(self.left(x)), self.right(x)), 1))


class C3k2(nn.Module):
    """Splits, refines one part, and joins every part that came about."""

    def __init__(self, inputs, outputs, deep, share=0.5):
        super().__init__()
        self.width = int(outputs * share)
        self.split = Conv(inputs, 2 * self.width)
        self.block = C3k(self.width) if deep else Bottleneck(self.width, self.width // 2)
        self.out = Conv(3 * self.width, outputs)

    def forward(self, x):
        kept, refined = self.split(x).chunk(2, 1)
        return self.out(torch.cat((kept, refined, self.block(refined)), 1))


class SPPF(nn.Module):
    """The same pooling three times over: reaches of 5, 9 and 13 cells."""

    def __init__(self, channels):
        super().__init__()
        self.first, self.out = Conv(channels, channels // 2), Conv(2 * channels, channels)

    def forward(self, x):
        reach = [self.first(x)]
        for _ in range(3):
            reach.append(F.max_pool2d(reach[-1], 5, 1, 2))
        return self.out(torch.cat(reach, 1))


class Attention(nn.Module):
    """Self-attention over all cells, with a depthwise convolution that tells where a cell is."""

    def __init__(self, channels):
        super().__init__()
        self.heads, self.channels = channels // 64, channels
        self.value, self.key = channels // self.heads, channels // self.heads // 2
        self.qkv = Conv(channels, channels + 2 * self.key * self.heads, active=False)
        self.place = Conv(channels, channels, 3, groups=channels, active=False)
        self.out = Conv(channels, channels, active=False)

    def forward(self, x):
        height, width = int(x.shape[2]), int(x.shape[3])
        cells = height * width
        parts = self.qkv(x).reshape(-1, self.heads, 2 * self.key + self.value, cells)
        query, key, value = parts.split((self.key, self.key, self.value), 2)
        weight = (query.transpose(2, 3) @ key * self.key**-0.5).softmax(-1)
        seen = (value @ weight.transpose(2, 3)).reshape(-1, self.channels, height, width)
        return self.out(seen + self.place(value.reshape(-1, self.channels, height, width)))


class C2PSA(nn.Module):
    """One half goes through attention and a small network, the other is passed by."""

    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.split, self.out = Conv(channels, channels), Conv(channels, channels)
        self.attention = Attention(half)
        self.feed = nn.Sequential(Conv(half, 2 * half), Conv(2 * half, half, active=False))

    def forward(self, x):
        kept, seen = self.split(x).chunk(2, 1)
        seen = seen + self.attention(seen)
        seen = seen + self.feed(seen)
        return self.out(torch.cat((kept, seen), 1))


class Head(nn.Module):
    """For each cell the distributions of a box's four sides and a logit per class."""

    def __init__(self, classes, channels):
        super().__init__()
        box, name = max(16, channels[0] // 4, 4 * BINS), max(channels[0], min(classes, 100))
        self.boxes = nn.ModuleList(
            nn.Sequential(Conv(c, box, 3), Conv(box, box, 3), nn.Conv2d(box, 4 * BINS, 1)) for c in channels
        )
        self.names = nn.ModuleList(
            nn.Sequential(
                Conv(c, c, 3, groups=c), Conv(c, name), Conv(name, name, 3, groups=name), Conv(name, name),
                nn.Conv2d(name, classes, 1),
            )
            for c in channels
        )
        for boxes, names, stride in zip(self.boxes, self.names, STRIDES):
            boxes[-1].bias.data.fill_(1.0)
            # Five objects of the classes together on a picture of 640 x 640, before anything is learnt.
            names[-1].bias.data.fill_(torch.log(torch.tensor(5 / classes / (640 / stride) ** 2)).item())

    def forward(self, maps):
        boxes = [layer(x).flatten(2) for layer, x in zip(self.boxes, maps)]
        names = [layer(x).flatten(2) for layer, x in zip(self.names, maps)]
        return torch.cat(boxes, 2), torch.cat(names, 2)


class Yolo11n(nn.Module):
    """Pictures [B, 3, H, W] in 0..1 to side distributions [B, 64, N] and class logits [B, C, N]."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes
        self.stem = nn.Sequential(Conv(3, 16, 3, 2), Conv(16, 32, 3, 2), C3k2(32, 64, False, 0.25))
        self.eighth = nn.Sequential(Conv(64, 64, 3, 2), C3k2(64, 128, False, 0.25))
        self.sixteenth = nn.Sequential(Conv(128, 128, 3, 2), C3k2(128, 128, True))
        self.deepest = nn.Sequential(Conv(128, 256, 3, 2), C3k2(256, 256, True), SPPF(256), C2PSA(256))
        self.up_sixteenth, self.up_eighth = C3k2(384, 128, False), C3k2(256, 64, False)
        self.to_sixteenth, self.down_sixteenth = Conv(64, 64, 3, 2), C3k2(192, 128, False)
        self.to_deepest, self.down_deepest = Conv(128, 128, 3, 2), C3k2(384, 256, True)
        self.head = Head(classes, (64, 128, 256))

    def forward(self, x):
        eighth = self.eighth(self.stem(x))
        sixteenth = self.sixteenth(eighth)
        deepest = self.deepest(sixteenth)
        middle = self.up_sixteenth(torch.cat((F.interpolate(deepest, scale_factor=2.0), sixteenth), 1))
        small = self.up_eighth(torch.cat((F.interpolate(middle, scale_factor=2.0), eighth), 1))
        medium = self.down_sixteenth(torch.cat((self.to_sixteenth(small), middle), 1))
        large = self.down_deepest(torch.cat((self.to_deepest(medium), deepest), 1))
        return self.head((small, medium, large))

    def fuse(self):
        """For inference: normalisation goes into the weights."""
        for module in self.modules():
            if isinstance(module, Conv):
                module.fuse()
        return self


def anchors(height, width, device=None):
    """Middles of all cells in pixels, [N, 2], and their strides, [N]."""
    points, strides = [], []
    for stride in STRIDES:
        ys = (torch.arange(height // stride, device=device) + 0.5) * stride
        xs = (torch.arange(width // stride, device=device) + 0.5) * stride
        y, x = torch.meshgrid(ys, xs, indexing="ij")
        points.append(torch.stack((x, y), -1).reshape(-1, 2))
        strides.append(torch.full((len(points[-1]),), float(stride), device=device))
    return torch.cat(points), torch.cat(strides)


def sides(distributions):
    """Left, top, right, bottom in cells, [B, 4, N]: the mean of each distribution."""
    batch, _, cells = distributions.shape
    weight = distributions.reshape(batch, 4, BINS, cells).softmax(2)
    bins = torch.arange(BINS, device=distributions.device, dtype=distributions.dtype)
    return (weight * bins.view(1, 1, BINS, 1)).sum(2)


class Exported(nn.Module):
    """What the file holds: [B, 4 + C, N], centre x, centre y, width, height in pixels, then probabilities."""

    def __init__(self, network, height, width):
        super().__init__()
        self.network = network
        points, strides = anchors(height, width)
        self.register_buffer("points", points.T[None].contiguous())
        self.register_buffer("strides", strides[None, None])
        # The mean of a distribution as a convolution: runtimes have that, and it needs no shape.
        self.mean = nn.Conv2d(BINS, 1, 1, bias=False).requires_grad_(False)
        self.mean.weight.data[:] = torch.arange(BINS, dtype=torch.float).view(1, BINS, 1, 1)
        self.cells = len(points)

    def forward(self, images):
        boxes, names = self.network(images)
        boxes = boxes.reshape(-1, 4, BINS, self.cells).transpose(1, 2).softmax(1)
        left_top, right_bottom = self.mean(boxes).reshape(-1, 4, self.cells).chunk(2, 1)
        middle = self.points + (right_bottom - left_top) * 0.5 * self.strides
        size = (left_top + right_bottom) * self.strides
        return torch.cat((middle, size, names.sigmoid()), 1)
